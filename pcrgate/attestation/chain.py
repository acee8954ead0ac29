"""Verify the certificate chain of a document in its own fixed order, from a pinned root down to the leaf.

Spec: RFC 5280, 6.1 (without path building, policies, name constraints and CRLs, as AWS prescribes); facts checklist
10 to 17 and 30.
"""

import hashlib
import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP384R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA384

from pcrgate.attestation.anchors import Roots
from pcrgate.attestation.certificate import (
    KEY_USAGE_DIGITAL_SIGNATURE,
    KEY_USAGE_KEY_CERT_SIGN,
    UnverifiedCertificate,
    parse_certificate,
)
from pcrgate.attestation.document import UnverifiedDocument
from pcrgate.errors import ErrorCode, UntrustedEvidenceError

CACHED_CERTIFICATES: Final = 1024
"""Default bound of a cache: some hundred instances of a fleet, about 2 MB."""

ES384: Final = ECDSA(SHA384())
"""The one signature algorithm of certificates and documents."""

_CURVE: Final = SECP384R1()
_CA: Final = b"\x00"
_LEAF: Final = b"\x01"

Revocations = frozenset[tuple[bytes, int]]
"""Revoked certificates by (encoded issuer Name, serial number), as CRLs name them."""


@dataclass(frozen=True, slots=True)
class TrustedCertificate:
    """Hold a certificate whose signature and role were verified against everything above it.

    Attributes:
        certificate: its fields.
        key: its public key, on the curve.
    """

    certificate: UnverifiedCertificate
    key: EllipticCurvePublicKey


class ChainCache:
    """Keep verified certificates, so that steady traffic costs one signature verification a document.

    An entry is found only by a hash over the certificate and everything above it, up to the root. It spares parsing and
    signatures, nothing else: validity, path length, revocation and names are checked each time. Threads may share it.
    """

    def __init__(self, max_certificates: int = CACHED_CERTIFICATES) -> None:
        """Bound the cache to ``max_certificates`` entries; the least recently used goes first."""
        self._max_certificates = max_certificates
        self._entries: OrderedDict[bytes, TrustedCertificate] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, path: bytes) -> TrustedCertificate | None:
        """Return the certificate verified under this path hash (32 bytes), or None."""
        with self._lock:
            found = self._entries.get(path)
            if found is not None:
                self._entries.move_to_end(path)
            return found

    def keep(self, path: bytes, trusted: TrustedCertificate) -> None:
        """Keep a certificate under its path hash (32 bytes)."""
        with self._lock:
            self._entries[path] = trusted
            self._entries.move_to_end(path)
            while len(self._entries) > self._max_certificates:
                self._entries.popitem(last=False)


def verify_chain(
    document: UnverifiedDocument, roots: Roots, cache: ChainCache | None, revocations: Revocations
) -> tuple[TrustedCertificate, ...]:
    """Return the chain, root first and leaf last, once every link is verified; validity in time is not judged here.

    Raises:
        UntrustedEvidenceError: ``root-unpinned`` or a ``certificate-`` code.
        MalformedEvidenceError: ``der``.
    """
    # (10) the anchor is pinned; the copy in the document must be it, byte for byte
    bundle = document.cabundle
    path = hashlib.sha256(bundle[0]).digest()
    if path not in roots.fingerprints:
        raise UntrustedEvidenceError(
            ErrorCode.ROOT_UNPINNED, f"the bundle starts with a root of SHA-256 {path.hex()}, which is not pinned"
        )
    # (13) no repeated certificate
    if len({*bundle, document.certificate}) != len(bundle) + 1:
        raise UntrustedEvidenceError(ErrorCode.CERTIFICATE_REPEATED, "a certificate stands twice in the chain")
    chain = [_trusted_root(bundle[0])]
    # (11) fixed order, no path building
    for der in bundle[1:]:
        path = hashlib.sha256(_CA + path + der).digest()
        chain.append(_link(der, chain[-1], path, cache, is_leaf=False))
    path = hashlib.sha256(_LEAF + path + document.certificate).digest()
    chain.append(_link(document.certificate, chain[-1], path, cache, is_leaf=True))
    # (14) path length: CAs below, the leaf not counted
    for index, trusted in enumerate(chain[:-1]):
        constraints = trusted.certificate.basic_constraints
        limit = constraints.path_length if constraints else None
        below = len(bundle) - 1 - index
        if limit is not None and below > limit:
            raise UntrustedEvidenceError(
                ErrorCode.CERTIFICATE_PATH_LENGTH, f"{below} CAs stand below one whose path length is {limit}"
            )
    # (17) optional offline revocation set
    if revocations:
        for trusted in chain:
            certificate = trusted.certificate
            if (certificate.issuer, certificate.serial) in revocations:
                raise UntrustedEvidenceError(
                    ErrorCode.CERTIFICATE_REVOKED, f"the certificate of {certificate.common_name} is revoked"
                )
    return tuple(chain)


@lru_cache(maxsize=16)
def _trusted_root(der: bytes) -> TrustedCertificate:
    """Return the root; its trust is the pinned hash, its own signature proves nothing more."""
    root = parse_certificate(der)
    _check_authority(root)
    return TrustedCertificate(root, _public_key(root))


def _link(
    der: bytes, issuer: TrustedCertificate, path: bytes, cache: ChainCache | None, *, is_leaf: bool
) -> TrustedCertificate:
    if cache is not None and (known := cache.find(path)) is not None:
        return known
    certificate = parse_certificate(der)
    above = issuer.certificate
    # (13) issuer is the subject above, as encoded; key identifiers agree when both are there
    if certificate.issuer != above.subject:
        raise UntrustedEvidenceError(
            ErrorCode.CERTIFICATE_ISSUER, f"the issuer of {certificate.common_name} is not {above.common_name}"
        )
    if (
        certificate.authority_key_id is not None
        and above.subject_key_id is not None
        and certificate.authority_key_id != above.subject_key_id
    ):
        raise UntrustedEvidenceError(
            ErrorCode.CERTIFICATE_KEY_ID, f"the authority key identifier of {certificate.common_name} is another's"
        )
    # (14) what each may do
    if is_leaf:
        _check_leaf(certificate)
    else:
        _check_authority(certificate)
    key = _public_key(certificate)
    try:
        issuer.key.verify(certificate.signature, certificate.tbs, ES384)
    except InvalidSignature as error:
        raise UntrustedEvidenceError(
            ErrorCode.CERTIFICATE_SIGNATURE,
            f"the signature on {certificate.common_name} is not by {above.common_name}",
        ) from error
    trusted = TrustedCertificate(certificate, key)
    if cache is not None:
        cache.keep(path, trusted)
    return trusted


def _public_key(certificate: UnverifiedCertificate) -> EllipticCurvePublicKey:
    try:
        return EllipticCurvePublicKey.from_encoded_point(_CURVE, certificate.public_point)
    except ValueError as error:
        raise UntrustedEvidenceError(
            ErrorCode.CERTIFICATE_KEY, f"the key of {certificate.common_name} is not a point on P-384"
        ) from error


def _check_authority(certificate: UnverifiedCertificate) -> None:
    """Demand what a CA must carry. Spec: RFC 5280, 4.2.1.3 and 4.2.1.9."""
    constraints = certificate.basic_constraints
    if constraints is None or not constraints.ca or not constraints.critical:
        raise UntrustedEvidenceError(
            ErrorCode.CERTIFICATE_CA, f"{certificate.common_name} signs a certificate but is not a CA, critically"
        )
    if certificate.key_usage is None or KEY_USAGE_KEY_CERT_SIGN not in certificate.key_usage:
        raise UntrustedEvidenceError(
            ErrorCode.CERTIFICATE_KEY_USAGE, f"{certificate.common_name} signs a certificate without keyCertSign"
        )


def _check_leaf(certificate: UnverifiedCertificate) -> None:
    """Demand what the leaf carries; its KeyUsage is never critical in real documents."""
    constraints = certificate.basic_constraints
    if constraints is None or constraints.ca:
        raise UntrustedEvidenceError(ErrorCode.CERTIFICATE_LEAF_CA, "the leaf is a CA, or does not say that it is none")
    if constraints.path_length is not None:
        raise UntrustedEvidenceError(ErrorCode.CERTIFICATE_PATH_LENGTH, "the leaf carries a path length")
    if certificate.key_usage is None or KEY_USAGE_DIGITAL_SIGNATURE not in certificate.key_usage:
        raise UntrustedEvidenceError(ErrorCode.CERTIFICATE_KEY_USAGE, "the leaf lacks digitalSignature")
