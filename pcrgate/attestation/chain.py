"""Link the certificate chain of a document in its own fixed order, from a pinned root down to the leaf.

Spec: RFC 5280, 6.1 (without path building, policies, name constraints and CRLs, as AWS prescribes); facts checklist
10 to 17 and 30.
"""

import hashlib
import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, EllipticCurvePublicKey

from pcrgate.attestation.anchors import Roots
from pcrgate.attestation.certificate import (
    KEY_USAGE_DIGITAL_SIGNATURE,
    KEY_USAGE_KEY_CERT_SIGN,
    UnverifiedCertificate,
    parse_certificate,
)
from pcrgate.attestation.document import UnverifiedDocument
from pcrgate.attestation.evidence import CertificateFacts
from pcrgate.attestation.signatures import SignatureClaim
from pcrgate.errors import ErrorCode, UntrustedEvidenceError

CACHED_CERTIFICATES: Final = 1024
"""Default bound of a cache: some hundred instances of a fleet, about 2 MB."""

_CURVE: Final = SECP384R1()
_CA: Final = b"\x00"
_LEAF: Final = b"\x01"

Revocations = frozenset[tuple[bytes, int]]
"""Revoked certificates by (encoded issuer Name, serial number), as CRLs name them."""


@dataclass(frozen=True, slots=True)
class LinkedCertificate:
    """Hold a certificate whose role and place below its issuer are checked.

    In a cache it is verified: it got there only after every signature above it held.

    Attributes:
        certificate: its fields.
        key: its public key, on the curve.
        facts: what a reader wants to see.
    """

    certificate: UnverifiedCertificate
    key: EllipticCurvePublicKey
    facts: CertificateFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkedChain:
    """Hold a chain that is right in everything but the signatures still claimed.

    Attributes:
        certificates: root first, leaf last.
        claims: the signatures to verify; none for a certificate that came from the cache.
        fresh: path hash and certificate of each that the cache should keep once all claims hold.
    """

    certificates: tuple[LinkedCertificate, ...]
    claims: tuple[SignatureClaim, ...]
    fresh: tuple[tuple[bytes, LinkedCertificate], ...]


class ChainCache:
    """Keep verified certificates, so that steady traffic costs one signature verification a document.

    An entry is found only by a hash over the certificate and everything above it, up to the root. It spares parsing and
    signatures, nothing else: validity, path length, revocation and names are checked each time. Threads may share it.
    """

    def __init__(self, max_certificates: int = CACHED_CERTIFICATES) -> None:
        """Bound the cache to ``max_certificates`` entries, 0 for none; the least recently used goes first."""
        self._max_certificates = max(max_certificates, 0)
        self._entries: OrderedDict[bytes, LinkedCertificate] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, path: bytes) -> LinkedCertificate | None:
        """Return the certificate verified under this path hash (32 bytes), or None."""
        with self._lock:
            found = self._entries.get(path)
            if found is not None:
                self._entries.move_to_end(path)
            return found

    def keep(self, path: bytes, verified: LinkedCertificate) -> None:
        """Keep a certificate under its path hash (32 bytes), after every signature up to the root held."""
        with self._lock:
            self._entries[path] = verified
            self._entries.move_to_end(path)
            while len(self._entries) > self._max_certificates:
                self._entries.popitem(last=False)


def link_chain(
    document: UnverifiedDocument, roots: Roots, cache: ChainCache | None, revocations: Revocations
) -> LinkedChain:
    """Return the chain once everything holds but the signatures it claims; validity in time is not judged here.

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
    claims: list[SignatureClaim] = []
    fresh: list[tuple[bytes, LinkedCertificate]] = []
    # (11) fixed order, no path building
    for role, der in (*((_CA, der) for der in bundle[1:]), (_LEAF, document.certificate)):
        path = hashlib.sha256(role + path + der).digest()
        linked = None if cache is None else cache.find(path)
        if linked is None:
            issuer = chain[-1]
            linked = _link(der, issuer, is_leaf=role is _LEAF)
            claims.append(_claim(linked, issuer))
            fresh.append((path, linked))
        chain.append(linked)
    # (14) path length: CAs below, the leaf not counted
    for index, linked in enumerate(chain[:-1]):
        constraints = linked.certificate.basic_constraints
        limit = constraints.path_length if constraints else None
        below = len(bundle) - 1 - index
        if limit is not None and below > limit:
            raise UntrustedEvidenceError(
                ErrorCode.CERTIFICATE_PATH_LENGTH, f"{below} CAs stand below one whose path length is {limit}"
            )
    # (17) optional offline revocation set
    if revocations:
        for linked in chain:
            certificate = linked.certificate
            if (certificate.issuer, certificate.serial) in revocations:
                raise UntrustedEvidenceError(
                    ErrorCode.CERTIFICATE_REVOKED, f"the certificate of {certificate.common_name} is revoked"
                )
    return LinkedChain(certificates=tuple(chain), claims=tuple(claims), fresh=tuple(fresh))


@lru_cache(maxsize=16)
def _trusted_root(der: bytes) -> LinkedCertificate:
    """Return the root; its trust is the pinned hash, its own signature proves nothing more."""
    root = parse_certificate(der)
    _check_authority(root)
    return LinkedCertificate(root, _public_key(root), _facts(root))


def _facts(certificate: UnverifiedCertificate) -> CertificateFacts:
    return CertificateFacts(
        common_name=certificate.common_name,
        serial=certificate.serial,
        not_before_s=certificate.not_before_s,
        not_after_s=certificate.not_after_s,
        sha256=hashlib.sha256(certificate.der).digest(),
    )


def _claim(linked: LinkedCertificate, issuer: LinkedCertificate) -> SignatureClaim:
    certificate = linked.certificate
    refusal = UntrustedEvidenceError(
        ErrorCode.CERTIFICATE_SIGNATURE,
        f"the signature on {certificate.common_name} is not by {issuer.certificate.common_name}",
    )
    return SignatureClaim(issuer.key, certificate.signature, certificate.tbs, refusal)


def _link(der: bytes, issuer: LinkedCertificate, *, is_leaf: bool) -> LinkedCertificate:
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
    return LinkedCertificate(certificate, _public_key(certificate), _facts(certificate))


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
