"""Make key material: raw bytes for symmetric and HMAC keys, PKCS #8 for key pairs; repeatable from a seed."""

import hashlib
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from pcrgate.twin.kms.key_specs import Family, KeySpec
from pcrgate.twin.kms.randomness import Randomness, integer_below

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

RSA_EXPONENT: Final = 65537
"""The public exponent of every RSA key of KMS."""

_MILLER_RABIN_ROUNDS: Final = 8
"""Rounds for random candidates of 1024 bits and more: error below 2^-100. Spec: FIPS 186-5, table B.1."""

_SIEVE_LIMIT: Final = 2000
"""Trial division up to here removes most candidates before the slow test."""

_SMALL_PRIMES: Final = tuple(
    number
    for number in range(3, _SIEVE_LIMIT, 2)
    if all(number % divisor for divisor in range(3, int(number**0.5) + 1, 2))
)

_CURVES: Final[dict[str, ec.EllipticCurve]] = {
    "ECC_NIST_P256": ec.SECP256R1(),
    "ECC_NIST_P384": ec.SECP384R1(),
    "ECC_NIST_P521": ec.SECP521R1(),
    "ECC_SECG_P256K1": ec.SECP256K1(),
}


@dataclass(frozen=True, slots=True)
class Secret:
    """Hold key material; ``repr`` shows none of it.

    Attributes:
        reveal: AES or HMAC key, or PKCS #8 DER of a private key.
    """

    reveal: bytes

    def __repr__(self) -> str:
        return f"Secret({len(self.reveal)} bytes)"


def make_secret(spec: KeySpec, randomness: Randomness) -> Secret:
    """Make the material for a key of that spec."""
    if spec.family in {Family.SYMMETRIC, Family.HMAC}:
        return Secret(randomness.read(spec.size))
    return Secret(private_key_der(make_private_key(spec, randomness)))


def make_private_key(spec: KeySpec, randomness: Randomness) -> PrivateKey:
    """Make a key pair. From a seed, RSA takes seconds because its primes are searched here.

    Raises:
        ValueError: the spec has no key pair.
    """
    if spec.family is Family.RSA:
        return _repeatable_rsa(spec.size, randomness) if randomness.repeats else _system_rsa(spec.size)
    if spec.family is Family.CURVE:
        curve = _CURVES[spec.name]
        return ec.derive_private_key(1 + integer_below(randomness, curve.group_order - 1), curve)
    if spec.family is Family.EDWARDS:
        return ed25519.Ed25519PrivateKey.from_private_bytes(randomness.read(32))
    raise ValueError(f"{spec.name} has no key pair")


def private_key_der(key: PrivateKey) -> bytes:
    """Return PKCS #8 DER, unencrypted: the form of GenerateDataKeyPair's PrivateKeyPlaintext."""
    return key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def public_key_der(key: PrivateKey) -> bytes:
    """Return the SubjectPublicKeyInfo, DER."""
    return key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def load_private_key(secret: Secret) -> PrivateKey:
    """Read material made here or imported.

    Raises:
        ValueError: not a PKCS #8 private key of a family the twin uses.
    """
    try:
        key = serialization.load_der_private_key(secret.reveal, password=None)
    except (TypeError, UnsupportedAlgorithm) as error:
        raise ValueError("not an unencrypted PKCS #8 private key") from error
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey):
        raise ValueError("not an RSA, elliptic curve or Ed25519 private key")  # noqa: TRY004 - one error for callers
    return key


def is_of_spec(secret: Secret, spec: KeySpec) -> bool:
    """Whether imported material is what a key of that spec needs."""
    if spec.family in {Family.SYMMETRIC, Family.HMAC}:
        return len(secret.reveal) == spec.size
    try:
        key = load_private_key(secret)
    except ValueError:
        return False
    if isinstance(key, rsa.RSAPrivateKey):
        return spec.family is Family.RSA and key.key_size == spec.size
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return spec.family is Family.CURVE and key.curve.name == _CURVES[spec.name].name
    return spec.family is Family.EDWARDS


def material_id(key_id: str, secret: Secret) -> str:
    """Return the 64 hex digits that name a material version: a digest, so that the same import gets the same id."""
    return hashlib.sha256(b"pcrgate twin material\0" + key_id.encode() + b"\0" + secret.reveal).hexdigest()


def _system_rsa(bits: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(RSA_EXPONENT, bits)


def _repeatable_rsa(bits: int, randomness: Randomness) -> rsa.RSAPrivateKey:
    while True:
        p, q = _prime(bits // 2, randomness), _prime(bits // 2, randomness)
        if p != q:
            break
    d = rsa.rsa_recover_private_exponent(RSA_EXPONENT, p, q)
    return rsa.RSAPrivateNumbers(
        p=p,
        q=q,
        d=d,
        dmp1=rsa.rsa_crt_dmp1(d, p),
        dmq1=rsa.rsa_crt_dmq1(d, q),
        iqmp=rsa.rsa_crt_iqmp(p, q),
        public_numbers=rsa.RSAPublicNumbers(RSA_EXPONENT, p * q),
    ).private_key()


def _prime(bits: int, randomness: Randomness) -> int:
    while True:
        # The two top bits are set so that the product of two has full length.
        start = int.from_bytes(randomness.read(bits // 8)) | (3 << (bits - 2)) | 1
        for candidate in range(start, min(start + 4 * bits, 1 << bits), 2):
            if candidate % RSA_EXPONENT != 1 and _is_prime(candidate, randomness):
                return candidate


def _is_prime(candidate: int, randomness: Randomness) -> bool:
    if any(candidate % prime == 0 for prime in _SMALL_PRIMES):
        return False
    odd, twos = candidate - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for _ in range(_MILLER_RABIN_ROUNDS):
        power = pow(2 + integer_below(randomness, candidate - 3), odd, candidate)
        if power in {1, candidate - 1}:
            continue
        for _ in range(twos - 1):
            power = power * power % candidate
            if power == candidate - 1:
                break
        else:
            return False
    return True
