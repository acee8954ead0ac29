"""State who an enclave is for this boot, and hold the statement to the evidence that commits to it.

The statement's SHA-384 is the ``user_data`` of the enclave's documents, and its receipt key is their ``public_key``. So
one appraisal of a document vouches for all keys of the boot, and the statement itself may come from anywhere.

Spec: docs/protocol.md, "Identity statement".
"""

import hmac
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Self

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from pcrgate.envelope.hpke import HpkePrivateKey, HpkePublicKey, HpkeSuite
from pcrgate.envelope.session_fields import digest, number, pack, sized, unpack
from pcrgate.envelope.session_labels import IDENTITY
from pcrgate.errors import ErrorCode, SessionError
from pcrgate.units import SHA384_BYTES, Sha384

WIRE_VERSION: Final = 1
"""The protocol that an enclave speaks; another version has other labels too."""

BOOT_ID_BYTES: Final = 32
"""Length of a boot id: random, made anew at every boot; long enough to serve as EAT's bootseed (RFC 9711, 4.3.3)."""

RECEIPT_KEY_BYTES: Final = 120
"""Length of a P-384 public key as SubjectPublicKeyInfo in DER with an uncompressed point. Spec: RFC 5480, 2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityStatement:
    """Hold what an enclave says of itself; nobody has compared it with evidence.

    Attributes:
        wire_version: which protocol it speaks.
        boot_id: 32 random bytes.
        receipt_key: public key that signs receipts and handshakes, P-384, SubjectPublicKeyInfo in DER, 120 bytes.
        hpke_keys: one public key a suite, both suites; read-only.
        manifest_digest: SHA-384 of the live manifest, which PCR16 holds extended.
    """

    wire_version: int
    boot_id: bytes
    receipt_key: bytes
    hpke_keys: Mapping[HpkeSuite, HpkePublicKey]
    manifest_digest: Sha384

    def encode(self) -> bytes:
        """Return the one encoding of the statement."""
        return pack(
            IDENTITY,
            self.wire_version,
            self.boot_id,
            self.receipt_key,
            self.hpke_keys[HpkeSuite.X25519].encoded,
            self.hpke_keys[HpkeSuite.MLKEM768_X25519].encoded,
            self.manifest_digest.digest,
        )

    @property
    def digest(self) -> Sha384:
        """SHA-384 of the encoding: the ``user_data`` of the boot's documents, and what the first receipt follows."""
        return digest(self.encode())


def parse_identity(statement: bytes) -> IdentityStatement:
    """Take a statement apart without trusting it.

    Raises:
        SessionError: ``session-message`` for other bytes than ``encode`` writes.
    """
    version, boot_id, receipt_key, x25519, hybrid, manifest_digest = unpack(statement, IDENTITY, 6)
    if number(version) != WIRE_VERSION:
        raise SessionError(ErrorCode.SESSION_MESSAGE, f"the wire version is unknown, expected {WIRE_VERSION}")
    load_receipt_key(receipt_key)
    keys = {
        HpkeSuite.MLKEM768_X25519: HpkePublicKey(suite=HpkeSuite.MLKEM768_X25519, encoded=hybrid),
        HpkeSuite.X25519: HpkePublicKey(suite=HpkeSuite.X25519, encoded=x25519),
    }
    return IdentityStatement(
        wire_version=WIRE_VERSION,
        boot_id=sized(boot_id, BOOT_ID_BYTES),
        receipt_key=receipt_key,
        hpke_keys=MappingProxyType(keys),
        manifest_digest=Sha384(sized(manifest_digest, SHA384_BYTES)),
    )


def load_receipt_key(encoded: bytes) -> EllipticCurvePublicKey:
    """Return the P-384 key of its one DER form.

    Raises:
        SessionError: ``session-message`` for another key or another encoding of the same key.
    """
    try:
        key = load_der_public_key(sized(encoded, RECEIPT_KEY_BYTES))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise SessionError(
            ErrorCode.SESSION_MESSAGE, "the receipt key cannot be read, expected P-384 in DER"
        ) from error
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP384R1):
        raise SessionError(ErrorCode.SESSION_MESSAGE, "the receipt key is of another kind, expected P-384")
    if key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) != encoded:
        raise SessionError(ErrorCode.SESSION_MESSAGE, "the receipt key is not in its one DER form")
    return key


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedIdentity:
    """Hold a statement that evidence commits to. Only :func:`verify_identity` makes one.

    Attributes:
        statement: what the enclave says of itself.
        digest: SHA-384 of its encoding, 48 bytes.
        receipt_key: the statement's receipt key, loaded.
    """

    statement: IdentityStatement
    digest: Sha384
    receipt_key: EllipticCurvePublicKey


def verify_identity(statement: bytes, *, user_data: bytes | None, public_key: bytes | None) -> VerifiedIdentity:
    """Return the identity once the evidence commits to it.

    Args:
        statement: as the enclave or anyone else handed it over.
        user_data: of the appraised document.
        public_key: of the same document; must be the statement's receipt key, so never absent and never RSA.

    Raises:
        SessionError: ``session-identity`` when the document commits to something else, ``session-message`` when the
            statement is not of the specified form.

    Spec: docs/protocol.md, "Identity statement".
    """
    # (1) the document commits to exactly these bytes
    found = digest(statement)
    if user_data is None or not hmac.compare_digest(user_data, found.digest):
        raise SessionError(
            ErrorCode.SESSION_IDENTITY, "the document's user data is not the digest of the statement, expected that"
        )
    # (2) they are a statement
    parsed = parse_identity(statement)
    # (3) the document's key is the receipt key: a document made for another purpose has another
    if public_key is None or not hmac.compare_digest(public_key, parsed.receipt_key):
        raise SessionError(
            ErrorCode.SESSION_IDENTITY,
            "the document's public key is not the receipt key of the statement, expected that",
        )
    return VerifiedIdentity(statement=parsed, digest=found, receipt_key=load_receipt_key(parsed.receipt_key))


@dataclass(frozen=True, slots=True, kw_only=True)
class BootKeys:
    """Hold the private keys of one boot and what it says of itself; one key signs, others are sealed to.

    Attributes:
        receipt_key: signs receipts and handshakes; P-384.
        hpke_keys: hellos are sealed to them; one a suite.
        statement: the public parts, for the documents' ``user_data`` and ``public_key``.
    """

    receipt_key: EllipticCurvePrivateKey
    hpke_keys: Mapping[HpkeSuite, HpkePrivateKey]
    statement: IdentityStatement

    @classmethod
    def generate(cls, manifest_digest: Sha384, *, randomness: Callable[[int], bytes] = secrets.token_bytes) -> Self:
        """Return fresh keys and a fresh boot id for a manifest.

        Args:
            manifest_digest: SHA-384 of the manifest that PCR16 was extended with.
            randomness: returns as many random bytes as asked; the boot id comes from it.
        """
        keys = {suite: HpkePrivateKey.generate(suite) for suite in HpkeSuite}
        return cls.hold(generate_ec_key(SECP384R1()), keys, randomness(BOOT_ID_BYTES), manifest_digest)

    @classmethod
    def hold(
        cls,
        receipt_key: EllipticCurvePrivateKey,
        hpke_keys: Mapping[HpkeSuite, HpkePrivateKey],
        boot_id: bytes,
        manifest_digest: Sha384,
    ) -> Self:
        """Return the keys with their statement.

        Raises:
            SessionError: ``session-message`` for a boot id of another length, or a key of another curve.
        """
        public = receipt_key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        statement = IdentityStatement(
            wire_version=WIRE_VERSION,
            boot_id=boot_id,
            receipt_key=public,
            hpke_keys=MappingProxyType({suite: key.public_key for suite, key in hpke_keys.items()}),
            manifest_digest=manifest_digest,
        )
        return cls(
            receipt_key=receipt_key,
            hpke_keys=MappingProxyType(dict(hpke_keys)),
            statement=parse_identity(statement.encode()),
        )
