"""The development PKI: five levels shaped like the one behind Nitro attestation documents, made from one seed.

Everything private is derived from the seed, so a PKI is saved and shared as its seed, and the same seed gives the same
certificates byte for byte (keys by HKDF, signatures by RFC 6979). The root bears the name of the real commercial root,
because the names below it only have their real shape when it does; what tells the two apart is what a verifier goes by,
the SHA-256 of the certificate.

Validity windows lie on a fixed grid of time, so the chain for an instant does not depend on what was asked before it.

Spec: attestation_process.md, 3.2.3 (certificates); lifetimes and serials as measured on documents that AWS signed.
"""

import hashlib
import os
import re
import threading
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from pcrgate.errors import ErrorCode, UsageError
from pcrgate.twin import pki_shapes as shapes
from pcrgate.twin.private_files import write_whole

SEED_MIN_BYTES: Final = 16
"""Shortest seed taken, 128 bits; an ephemeral PKI uses 48 bytes."""

LEAF_LEAD_S: Final = 3
"""How long before its issue a leaf becomes valid; AWS's leaves since 2022 do the same."""

LEAF_LIFETIME_S: Final = 3 * 3600 + LEAF_LEAD_S
"""Lifetime of a leaf: 3 h 0 m 3 s."""

ROOT_FILE: Final = "root.pem"
SEED_FILE: Final = "seed.private"

_HOUR_S: Final = 3600
_DAY_S: Final = 24 * _HOUR_S
# A child is issued inside its parent's period, and each lifetime outlasts its period by more than the child's lifetime,
# so every window lies inside its parent's.
_REGIONAL_PERIOD_S, _REGIONAL_LIFETIME_S = 10 * _DAY_S, 20 * _DAY_S + _HOUR_S
_ZONAL_PERIOD_S, _ZONAL_LIFETIME_S = 4 * _DAY_S, 5 * _DAY_S + 18 * _HOUR_S
_INSTANCE_PERIOD_S, _INSTANCE_LIFETIME_S = 12 * _HOUR_S, _DAY_S
_ROOT_WINDOW: Final = shapes.Window(not_before_s=1_572_269_285, lifetime_s=946_771_200 + _HOUR_S)  # as the real one
_CLOCK_MIN_S: Final = 1_577_836_800  # 2020-01-01: every window below the root lies inside the root's from here ...
_CLOCK_MAX_S: Final = 2_514_764_800  # 2049-09-09: ... to here
_P384_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973
_CACHED_CERTIFICATES: Final = 64
_MODULE_ID: Final = re.compile(r"(i-[0-9a-f]{17})-(?:enc|tpm)([0-9a-f]{16})")
_REGION: Final = re.compile(r"(?=.{6,20}$)[a-z]{2}(?:-[a-z]+)+-\d")  # a common name has room for 20


@dataclass(frozen=True, slots=True, kw_only=True)
class LeafChain:
    """Hold a leaf with everything a document needs to carry and to be signed.

    Attributes:
        certificate: the leaf's DER.
        cabundle: the DER of root, regional, zonal and instance certificate, in this order.
        key: the leaf's P-384 private key, which signs documents.
        not_before_ms: first millisecond of the leaf's validity, since the epoch.
        not_after_ms: last second of the leaf's validity, as milliseconds since the epoch.
    """

    certificate: bytes
    cabundle: tuple[bytes, ...]
    key: ec.EllipticCurvePrivateKey
    not_before_ms: int
    not_after_ms: int


@dataclass(frozen=True, slots=True)
class _Authority:
    """Hold a certificate that signs others, and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)


class DevPki:
    """Issue certificate chains of five levels: root, regional, zonal, instance, leaf. Safe to share between threads.

    Attributes:
        root_der: the root certificate.
        root_fingerprint: SHA-256 of ``root_der``, 32 bytes; what a verifier has to be given explicitly.
    """

    def __init__(self, seed: bytes) -> None:
        """Derive the PKI from a seed.

        Raises:
            UsageError: ``usage-nsm`` when the seed is shorter than 16 bytes.
        """
        if len(seed) < SEED_MIN_BYTES:
            raise UsageError(ErrorCode.USAGE_NSM, f"the seed has {len(seed)} bytes, expected {SEED_MIN_BYTES} or more")
        self._seed: Final = bytes(seed)
        self._lock: Final = threading.Lock()
        self._authorities: Final[dict[str, _Authority]] = {}
        key = self._key("root")
        subject = self._subject("root", shapes.root_name(), key, _ROOT_WINDOW)
        self._root: Final = _Authority(shapes.sign(shapes.build_root(subject), key), key)
        self.root_der: Final = self._root.der
        self.root_fingerprint: Final = hashlib.sha256(self._root.der).digest()

    @classmethod
    def ephemeral(cls) -> Self:
        """Make a PKI from fresh randomness; it is gone when the process ends, unless saved."""
        return cls(os.urandom(48))

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read the PKI that :meth:`save` wrote.

        Raises:
            UsageError: ``usage-file`` when it cannot be read, or the root is not the seed's.
        """
        try:
            pki = cls(bytes.fromhex((directory / SEED_FILE).read_text(encoding="ascii")))
            root_pem = (directory / ROOT_FILE).read_bytes()
        except (OSError, ValueError, UsageError) as error:
            raise UsageError(ErrorCode.USAGE_FILE, "the development PKI cannot be read, make it again") from error
        if root_pem != pki.root_pem():
            raise UsageError(ErrorCode.USAGE_FILE, "the development root is not the one that its seed gives")
        return pki

    def save(self, directory: Path) -> None:
        """Write the root certificate (PEM) and the seed (hex, readable by its owner only) into a directory.

        Raises:
            UsageError: ``usage-file`` when it cannot be written.
        """
        try:
            write_whole(directory / SEED_FILE, self._seed.hex().encode())
            write_whole(directory / ROOT_FILE, self.root_pem(), mode=0o644)  # last: who finds it loads the pair
        except OSError as error:
            raise UsageError(ErrorCode.USAGE_FILE, "the development PKI cannot be written there") from error

    def root_pem(self) -> bytes:
        """Return the root certificate as PEM."""
        return self._root.certificate.public_bytes(serialization.Encoding.PEM)

    def chain_for(self, *, module_id: str, region: str, now_ms: int) -> LeafChain:
        """Issue a leaf at an instant, under the chain that is in use then.

        Args:
            module_id: ``i-`` and 17 hex digits, then ``-enc`` or ``-tpm`` and 16 hex digits.
            region: for example ``eu-central-1``.
            now_ms: the time of issue, in milliseconds since the epoch.

        Raises:
            UsageError: ``usage-nsm`` for names of another shape, ``usage-time`` before 2020 or after August 2049.
        """
        module = _MODULE_ID.fullmatch(module_id)
        if module is None:
            raise UsageError(ErrorCode.USAGE_NSM, "the module id is of another form, expected i-HEX17-encHEX16 or -tpm")
        if not _REGION.fullmatch(region):
            raise UsageError(ErrorCode.USAGE_NSM, "the region is of another form, expected one like eu-central-1")
        issued_s = now_ms // 1000
        if not _CLOCK_MIN_S <= issued_s <= _CLOCK_MAX_S:
            raise UsageError(ErrorCode.USAGE_TIME, "the clock is outside of the development root's use, 2020 to 2049")
        window = shapes.Window(not_before_s=issued_s - LEAF_LEAD_S, lifetime_s=LEAF_LIFETIME_S)
        with self._lock:
            regional, zonal, instance = self._authorities_at(window.not_before_s, module[1], region)
        key = self._key(f"leaf {module_id} {region} {issued_s}")
        serial = int(module[2], 16) << 64 | issued_s
        subject = shapes.Subject(
            name=shapes.leaf_name(module_id, region), key=key.public_key(), serial=serial, window=window
        )
        leaf = shapes.sign(shapes.build_leaf(subject, instance.certificate), instance.key)
        return LeafChain(
            certificate=leaf.public_bytes(serialization.Encoding.DER),
            cabundle=(self.root_der, regional.der, zonal.der, instance.der),
            key=key,
            not_before_ms=window.not_before_s * 1000,
            not_after_ms=(window.not_before_s + window.lifetime_s) * 1000,
        )

    def _authorities_at(self, at_s: int, instance_id: str, region: str) -> tuple[_Authority, _Authority, _Authority]:
        instance_at = at_s - at_s % _INSTANCE_PERIOD_S
        zonal_at = instance_at - instance_at % _ZONAL_PERIOD_S
        regional_at = zonal_at - zonal_at % _REGIONAL_PERIOD_S
        if len(self._authorities) >= _CACHED_CERTIFICATES:
            self._authorities.clear()
        regional = self._regional(region, regional_at)
        zonal = self._zonal(region, zonal_at, regional)
        return regional, zonal, self._instance(instance_id, region, instance_at, zonal)

    def _regional(self, region: str, at_s: int) -> _Authority:
        label = f"regional {region} {at_s}"
        if label not in self._authorities:
            key = self._key(label)
            name = shapes.regional_name(self._derive(f"name {label}", 8).hex(), region)
            window = shapes.Window(not_before_s=at_s, lifetime_s=_REGIONAL_LIFETIME_S)
            crl_url = f"http://aws-nitro-enclaves-crl.s3.amazonaws.invalid/crl/{self._uuid('root')}.crl"
            builder = shapes.build_rotating(
                self._subject(label, name, key, window), self._root.certificate, path_length=2, crl_url=crl_url
            )
            self._authorities[label] = _Authority(shapes.sign(builder, self._root.key), key)
        return self._authorities[label]

    def _zonal(self, region: str, at_s: int, regional: _Authority) -> _Authority:
        label = f"zonal {region} {at_s}"
        if label not in self._authorities:
            key = self._key(label)
            name = shapes.zonal_name(self._derive(f"name {label}", 8).hex(), region)
            window = shapes.Window(not_before_s=at_s, lifetime_s=_ZONAL_LIFETIME_S)
            host = f"crl-{region}-aws-nitro-enclaves.s3.{region}.amazonaws.invalid"
            crl_url = f"http://{host}/crl/{self._uuid(region)}.crl"
            builder = shapes.build_rotating(
                self._subject(label, name, key, window), regional.certificate, path_length=1, crl_url=crl_url
            )
            self._authorities[label] = _Authority(shapes.sign(builder, regional.key), key)
        return self._authorities[label]

    def _instance(self, instance_id: str, region: str, at_s: int, zonal: _Authority) -> _Authority:
        label = f"instance {instance_id} {region} {at_s}"
        if label not in self._authorities:
            key = self._key(label)
            window = shapes.Window(not_before_s=at_s, lifetime_s=_INSTANCE_LIFETIME_S)
            subject = self._subject(label, shapes.instance_name(instance_id, region), key, window, serial_bits=159)
            builder = shapes.build_instance(subject, zonal.certificate)
            self._authorities[label] = _Authority(shapes.sign(builder, zonal.key), key)
        return self._authorities[label]

    def _subject(
        self,
        label: str,
        name: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        window: shapes.Window,
        *,
        serial_bits: int = 128,
    ) -> shapes.Subject:
        # An instance's serial has 160 bits at AWS; the certificate builder takes 159.
        serial = int.from_bytes(self._derive(f"serial {label}", 20), "big") >> (160 - serial_bits)
        return shapes.Subject(name=name, key=key.public_key(), serial=serial, window=window)

    def _derive(self, label: str, length_bytes: int) -> bytes:
        info = b"pcrgate development PKI: " + label.encode()
        return HKDF(algorithm=hashes.SHA512(), length=length_bytes, salt=None, info=info).derive(self._seed)

    def _key(self, label: str) -> ec.EllipticCurvePrivateKey:
        # 64 bits more than the order has, so that the reduction leaves no bias. Spec: FIPS 186-5, A.2.1.
        scalar = int.from_bytes(self._derive(f"key {label}", 56), "big") % (_P384_ORDER - 1) + 1
        return ec.derive_private_key(scalar, ec.SECP384R1())

    def _uuid(self, label: str) -> uuid.UUID:
        return uuid.UUID(bytes=self._derive(f"crl {label}", 16), version=4)
