"""Which key specs the twin makes, what each is for, and how much it takes in one call."""

from dataclasses import dataclass
from enum import Enum
from typing import Final


class Usage(Enum):
    """Say what a key is for; a key has exactly one usage. Spec: KMS API, KeyUsageType."""

    ENCRYPT = "ENCRYPT_DECRYPT"
    SIGN = "SIGN_VERIFY"
    MAC = "GENERATE_VERIFY_MAC"
    AGREE = "KEY_AGREEMENT"


class Family(Enum):
    """Say how a key's secret is made and used."""

    SYMMETRIC = "symmetric"
    HMAC = "hmac"
    RSA = "rsa"
    CURVE = "curve"
    EDWARDS = "edwards"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySpec:
    """Describe one KeySpec of the API.

    Attributes:
        name: as in the API.
        family: how its secret is made.
        size: bits of an RSA modulus or of a curve; bytes of an HMAC or AES key.
        usages: allowed usages; with one alone, CreateKey may leave KeyUsage out for it only if it is the default.
        signing: signing algorithms, when used to sign.
    """

    name: str
    family: Family
    size: int
    usages: tuple[Usage, ...]
    signing: tuple[str, ...] = ()

    def algorithms(self, usage: Usage) -> dict[str, list[str]]:
        """Return the KeyMetadata member that lists the algorithms for a usage."""
        if usage is Usage.SIGN:
            return {"SigningAlgorithms": list(self.signing)}
        if usage is Usage.MAC:
            return {"MacAlgorithms": [self.name.replace("HMAC_", "HMAC_SHA_")]}
        if usage is Usage.AGREE:
            return {"KeyAgreementAlgorithms": ["ECDH"]}
        if self.family is Family.RSA:
            return {"EncryptionAlgorithms": ["RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256"]}
        return {"EncryptionAlgorithms": ["SYMMETRIC_DEFAULT"]}


_RSA_SIGNING: Final = tuple(
    f"RSASSA_{padding}_SHA_{bits}" for padding in ("PKCS1_V1_5", "PSS") for bits in (256, 384, 512)
)
_RSA_USAGES: Final = (Usage.ENCRYPT, Usage.SIGN)
_CURVE_USAGES: Final = (Usage.SIGN, Usage.AGREE)

_ALL: Final = (
    KeySpec(name="SYMMETRIC_DEFAULT", family=Family.SYMMETRIC, size=32, usages=(Usage.ENCRYPT,)),
    # RFC 2104, 3: a secret as long as the hash's output.
    KeySpec(name="HMAC_224", family=Family.HMAC, size=28, usages=(Usage.MAC,)),
    KeySpec(name="HMAC_256", family=Family.HMAC, size=32, usages=(Usage.MAC,)),
    KeySpec(name="HMAC_384", family=Family.HMAC, size=48, usages=(Usage.MAC,)),
    KeySpec(name="HMAC_512", family=Family.HMAC, size=64, usages=(Usage.MAC,)),
    KeySpec(name="RSA_2048", family=Family.RSA, size=2048, usages=_RSA_USAGES, signing=_RSA_SIGNING),
    KeySpec(name="RSA_3072", family=Family.RSA, size=3072, usages=_RSA_USAGES, signing=_RSA_SIGNING),
    KeySpec(name="RSA_4096", family=Family.RSA, size=4096, usages=_RSA_USAGES, signing=_RSA_SIGNING),
    KeySpec(name="ECC_NIST_P256", family=Family.CURVE, size=256, usages=_CURVE_USAGES, signing=("ECDSA_SHA_256",)),
    KeySpec(name="ECC_NIST_P384", family=Family.CURVE, size=384, usages=_CURVE_USAGES, signing=("ECDSA_SHA_384",)),
    KeySpec(name="ECC_NIST_P521", family=Family.CURVE, size=521, usages=_CURVE_USAGES, signing=("ECDSA_SHA_512",)),
    KeySpec(name="ECC_SECG_P256K1", family=Family.CURVE, size=256, usages=(Usage.SIGN,), signing=("ECDSA_SHA_256",)),
    KeySpec(
        name="ECC_NIST_EDWARDS25519",
        family=Family.EDWARDS,
        size=255,
        usages=(Usage.SIGN,),
        signing=("ED25519_SHA_512",),
    ),
)

KEY_SPECS: Final = {spec.name: spec for spec in _ALL}
"""Every spec the twin makes. SM2, ML-DSA and ML-KEM are answered with UnsupportedOperationException."""

SYMMETRIC_PLAINTEXT_MAX_BYTES: Final = 4096
"""Most that Encrypt takes under a symmetric key. Spec: KMS API, Encrypt."""


def rsa_plaintext_max_bytes(modulus_bits: int, algorithm: str) -> int:
    """Return the most that OAEP takes: modulus minus two hashes minus two. Spec: RFC 8017, 7.1.1."""
    hash_bytes = 20 if algorithm == "RSAES_OAEP_SHA_1" else 32
    return modulus_bits // 8 - 2 * hash_bytes - 2
