"""Forge chains of five certificates: right in every byte, except where a case says otherwise."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from tests.vectors_evidence import der_writer as der
from tests.vectors_evidence.keys import key, point, sign_der, spki

ROOT, REGIONAL, ZONAL, INSTANCE, LEAF = range(5)
LEVEL_NAMES = ("root", "regional", "zonal", "instance", "leaf")

NOW_MS = 1_772_366_400_000  # 2026-03-01T12:00:00Z
NOW_S = NOW_MS // 1000
TIMESTAMP_MS = NOW_MS - 10_000
REGION = "eu-central-1"
INSTANCE_ID = "i-0123456789abcdef0"
MODULE_ID = f"{INSTANCE_ID}-enc019ca9256a80c0de"
TPM_MODULE_ID = f"{INSTANCE_ID}-tpm0000000000000000"

ECDSA_SHA384 = der.sequence(der.oid("1.2.840.10045.4.3.3"))
ECDSA_SHA256 = der.sequence(der.oid("1.2.840.10045.4.3.2"))
VERSION_3 = der.tlv(0xA0, der.unsigned(2))
BASIC_CONSTRAINTS, KEY_USAGE, SUBJECT_KEY_ID, AUTHORITY_KEY_ID = "2.5.29.19", "2.5.29.15", "2.5.29.14", "2.5.29.35"
CRL_POINTS = "2.5.29.31"
HOUR_S, DAY_S = 3600, 86_400

WINDOWS = (
    (1_572_269_285, 2_519_044_085),
    (NOW_S - 5 * DAY_S, NOW_S + 15 * DAY_S + HOUR_S),
    (NOW_S - 2 * DAY_S, NOW_S + 3 * DAY_S + 18 * HOUR_S),
    (NOW_S - 6 * HOUR_S, NOW_S + 18 * HOUR_S),
    (NOW_S - 1803, NOW_S + 3 * HOUR_S - 1800),
)
LEAF_ISSUED_S = NOW_S - 1800


@dataclass(frozen=True, slots=True, kw_only=True)
class Extension:
    """One extension: ``flag`` is the encoded critical flag, or nothing."""

    kind: str
    value: bytes
    critical: bool = False
    flag: bytes | None = None

    def encode(self) -> bytes:
        flag = (der.boolean(True) if self.critical else b"") if self.flag is None else self.flag
        return der.sequence(der.oid(self.kind), flag, der.octets(self.value))


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateSpec:
    """Everything that a certificate is made of; each part can be replaced by something odd."""

    subject: bytes
    issuer: bytes
    public_key_info: bytes
    serial: bytes
    not_before: bytes
    not_after: bytes
    extensions: tuple[Extension, ...]
    version: bytes = VERSION_3
    inner_algorithm: bytes = ECDSA_SHA384
    outer_algorithm: bytes = ECDSA_SHA384
    after_extensions: bytes = b""
    unused_signature_bits: int = 0

    def tbs(self) -> bytes:
        extensions = der.tlv(0xA3, der.sequence(*(e.encode() for e in self.extensions))) if self.extensions else b""
        return der.sequence(
            self.version,
            self.serial,
            self.inner_algorithm,
            self.issuer,
            der.sequence(self.not_before, self.not_after),
            self.subject,
            self.public_key_info,
            extensions,
            self.after_extensions,
        )

    def without(self, kind: str) -> "CertificateSpec":
        return replace(self, extensions=tuple(e for e in self.extensions if e.kind != kind))

    def with_extension(self, extension: Extension) -> "CertificateSpec":
        """Replace the extension of this kind where it stands, or append it."""
        if all(e.kind != extension.kind for e in self.extensions):
            return replace(self, extensions=(*self.extensions, extension))
        kept = tuple(extension if e.kind == extension.kind else e for e in self.extensions)
        return replace(self, extensions=kept)

    def valid(self, not_before_s: int | None = None, not_after_s: int | None = None) -> "CertificateSpec":
        return replace(
            self,
            not_before=self.not_before if not_before_s is None else der.utc_time(not_before_s),
            not_after=self.not_after if not_after_s is None else der.utc_time(not_after_s),
        )


Edit = Callable[[CertificateSpec], CertificateSpec]
Signer = Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Forged:
    """A chain ready for a document: root first; ``leaf_key`` signs."""

    ders: tuple[bytes, ...]
    leaf_key: ec.EllipticCurvePrivateKey = field(repr=False)

    @property
    def root_fingerprint(self) -> bytes:
        return hashlib.sha256(self.ders[0]).digest()


def changed(**parts: Any) -> Edit:
    """Replace parts of a certificate."""
    return lambda spec: replace(spec, **parts)


def put(extension: Extension) -> Edit:
    """Replace an extension where it stands, or append it."""
    return lambda spec: spec.with_extension(extension)


def append(extension: Extension) -> Edit:
    """Append an extension, even if there is one of its kind."""
    return lambda spec: replace(spec, extensions=(*spec.extensions, extension))


def signed_by(
    private_key: ec.EllipticCurvePrivateKey, digest: type[hashes.SHA256 | hashes.SHA384] = hashes.SHA384
) -> Signer:
    return lambda tbs: sign_der(private_key, tbs, digest)


def constraints(*, ca: bool, path_length: int | None = None, critical: bool = True) -> Extension:
    limit = b"" if path_length is None else der.unsigned(path_length)
    value = der.sequence(der.boolean(True) if ca else b"", limit)
    return Extension(kind=BASIC_CONSTRAINTS, value=value, critical=critical)


def usage(*numbers: int, critical: bool) -> Extension:
    return Extension(kind=KEY_USAGE, value=der.named_bits(*numbers), critical=critical)


def level_key(level: int) -> ec.EllipticCurvePrivateKey:
    return key(LEVEL_NAMES[level])


def key_id(private_key: ec.EllipticCurvePrivateKey) -> bytes:
    return hashlib.sha1(point(private_key)).digest()  # noqa: S324 - RFC 5280, 4.2.1.2, method 1: a name, no protection


def subject_id(private_key: ec.EllipticCurvePrivateKey) -> Extension:
    return Extension(kind=SUBJECT_KEY_ID, value=der.octets(key_id(private_key)))


def authority_id(private_key: ec.EllipticCurvePrivateKey) -> Extension:
    return Extension(kind=AUTHORITY_KEY_ID, value=der.sequence(der.tlv(0x80, key_id(private_key))))


def subject_name(level: int, *, module_id: str, region: str, partition: str = "aws") -> bytes:
    """The subject of a level, in AWS's shape."""
    top = (der.COUNTRY, "US"), (der.ORGANIZATION, "Amazon"), (der.UNIT, "AWS")
    place = (der.STATE, "Washington"), (der.LOCALITY, "Seattle")
    domain = f"{region}.{partition}.nitro-enclaves"
    if level == ROOT:
        return der.name(*top, (der.COMMON_NAME, f"{partition}.nitro-enclaves"))
    if level == REGIONAL:
        return der.name(*top, (der.COMMON_NAME, f"4c6f72656d206970.{domain}"))
    if level == ZONAL:
        zonal = der.COMMON_NAME, f"73756d20646f6c6f.zonal.{domain}"
        return der.name(zonal, *reversed(top), (der.STATE, "WA"), (der.LOCALITY, "Seattle"))
    common_name = f"{module_id}.{region}.{partition}" if level == LEAF else f"{module_id[:19]}.{domain}"
    return der.name(top[0], *place, *top[1:], (der.COMMON_NAME, common_name))


def crl_points(url: str) -> Extension:
    name = der.tlv(0xA0, der.tlv(0xA0, der.tlv(0x86, url.encode())))
    return Extension(kind=CRL_POINTS, value=der.sequence(der.sequence(name)))


def level_extensions(level: int) -> tuple[Extension, ...]:
    own, above = subject_id(level_key(level)), authority_id(level_key(max(level - 1, 0)))
    signs = usage(0, 5, 6, critical=True)
    if level == ROOT:
        return constraints(ca=True), own, signs
    if level == REGIONAL:
        return constraints(ca=True, path_length=2), above, own, signs, crl_points("http://crl.example.invalid/root.crl")
    if level == ZONAL:
        return constraints(ca=True, path_length=1), above, own, signs, crl_points("http://crl.example.invalid/eu.crl")
    if level == INSTANCE:
        return constraints(ca=True, path_length=0), usage(5, critical=True), own, above
    return constraints(ca=False), usage(0, 1, critical=False)


def level_spec(
    level: int, *, module_id: str = MODULE_ID, region: str = REGION, partition: str = "aws"
) -> CertificateSpec:
    """The right certificate of a level, before any edit."""
    serial = int.from_bytes(hashlib.sha256(f"serial {level}".encode()).digest()[:16], "big")
    if level == LEAF:
        serial = int(module_id[-16:], 16) << 64 | LEAF_ISSUED_S
    names = {"module_id": module_id, "region": region, "partition": partition}
    return CertificateSpec(
        subject=subject_name(level, **names),
        issuer=subject_name(max(level - 1, 0), **names),
        public_key_info=spki(level_key(level)),
        serial=der.unsigned(serial),
        not_before=der.utc_time(WINDOWS[level][0]),
        not_after=der.utc_time(WINDOWS[level][1]),
        extensions=level_extensions(level),
    )


@lru_cache(maxsize=512)
def sign_certificate(spec: CertificateSpec, signer: Signer) -> bytes:
    """The certificate, signed over what it says."""
    tbs = spec.tbs()
    return der.sequence(tbs, spec.outer_algorithm, der.bits(signer(tbs), spec.unused_signature_bits))


SIGNERS: Sequence[Signer] = tuple(signed_by(level_key(level)) for level in (ROOT, ROOT, REGIONAL, ZONAL, INSTANCE))
"""Who signs each level."""


def forge_chain(
    edits: Mapping[int, Edit] | None = None,
    *,
    signers: Mapping[int, Signer] | None = None,
    rewrite: Mapping[int, Callable[[bytes], bytes]] | None = None,
    module_id: str = MODULE_ID,
    region: str = REGION,
    partition: str = "aws",
) -> Forged:
    """A chain in which some levels were edited before signing, signed otherwise, or rewritten after signing."""
    ders = []
    for level in range(5):
        spec = level_spec(level, module_id=module_id, region=region, partition=partition)
        if edits and level in edits:
            spec = edits[level](spec)
        signed = sign_certificate(spec, (signers or {}).get(level, SIGNERS[level]))
        ders.append(rewrite[level](signed) if rewrite and level in rewrite else signed)
    return Forged(ders=tuple(ders), leaf_key=level_key(LEAF))
