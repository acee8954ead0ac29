"""The bytes that the twin's Encrypt returns: a header that names key and material, then AES-256-GCM.

Layout (version 1), all lengths in bytes::

    magic      4    "pgk" and the version 01
    key id    40    ASCII, padded with NUL
    material  32    which version of the key material encrypted this
    iv        12
    body     n+16   ciphertext and tag

Associated data: header, then the canonical encryption context, then the ARN that the key is bound to. The context is
counted and length-prefixed, so that ``{"ab": "c"}`` and ``{"a": "bc"}`` are different bytes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pcrgate.twin.kms.service_errors import AwsCode, AwsError

MAGIC: Final = b"pgk\x01"
"""Format and version; other bytes are no ciphertext of ours."""

KEY_ID_BYTES: Final = 40
"""Room for the key id: a UUID and an ``mrk-`` id have 36 characters, an ``mrk-`` id with hyphens would have 40."""

MATERIAL_ID_BYTES: Final = 32
"""A material id is 64 hex digits in the API."""

IV_BYTES: Final = 12
"""The IV length for which GCM uses the IV as it is. Spec: NIST SP 800-38D, 5.2.1.1."""

TAG_BYTES: Final = 16
"""Full GCM tag."""

OVERHEAD_BYTES: Final = len(MAGIC) + KEY_ID_BYTES + MATERIAL_ID_BYTES + IV_BYTES + TAG_BYTES
"""How much longer a ciphertext is than its plaintext."""

CIPHERTEXT_MAX_BYTES: Final = 6144
"""Longest CiphertextBlob. Spec: KMS API, CiphertextType."""

_ID_BYTES: Final = frozenset(b"0123456789abcdefghijklmnopqrstuvwxyz-")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ciphertext:
    """Hold the parts of a ciphertext; nothing is authenticated yet.

    Attributes:
        key_id: which key, lower-case id of 1 to 40 characters.
        material_id: which material version, 64 lower-case hex digits.
        iv: 12 bytes.
        body: ciphertext and 16-byte tag.
    """

    key_id: str
    material_id: str
    iv: bytes
    body: bytes

    @property
    def header(self) -> bytes:
        """Everything before the IV; part of the associated data."""
        return MAGIC + self.key_id.encode("ascii").ljust(KEY_ID_BYTES, b"\0") + bytes.fromhex(self.material_id)

    def encode(self) -> bytes:
        """Return the bytes of the CiphertextBlob."""
        return self.header + self.iv + self.body


def invalid_ciphertext() -> AwsError:
    """Return the one error for every ciphertext that cannot be opened; it never says why."""
    return AwsError(AwsCode.INVALID_CIPHERTEXT, "The ciphertext is invalid, or does not belong to the given context.")


def parse_ciphertext(blob: bytes) -> Ciphertext:
    """Take a CiphertextBlob apart.

    Raises:
        AwsError: InvalidCiphertextException, for every byte string that is not of the format.
    """
    if not OVERHEAD_BYTES <= len(blob) <= CIPHERTEXT_MAX_BYTES or not blob.startswith(MAGIC):
        raise invalid_ciphertext()
    at = len(MAGIC)
    padded = blob[at : at + KEY_ID_BYTES]
    key_id = padded.rstrip(b"\0")
    if not key_id or not _ID_BYTES.issuperset(key_id):
        raise invalid_ciphertext()
    at += KEY_ID_BYTES
    material, iv, body = blob[at : at + MATERIAL_ID_BYTES], *_split(blob[at + MATERIAL_ID_BYTES :], IV_BYTES)
    return Ciphertext(key_id=key_id.decode("ascii"), material_id=material.hex(), iv=iv, body=body)


def _split(data: bytes, at: int) -> tuple[bytes, bytes]:
    return data[:at], data[at:]


def canonical_context(context: Mapping[str, str]) -> bytes:
    """Return the one encoding of an encryption context: count, then sorted, length-prefixed keys and values (UTF-8)."""
    pairs = sorted((name.encode(), value.encode()) for name, value in context.items())
    return len(pairs).to_bytes(4) + b"".join(_prefixed(name) + _prefixed(value) for name, value in pairs)


def _prefixed(data: bytes) -> bytes:
    return len(data).to_bytes(4) + data


def _associated_data(header: bytes, context: Mapping[str, str], bound_arn: str) -> bytes:
    return header + canonical_context(context) + _prefixed(bound_arn.encode())


def seal_ciphertext(
    plaintext: bytes,
    *,
    secret: bytes,
    key_id: str,
    material_id: str,
    bound_arn: str,
    context: Mapping[str, str],
    iv: bytes,
) -> bytes:
    """Encrypt under one material version.

    Args:
        plaintext: what to encrypt.
        secret: the AES-256 key, 32 bytes.
        key_id: the key's id, at most 40 ASCII characters.
        material_id: 64 hex digits.
        bound_arn: the ARN that goes into the associated data; without Region for a multi-Region key.
        context: the encryption context.
        iv: 12 bytes, never used before with this secret.

    Returns:
        The CiphertextBlob, ``OVERHEAD_BYTES`` longer than the plaintext.
    """
    parts = Ciphertext(key_id=key_id, material_id=material_id, iv=iv, body=b"")
    aad = _associated_data(parts.header, context, bound_arn)
    return parts.encode() + AESGCM(secret).encrypt(iv, plaintext, aad)


def open_ciphertext(parts: Ciphertext, *, secret: bytes, bound_arn: str, context: Mapping[str, str]) -> bytes:
    """Decrypt what :func:`seal_ciphertext` made.

    Raises:
        AwsError: InvalidCiphertextException for a wrong context, key, ARN or byte.
    """
    try:
        return AESGCM(secret).decrypt(parts.iv, parts.body, _associated_data(parts.header, context, bound_arn))
    except InvalidTag:
        raise invalid_ciphertext() from None
