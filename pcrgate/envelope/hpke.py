"""Seal to a public key and open with the private one: HPKE in base mode, one message a key schedule, two suites.

The hybrid of ML-KEM-768 and X25519 is what agents prefer: it holds while either of the two does. What a message is
bound to goes into HPKE's ``info``, which both sides compute for themselves.

Spec: RFC 9180, 5.1.1 and 6.1; draft-ietf-hpke-pq for the hybrid (X-Wing's combiner).
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)

from pcrgate.errors import ErrorCode, SessionError

X25519_BYTES: Final = 32
"""Length of an X25519 key, private or public. Spec: RFC 7748, 5."""

MLKEM768_PUBLIC_BYTES: Final = 1184
"""Length of an ML-KEM-768 encapsulation key. Spec: FIPS 203, table 3."""

MLKEM768_SEED_BYTES: Final = 64
"""Length of the seed (d, z) of an ML-KEM-768 key. Spec: FIPS 203, 7.1."""

TAG_BYTES: Final = 16
"""Length of the AES-256-GCM tag at the end of a sealed message."""


class HpkeSuite(Enum):
    """List the suites, the preferred one first; the number is the KEM's in HPKE's registry.

    Both derive with HKDF-SHA256 and seal with AES-256-GCM.

    Attributes:
        kem_id: identifies the suite on the wire.
        public_key_bytes: length of a public key; the hybrid's is ML-KEM's and then X25519's.
        encapsulated_bytes: length of the encapsulated key in front of what is sealed.
    """

    kem_id: int
    public_key_bytes: int
    encapsulated_bytes: int

    def __init__(self, kem_id: int, public_key_bytes: int, encapsulated_bytes: int) -> None:
        self.kem_id = kem_id
        self.public_key_bytes = public_key_bytes
        self.encapsulated_bytes = encapsulated_bytes

    MLKEM768_X25519 = (0x647A, MLKEM768_PUBLIC_BYTES + X25519_BYTES, 1088 + X25519_BYTES)
    X25519 = (0x0020, X25519_BYTES, X25519_BYTES)

    @classmethod
    def from_id(cls, kem_id: int) -> Self:
        """Return the suite with this number.

        Raises:
            SessionError: ``session-message`` for a suite that is not offered.
        """
        for suite in cls:
            if suite.kem_id == kem_id:
                return suite
        raise SessionError(ErrorCode.SESSION_MESSAGE, "the HPKE suite is not one of the two that are offered")


_SUITES: Final = {
    HpkeSuite.MLKEM768_X25519: Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM),
    HpkeSuite.X25519: Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class HpkePublicKey:
    """Hold a public key that has been read once, so that it is one.

    Attributes:
        suite: whose key it is.
        encoded: the raw key, ``suite.public_key_bytes`` long.
    """

    suite: HpkeSuite
    encoded: bytes

    def __post_init__(self) -> None:
        _load(self.suite, self.encoded)

    def seal(self, plaintext: bytes, *, info: bytes) -> bytes:
        """Return the encapsulated key, the ciphertext and its tag.

        Args:
            plaintext: any length.
            info: what the message is bound to; the opener must compute the same.

        Raises:
            SessionError: ``session-message`` when the key is of small order, so that no secret would come of it.
        """
        try:
            return _SUITES[self.suite].encrypt(plaintext, _load(self.suite, self.encoded), info)
        except ValueError as error:
            raise SessionError(ErrorCode.SESSION_MESSAGE, "the HPKE public key gives no shared secret") from error


def _load(suite: HpkeSuite, encoded: bytes) -> X25519PublicKey | MLKEM768X25519PublicKey:
    if len(encoded) != suite.public_key_bytes:
        raise SessionError(
            ErrorCode.SESSION_MESSAGE,
            f"an HPKE public key has {len(encoded)} bytes, expected {suite.public_key_bytes}",
        )
    try:
        x25519 = X25519PublicKey.from_public_bytes(encoded[-X25519_BYTES:])
        if suite is HpkeSuite.X25519:
            return x25519
        return MLKEM768X25519PublicKey(MLKEM768PublicKey.from_public_bytes(encoded[:MLKEM768_PUBLIC_BYTES]), x25519)
    except ValueError as error:
        raise SessionError(ErrorCode.SESSION_MESSAGE, "an HPKE public key is not a key of its suite") from error


class HpkePrivateKey:
    """Hold a private key of one suite; it shows itself nowhere."""

    __slots__ = ("_key", "public_key")

    def __init__(self, suite: HpkeSuite, x25519: X25519PrivateKey, mlkem: MLKEM768PrivateKey) -> None:
        """Take the parts; the suite X25519 uses the first only."""
        encoded = x25519.public_key().public_bytes_raw()
        self._key: X25519PrivateKey | MLKEM768X25519PrivateKey = x25519
        if suite is HpkeSuite.MLKEM768_X25519:
            self._key = MLKEM768X25519PrivateKey(mlkem, x25519)
            encoded = mlkem.public_key().public_bytes_raw() + encoded
        self.public_key: Final = HpkePublicKey(suite=suite, encoded=encoded)

    @classmethod
    def generate(cls, suite: HpkeSuite) -> Self:
        """Return a fresh key."""
        return cls(suite, X25519PrivateKey.generate(), MLKEM768PrivateKey.generate())

    @classmethod
    def from_seeds(cls, suite: HpkeSuite, *, x25519: bytes, mlkem: bytes = bytes(MLKEM768_SEED_BYTES)) -> Self:
        """Return the key of 32 bytes for X25519 and, for the hybrid, the 64 bytes of ML-KEM's seed."""
        return cls(suite, X25519PrivateKey.from_private_bytes(x25519), MLKEM768PrivateKey.from_seed_bytes(mlkem))

    def open(self, sealed: bytes, *, info: bytes) -> bytes:
        """Return the plaintext.

        Args:
            sealed: encapsulated key, ciphertext, tag.
            info: what the message must be bound to.

        Raises:
            SessionError: ``session-open``, whatever the reason.
        """
        try:
            return _SUITES[self.public_key.suite].decrypt(sealed, self._key, info)
        except (InvalidTag, ValueError) as error:
            raise SessionError(ErrorCode.SESSION_OPEN, "a sealed message was refused") from error

    def __repr__(self) -> str:
        return "HpkePrivateKey(hidden)"
