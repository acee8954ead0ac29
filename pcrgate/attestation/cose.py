"""Take a COSE_Sign1 envelope apart and rebuild what its signature covers.

Spec: RFC 9052, 4.2 and 4.4; nsm-api attestation_process.md, 3.1; facts checklist 1 to 4.
"""

from dataclasses import dataclass
from typing import Final

from pcrgate.attestation.cbor import decode, encode
from pcrgate.errors import CborError, ErrorCode, MalformedEvidenceError

DOCUMENT_MAX_BYTES: Final = 16_384 + 256
"""Longest document: a payload of 16384 bytes and room for the envelope around it."""

PAYLOAD_MAX_BYTES: Final = 16_384
"""Longest payload. Spec: nsm-api attestation_process.md, 3.1."""

SIGNATURE_BYTES: Final = 96
"""ES384: r then s, 48 bytes each. Spec: RFC 9053, 2.1 (the 32/48/64 of the AWS text is wrong for ES384)."""

P384_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973
"""Order n of the P-384 group. Spec: FIPS 186-4, D.1.2.4."""

_TAG_18: Final = 0xD2
_ES384_HEADER: Final = b"\xa1\x01\x38\x22"
"""The map {1: -35} in its one strict encoding, so that comparing bytes compares the map. Spec: RFC 9053, 2.1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnverifiedSign1:
    """Hold the parts of an envelope whose signature nobody has checked.

    Attributes:
        protected: the serialized protected header, 4 bytes for {1: -35}.
        payload: 1 to 16384 bytes.
        r: first half of the signature, in [1, n-1].
        s: second half, in [1, n-1]; high values are legal.
        tagged: whether tag 18 stood in front.
    """

    protected: bytes
    payload: bytes
    r: int
    s: int
    tagged: bool

    def signed_bytes(self) -> bytes:
        """Return the Sig_structure over the original bytes. Spec: RFC 9052, 4.4."""
        return encode(("Signature1", self.protected, b"", self.payload))


def parse_sign1(document: bytes) -> UnverifiedSign1:
    """Take a document apart without trusting it.

    Args:
        document: raw bytes, tagged or not, at most ``DOCUMENT_MAX_BYTES``.

    Raises:
        MalformedEvidenceError: ``input-empty``, ``input-too-large``, a ``cbor-`` or a ``cose-`` code.
    """
    # (1) total size before parsing
    if not document:
        raise MalformedEvidenceError(ErrorCode.INPUT_EMPTY, "the document is empty")
    if len(document) > DOCUMENT_MAX_BYTES:
        raise MalformedEvidenceError(
            ErrorCode.INPUT_TOO_LARGE, f"the document has {len(document)} bytes, limit {DOCUMENT_MAX_BYTES}"
        )
    # (2) one item, an array of four, no tag or exactly one tag 18
    tagged = document[0] == _TAG_18
    body = document[1:] if tagged else document
    if body and body[0] >> 5 == 6:
        raise MalformedEvidenceError(ErrorCode.COSE_TAG, "the document carries a tag other than one tag 18")
    try:
        envelope = decode(body)
    except CborError as error:
        raise MalformedEvidenceError(error.code, f"envelope, {error.message}") from error
    if type(envelope) is not list or len(envelope) != 4:
        raise MalformedEvidenceError(ErrorCode.COSE_STRUCTURE, "the document is not an array of four")
    protected, unprotected, payload, signature = envelope
    # (3) protected header exactly {1: -35}, unprotected header empty
    if type(protected) is not bytes or protected != _ES384_HEADER:
        raise MalformedEvidenceError(ErrorCode.COSE_PROTECTED, "the protected header is not {1: -35} (ES384)")
    if type(unprotected) is not dict or unprotected:
        raise MalformedEvidenceError(ErrorCode.COSE_UNPROTECTED, "the unprotected header is not the empty map")
    # (4) payload 1 to 16384 bytes; signature 96 bytes, r and s in [1, n-1]; low S is not demanded
    if type(payload) is not bytes or not 1 <= len(payload) <= PAYLOAD_MAX_BYTES:
        raise MalformedEvidenceError(
            ErrorCode.COSE_PAYLOAD, f"the payload is not a byte string of 1 to {PAYLOAD_MAX_BYTES} bytes"
        )
    if type(signature) is not bytes or len(signature) != SIGNATURE_BYTES:
        raise MalformedEvidenceError(
            ErrorCode.COSE_SIGNATURE, f"the signature is not a byte string of {SIGNATURE_BYTES} bytes"
        )
    r, s = int.from_bytes(signature[:48], "big"), int.from_bytes(signature[48:], "big")
    if not (1 <= r < P384_ORDER and 1 <= s < P384_ORDER):
        raise MalformedEvidenceError(ErrorCode.COSE_SIGNATURE, "r or s of the signature is outside [1, n-1]")
    return UnverifiedSign1(protected=protected, payload=payload, r=r, s=s, tagged=tagged)
