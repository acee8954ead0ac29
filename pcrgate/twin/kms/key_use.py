"""Encrypt and decrypt with a key record, symmetric or RSA, once state and authorisation were checked."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from pcrgate.twin.kms.ciphertext import IV_BYTES, invalid_ciphertext, open_ciphertext, parse_ciphertext, seal_ciphertext
from pcrgate.twin.kms.key_specs import Family, Usage, rsa_plaintext_max_bytes
from pcrgate.twin.kms.material import PrivateKey, load_private_key
from pcrgate.twin.kms.randomness import Randomness
from pcrgate.twin.kms.records import KeyRecord, MaterialVersion
from pcrgate.twin.kms.service_errors import AwsCode, AwsError

SYMMETRIC: Final = "SYMMETRIC_DEFAULT"
"""The EncryptionAlgorithm of symmetric keys, and the default of every request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """Hold a decrypted plaintext and where it came from.

    Attributes:
        plaintext: the bytes; ``repr`` shows none of them.
        material_id: which material opened it; None for an asymmetric key.
    """

    plaintext: bytes
    material_id: str | None

    def __repr__(self) -> str:
        return f"Opened({len(self.plaintext)} bytes)"


def require_usage(key: KeyRecord, usage: Usage, operation: str) -> None:
    """Accept a key made for this.

    Raises:
        AwsError: InvalidKeyUsageException.
    """
    if key.usage is not usage:
        raise AwsError(
            AwsCode.INVALID_KEY_USAGE,
            f"{key.arn} key usage is {key.usage.value} which is not valid for {operation}.",
        )


def require_algorithm(key: KeyRecord, algorithm: str) -> None:
    """Accept an algorithm that the key can do.

    Raises:
        AwsError: InvalidKeyUsageException.
    """
    if not any(algorithm in names for names in key.spec.algorithms(key.usage).values()):
        raise AwsError(
            AwsCode.INVALID_KEY_USAGE,
            f"The request uses the algorithm {algorithm}, which is incompatible with key spec {key.spec_name}.",
        )


def current_material(key: KeyRecord) -> MaterialVersion:
    """Return the material that works now.

    Raises:
        AwsError: KMSInvalidStateException when there is none.
    """
    version = key.current
    if version is None or version.secret is None:
        raise AwsError(AwsCode.INVALID_STATE, f"{key.arn} is pending import.")
    return version


def current_secret(key: KeyRecord) -> bytes:
    """Return the bytes of the material that works now.

    Raises:
        AwsError: KMSInvalidStateException when there is none.
    """
    return _secret(key, current_material(key))


def _secret(key: KeyRecord, version: MaterialVersion) -> bytes:
    if version.secret is None:
        raise AwsError(AwsCode.INVALID_STATE, f"{key.arn} is pending import.")
    return version.secret.reveal


def current_private_key(key: KeyRecord) -> PrivateKey:
    """Return the private key of an asymmetric key.

    Raises:
        AwsError: KMSInvalidStateException when there is none, UnsupportedOperationException for a symmetric key.
    """
    version = current_material(key)
    if key.spec.family in {Family.SYMMETRIC, Family.HMAC} or version.secret is None:
        raise AwsError(AwsCode.UNSUPPORTED_OPERATION, f"{key.arn} is not an asymmetric key.")
    return load_private_key(version.secret)


def encrypt(
    key: KeyRecord,
    plaintext: bytes,
    *,
    algorithm: str,
    context: Mapping[str, str],
    operation: str,
    randomness: Randomness,
) -> bytes:
    """Return a CiphertextBlob.

    Raises:
        AwsError: InvalidKeyUsageException, ValidationException or KMSInvalidStateException.
    """
    require_usage(key, Usage.ENCRYPT, operation)
    require_algorithm(key, algorithm)
    if algorithm == SYMMETRIC:
        version = current_material(key)
        return seal_ciphertext(
            plaintext,
            secret=_secret(key, version),
            key_id=key.key_id,
            material_id=version.material_id,
            bound_arn=key.bound_arn,
            context=context,
            iv=randomness.read(IV_BYTES),
        )
    private_key = _rsa_key(key, context)
    limit = rsa_plaintext_max_bytes(private_key.key_size, algorithm)
    if len(plaintext) > limit:
        raise AwsError(
            AwsCode.VALIDATION,
            f"Algorithm {algorithm} and key spec {key.spec_name} cannot encrypt data larger than {limit} bytes.",
        )
    return private_key.public_key().encrypt(plaintext, _oaep(algorithm))


def decrypt(key: KeyRecord, blob: bytes, *, algorithm: str, context: Mapping[str, str], operation: str) -> Opened:
    """Open a CiphertextBlob under the key that the caller named or the header names.

    Raises:
        AwsError: InvalidCiphertextException, IncorrectKeyException, InvalidKeyUsageException or ValidationException.
    """
    require_usage(key, Usage.ENCRYPT, operation)
    require_algorithm(key, algorithm)
    if algorithm != SYMMETRIC:
        private_key = _rsa_key(key, context)
        try:
            return Opened(plaintext=private_key.decrypt(blob, _oaep(algorithm)), material_id=None)
        except ValueError:
            raise invalid_ciphertext() from None
    parts = parse_ciphertext(blob)
    if parts.key_id != key.key_id:
        raise AwsError(
            AwsCode.INCORRECT_KEY,
            "The key ID in the request does not identify a CMK that can perform this operation.",
        )
    version = key.material(parts.material_id)
    if version is None:
        raise invalid_ciphertext()
    plaintext = open_ciphertext(parts, secret=_secret(key, version), bound_arn=key.bound_arn, context=context)
    return Opened(plaintext=plaintext, material_id=version.material_id)


def _rsa_key(key: KeyRecord, context: Mapping[str, str]) -> rsa.RSAPrivateKey:
    if context:
        raise AwsError(AwsCode.VALIDATION, "An encryption context is allowed with symmetric keys only.")
    private_key = current_private_key(key)
    if not isinstance(private_key, rsa.RSAPrivateKey):
        raise AwsError(AwsCode.INVALID_KEY_USAGE, f"{key.arn} is not an RSA key.")
    return private_key


def _oaep(algorithm: str) -> padding.OAEP:
    digest = hashes.SHA1() if algorithm == "RSAES_OAEP_SHA_1" else hashes.SHA256()  # noqa: S303 - what the API offers
    return padding.OAEP(mgf=padding.MGF1(digest), algorithm=digest, label=None)
