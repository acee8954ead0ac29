"""Put a payload into a COSE_Sign1 envelope, take it out, and rebuild what the signature covers.

One form is made and one is read: tag 18, the protected header {1: -8, 3: content type, 4: key id}, no unprotected one.
The label is in the signature as external data, so no other COSE_Sign1 of the same key passes for a manifest.
Spec: RFC 9052, 4.2 and 4.4; RFC 9053, 2.2.
"""

from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pcrgate.attestation.cbor import decode, encode
from pcrgate.errors import CborError, ErrorCode, ManifestError
from pcrgate.manifest.payload import PAYLOAD_MAX_BYTES, decode_payload, encode_payload
from pcrgate.manifest.public_keys import KEY_ID_BYTES, SIGNATURE_BYTES, VerifyingKey
from pcrgate.manifest.release import Manifest

SIGNED_MAX_BYTES: Final = PAYLOAD_MAX_BYTES + 256
"""Longest signed manifest: the payload, and room for the envelope around it."""

SIGNATURE_LABEL: Final = b"pcrgate/release-manifest/v1"
"""External data of the signature: what it is a signature of."""

CONTENT_TYPE: Final = "application/vnd.pcrgate.manifest+cbor"
"""Says in the envelope what the payload is. Spec: RFC 9052, 3.1, label 3."""

_TAG_18: Final = b"\xd2"
_EDDSA: Final = -8


@dataclass(frozen=True, slots=True, kw_only=True)
class UnverifiedManifest:
    """Hold the parts of a signed manifest whose signature nobody has checked.

    Attributes:
        protected: the serialized protected header.
        payload: 1 byte to ``PAYLOAD_MAX_BYTES``, not decoded.
        signature: 64 bytes.
        key_id: 16 bytes: whose signature it claims to be.
    """

    protected: bytes
    payload: bytes
    signature: bytes
    key_id: bytes

    def signed_bytes(self) -> bytes:
        """Return the Sig_structure over the original bytes. Spec: RFC 9052, 4.4."""
        return encode(("Signature1", self.protected, SIGNATURE_LABEL, self.payload))

    def claims(self) -> Manifest:
        """Return what the payload says, for diagnosis: anybody may have written it.

        Raises:
            ManifestError: when it is no payload.
        """
        return decode_payload(self.payload)


def sign_manifest(manifest: Manifest, key: Ed25519PrivateKey) -> bytes:
    """Return the signed manifest.

    Args:
        manifest: what to sign.
        key: the publisher's.

    Raises:
        ManifestError: ``manifest-limit`` when it is too long.
    """
    key_id = VerifyingKey(key.public_key().public_bytes_raw()).key_id
    protected, payload = _protected(key_id), encode_payload(manifest)
    unsigned = UnverifiedManifest(protected=protected, payload=payload, signature=b"", key_id=key_id)
    return _TAG_18 + encode((protected, {}, payload, key.sign(unsigned.signed_bytes())))


def parse_manifest(signed: bytes) -> UnverifiedManifest:
    """Take a signed manifest apart without trusting it; its payload is not even decoded.

    Args:
        signed: raw bytes.

    Raises:
        ManifestError: ``manifest-size``, ``manifest-envelope``.
    """
    # 1. Total size before parsing.
    if not 1 <= len(signed) <= SIGNED_MAX_BYTES:
        raise ManifestError(
            ErrorCode.MANIFEST_SIZE, f"the signed manifest has {len(signed)} bytes, expected 1 to {SIGNED_MAX_BYTES}"
        )
    # 2. Tag 18, an array of four.
    if not signed.startswith(_TAG_18):
        raise _no_envelope("it does not start with tag 18")
    try:
        envelope = decode(signed[len(_TAG_18) :])
    except CborError as error:
        raise _no_envelope(error.message) from error
    if type(envelope) is not list or len(envelope) != 4:
        raise _no_envelope("it is not an array of four")
    protected, unprotected, payload, signature = envelope
    # 3. The one protected header, the empty unprotected one.
    if type(protected) is not bytes or protected != _protected(protected[-KEY_ID_BYTES:]):
        raise _no_envelope("the protected header is not EdDSA, content type and key id")
    if type(unprotected) is not dict or unprotected:
        raise _no_envelope("the unprotected header is not the empty map")
    # 4. Payload and signature of their lengths.
    if type(payload) is not bytes or not 1 <= len(payload) <= PAYLOAD_MAX_BYTES:
        raise _no_envelope(f"the payload is not a byte string of 1 to {PAYLOAD_MAX_BYTES} bytes")
    if type(signature) is not bytes or len(signature) != SIGNATURE_BYTES:
        raise _no_envelope(f"the signature is not a byte string of {SIGNATURE_BYTES} bytes")
    return UnverifiedManifest(
        protected=protected, payload=payload, signature=signature, key_id=protected[-KEY_ID_BYTES:]
    )


def _protected(key_id: bytes) -> bytes:
    # The key id stands last: 4 is the greatest label.
    return encode({1: _EDDSA, 3: CONTENT_TYPE, 4: key_id})


def _no_envelope(fact: str) -> ManifestError:
    return ManifestError(ErrorCode.MANIFEST_ENVELOPE, f"not a signed manifest: {fact}")
