"""Put claims into a signed envelope and take it apart: COSE_Sign1 with ES384, one encoding, low S.

The envelope carries tag 18 and a protected header of exactly algorithm and type. The type keeps receipts apart from
attestation documents, whose header has the algorithm alone. S is the lower of its two values, so nobody can change a
receipt's bytes, and with them its digest, without the key.

Spec: RFC 9052, 4.2 and 4.4; RFC 9053, 2.1; RFC 9596 (typ); RFC 9782 (application/eat+cwt).
"""

from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from pcrgate.attestation.cbor import decode, encode
from pcrgate.attestation.cose import P384_ORDER, SIGNATURE_BYTES
from pcrgate.envelope.session_signature import sign_es384
from pcrgate.errors import CborError, ErrorCode, ReceiptError

RECEIPT_MAX_BYTES: Final = 4_096
"""Longest receipt: 16 secrets and every other claim at their longest take less; the wire carries as much."""

RECEIPT_TYPE: Final = "application/eat+cwt"
"""The ``typ`` of the envelope; the profile inside says which kind of EAT."""

PROTECTED: Final = encode({1: -35, 16: RECEIPT_TYPE})
"""The protected header in its one encoding: ES384, and the type."""

_TAG_18: Final = b"\xd2"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnverifiedReceipt:
    """Hold the parts of an envelope whose signature nobody has checked.

    Attributes:
        payload: the claims set.
        signature: r then s, 96 bytes.
    """

    payload: bytes
    signature: bytes


def signed_bytes(payload: bytes) -> bytes:
    """Return the Sig_structure that is signed. Spec: RFC 9052, 4.4."""
    return encode(("Signature1", PROTECTED, b"", payload))


def sign_receipt(payload: bytes, key: EllipticCurvePrivateKey) -> bytes:
    """Return the receipt.

    Args:
        payload: the claims set.
        key: the attested receipt key, P-384.
    """
    signature = sign_es384(key, signed_bytes(payload))
    s = int.from_bytes(signature[48:], "big")
    signature = signature[:48] + min(s, P384_ORDER - s).to_bytes(48, "big")
    return _TAG_18 + encode([PROTECTED, {}, payload, signature])


def parse_receipt(receipt: bytes) -> UnverifiedReceipt:
    """Take a receipt apart without trusting it.

    Raises:
        ReceiptError: ``receipt-form``.
    """
    if len(receipt) > RECEIPT_MAX_BYTES:
        raise ReceiptError(
            ErrorCode.RECEIPT_FORM, f"the receipt has {len(receipt)} bytes, expected at most {RECEIPT_MAX_BYTES}"
        )
    if receipt[:1] != _TAG_18:
        raise ReceiptError(ErrorCode.RECEIPT_FORM, "the receipt does not begin with tag 18")
    try:
        envelope = decode(receipt[1:])
    except CborError as error:
        raise ReceiptError(ErrorCode.RECEIPT_FORM, f"envelope, {error.message}") from error
    if not isinstance(envelope, list) or len(envelope) != 4:
        raise ReceiptError(ErrorCode.RECEIPT_FORM, "the receipt is not an array of four")
    protected, unprotected, payload, signature = envelope
    if protected != PROTECTED or type(unprotected) is not dict or unprotected:
        raise ReceiptError(
            ErrorCode.RECEIPT_FORM, "the headers are not ES384 and the type of a receipt, with nothing unprotected"
        )
    if not isinstance(payload, bytes) or not isinstance(signature, bytes) or len(signature) != SIGNATURE_BYTES:
        raise ReceiptError(ErrorCode.RECEIPT_FORM, "payload or signature is not a byte string of its length")
    r, s = int.from_bytes(signature[:48], "big"), int.from_bytes(signature[48:], "big")
    if not (1 <= r < P384_ORDER and 1 <= s <= P384_ORDER // 2):
        raise ReceiptError(ErrorCode.RECEIPT_FORM, "r or s of the signature is out of range, expected the lower s")
    return UnverifiedReceipt(payload=payload, signature=signature)
