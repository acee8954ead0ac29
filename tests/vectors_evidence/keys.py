"""Keys from labels: the same label, the same P-384 key, for ever. They protect nothing."""

import hashlib
from functools import cache

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

P384_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973


@cache
def key(label: str) -> ec.EllipticCurvePrivateKey:
    scalar = int.from_bytes(hashlib.sha512(f"pcrgate evidence vectors: {label}".encode()).digest()[:47], "big") + 1
    return ec.derive_private_key(scalar, ec.SECP384R1())


@cache
def p256_key(label: str) -> ec.EllipticCurvePrivateKey:
    scalar = int.from_bytes(hashlib.sha256(f"pcrgate evidence vectors: {label}".encode()).digest()[:31], "big") + 1
    return ec.derive_private_key(scalar, ec.SECP256R1())


def spki(private_key: ec.EllipticCurvePrivateKey) -> bytes:
    return private_key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def point(private_key: ec.EllipticCurvePrivateKey, *, compressed: bool = False) -> bytes:
    form = serialization.PublicFormat.CompressedPoint if compressed else serialization.PublicFormat.UncompressedPoint
    return private_key.public_key().public_bytes(serialization.Encoding.X962, form)


@cache
def _signed(
    private_key: ec.EllipticCurvePrivateKey, data: bytes, digest: type[hashes.SHA256 | hashes.SHA384]
) -> tuple[int, int]:
    return decode_dss_signature(private_key.sign(data, ec.ECDSA(digest(), deterministic_signing=True)))


def sign_der(
    private_key: ec.EllipticCurvePrivateKey,
    data: bytes,
    digest: type[hashes.SHA256 | hashes.SHA384] = hashes.SHA384,
    *,
    mirrored: bool = False,
) -> bytes:
    """An ECDSA-Sig-Value; mirrored gives n - s, which verifies just as well."""
    r, s = _signed(private_key, data, digest)
    return encode_dss_signature(r, P384_ORDER - s if mirrored else s)


def sign_raw(private_key: ec.EllipticCurvePrivateKey, data: bytes, *, high_s: bool | None = None) -> bytes:
    """96 bytes of r and s; high_s chooses which half of the range s lies in."""
    r, s = _signed(private_key, data, hashes.SHA384)
    if high_s is not None and (s > P384_ORDER // 2) is not high_s:
        s = P384_ORDER - s
    return r.to_bytes(48, "big") + s.to_bytes(48, "big")
