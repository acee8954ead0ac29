"""Ed25519 public keys of publishers and agents: only those that stand for one owner.

Spec: RFC 8032, 5.1; a point of small order verifies signatures that nobody made.
"""

import hashlib
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from pcrgate.errors import ErrorCode, ManifestError

PUBLIC_KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
"""R then S. Spec: RFC 8032, 5.1.6."""

KEY_ID_BYTES: Final = 16
"""A key id is the first half of the SHA-256 of the key: it finds the key, the signature proves it."""

_FIELD_PRIME: Final = (1 << 255) - 19
_Y_OF_ORDER_EIGHT: Final = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
_SMALL_ORDER_Y: Final = frozenset((0, 1, _FIELD_PRIME - 1, _Y_OF_ORDER_EIGHT, _FIELD_PRIME - _Y_OF_ORDER_EIGHT))
"""The y of all eight points whose order divides 8; x has either sign."""


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """Hold the public half of an Ed25519 key.

    Attributes:
        public_bytes: 32 bytes. Spec: RFC 8032, 5.1.5.
    """

    public_bytes: bytes

    def __post_init__(self) -> None:
        if type(self.public_bytes) is not bytes or len(self.public_bytes) != PUBLIC_KEY_BYTES:
            raise ManifestError(ErrorCode.MANIFEST_PUBLIC_KEY, f"a public key is not {PUBLIC_KEY_BYTES} bytes")
        y = int.from_bytes(self.public_bytes, "little") & ((1 << 255) - 1)
        if y >= _FIELD_PRIME or y in _SMALL_ORDER_Y:
            raise ManifestError(
                ErrorCode.MANIFEST_PUBLIC_KEY, "a public key is no canonical point of large order, expected one"
            )

    @property
    def key_id(self) -> bytes:
        """The first 16 bytes of the SHA-256 of the key."""
        return hashlib.sha256(self.public_bytes).digest()[:KEY_ID_BYTES]

    def verify(self, signature: bytes, signed: bytes) -> None:
        """Have the signature be this key's over these bytes.

        Args:
            signature: 64 bytes.
            signed: any length.

        Raises:
            ManifestError: ``manifest-signature``.

        Spec: RFC 8032, 5.1.7.
        """
        try:
            Ed25519PublicKey.from_public_bytes(self.public_bytes).verify(signature, signed)
        except InvalidSignature as error:
            raise ManifestError(
                ErrorCode.MANIFEST_SIGNATURE, "the signature is not the publisher's over these bytes"
            ) from error
