"""Verify an attestation document: bytes in, verified evidence out, or one of our errors.

The numbers are those of docs/verification.md. Order: structure, chain, signature, and only then meaning.
"""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from pcrgate.attestation.anchors import Roots
from pcrgate.attestation.chain import ChainCache, LinkedCertificate, Revocations, link_chain
from pcrgate.attestation.checklist import Caution, Check, CheckMade, CheckOmitted
from pcrgate.attestation.cose import parse_sign1
from pcrgate.attestation.document import TIMESTAMP_END_MS, EvidenceKind, UnverifiedDocument, parse_payload
from pcrgate.attestation.evidence import EnclaveEvidence, NitroTpmEvidence, VerifiedEvidence
from pcrgate.attestation.names import instance_matches, launch_cautions, verify_names
from pcrgate.attestation.signatures import THREADS, SignatureClaim, verify_signatures
from pcrgate.errors import (
    ErrorCode,
    ForgedEvidenceError,
    MalformedEvidenceError,
    StaleEvidenceError,
    UntrustedEvidenceError,
    UsageError,
)

MAX_AGE_S: Final = 300
"""Oldest document accepted live by default: what KMS is reported to take."""

MAX_FUTURE_SKEW_S: Final = 60
"""Furthest a document, or a certificate's start, may lie ahead of the caller's clock by default."""

_LIMIT_S: Final = 86_400 * 366
"""Largest age or skew that can be meant: a year; beyond it the recorded mode is what is wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """Judge at the caller's clock: the document must be fresh.

    Attributes:
        now_ms: milliseconds since the epoch.
        max_age_s: oldest document accepted, seconds.
        max_future_skew_s: furthest ahead of ``now_ms`` a document or a certificate's start may lie, seconds.
    """

    now_ms: int
    max_age_s: int = MAX_AGE_S
    max_future_skew_s: int = MAX_FUTURE_SKEW_S

    def __post_init__(self) -> None:
        if not 0 < self.now_ms < TIMESTAMP_END_MS:
            raise UsageError(ErrorCode.USAGE_TIME, "now is not a time in milliseconds since the epoch")
        if not 0 <= self.max_age_s <= _LIMIT_S or not 0 <= self.max_future_skew_s <= _LIMIT_S:
            raise UsageError(ErrorCode.USAGE_TIME, f"an age or skew is 0 to {_LIMIT_S} seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """Judge at the document's own time: authentic then, nothing said about now."""


_STRUCTURE_AND_CHAIN: Final = tuple(
    CheckMade(check=check, detail=check.meaning)
    for check in (*(entry for entry in Check if entry.number <= Check.EXTENSIONS.number), Check.SIGNATURE, Check.LAUNCH)
)
_REVOCATION_CHECKED: Final = CheckMade(check=Check.REVOCATION, detail=Check.REVOCATION.meaning)
_REVOCATION_OMITTED: Final = CheckOmitted(check=Check.REVOCATION, subject="chain", reason="no revocation set was given")
_VALID_LIVE: Final = CheckMade(check=Check.VALIDITY, detail="at the caller's clock and the document's time")
_VALID_RECORDED: Final = CheckMade(check=Check.VALIDITY, detail="at the document's own time")
_FRESHNESS_OMITTED: Final = CheckOmitted(check=Check.FRESHNESS, subject="timestamp", reason="judged at its own time")


def verify(
    document: bytes,
    roots: Roots,
    time: Live | Recorded,
    *,
    cache: ChainCache | None = None,
    revocations: Revocations = frozenset(),
    refuse_unknown_fields: bool = False,
    threads: int = THREADS,
) -> VerifiedEvidence:
    """Return the evidence once structure, chain, signature and time hold.

    Args:
        document: raw bytes of the COSE_Sign1, tagged or not.
        roots: the pinned roots; a development root is accepted only by being named here.
        time: ``Live`` or ``Recorded``.
        cache: verified certificates to reuse, or None to verify all afresh.
        revocations: certificates to refuse, by encoded issuer and serial.
        refuse_unknown_fields: refuse fields the specification does not name, instead of reporting them.
        threads: most threads that check signatures, the caller's own counted; 1 keeps to the caller's.

    Raises:
        MalformedEvidenceError: the bytes are not a document as specified.
        UntrustedEvidenceError: the chain does not lead to a pinned root, or is not valid at the time.
        ForgedEvidenceError: the signature is not the leaf's.
        StaleEvidenceError: too old or from the future (``Live`` only).

    Spec: nsm-api attestation_process.md, 3; docs/verification.md.
    """
    # (1) to (4) envelope
    envelope = parse_sign1(document)
    # (5) to (9) payload
    parsed = parse_payload(envelope.payload)
    if refuse_unknown_fields and parsed.unknown_fields:
        raise MalformedEvidenceError(
            ErrorCode.FIELD_UNKNOWN, f"{len(parsed.unknown_fields)} fields are unknown, expected none in strict mode"
        )
    # (10) to (15), (17) chain, all but its signatures
    linked = link_chain(parsed, roots, cache, revocations)
    chain = linked.certificates
    # (16) validity
    verified_at_ms = _verify_validity(parsed, chain, time)
    # (11), (18) the signatures of the chain, and the leaf's over the original bytes
    own = SignatureClaim(
        chain[-1].key,
        encode_dss_signature(envelope.r, envelope.s),
        envelope.signed_bytes(),
        ForgedEvidenceError(ErrorCode.SIGNATURE_INVALID, "the signature is not the leaf's over these bytes"),
    )
    verify_signatures((*linked.claims, own), threads)
    # (30) kept only now that all of them hold
    if cache is not None:
        for path, verified in linked.fresh:
            cache.keep(path, verified)
    # (19) freshness
    if isinstance(time, Live):
        _verify_freshness(parsed, time)
    # (24) names
    region, partition = verify_names(parsed, chain)
    return _evidence(
        document,
        parsed,
        chain,
        time,
        verified_at_ms=verified_at_ms,
        region=region,
        partition=partition,
        revocation_checked=bool(revocations),
    )


def _verify_validity(document: UnverifiedDocument, chain: tuple[LinkedCertificate, ...], time: Live | Recorded) -> int:
    """Return the time of judgement once all certificates are valid then, and at the document's own time."""
    live = isinstance(time, Live)
    at_ms = time.now_ms if isinstance(time, Live) else document.timestamp_ms
    leeway_ms = time.max_future_skew_s * 1000 if isinstance(time, Live) else 0
    for linked in chain:
        certificate = linked.certificate
        if at_ms + leeway_ms < certificate.not_before_s * 1000:
            raise UntrustedEvidenceError(
                ErrorCode.CERTIFICATE_NOT_YET_VALID, f"the certificate of {certificate.common_name} is not valid yet"
            )
        if at_ms > certificate.not_after_s * 1000:
            raise UntrustedEvidenceError(
                ErrorCode.CERTIFICATE_EXPIRED, f"the certificate of {certificate.common_name} has expired"
            )
        if live and not certificate.not_before_s * 1000 <= document.timestamp_ms <= certificate.not_after_s * 1000:
            raise UntrustedEvidenceError(
                ErrorCode.TIMESTAMP_OUTSIDE_CHAIN,
                f"the document's time lies outside the validity of {certificate.common_name}",
            )
    return at_ms


def _verify_freshness(document: UnverifiedDocument, time: Live) -> None:
    age_ms = time.now_ms - document.timestamp_ms
    if age_ms > time.max_age_s * 1000:
        raise StaleEvidenceError(
            ErrorCode.EVIDENCE_TOO_OLD, f"the document is {age_ms / 1000:.3f} s old, limit {time.max_age_s} s"
        )
    if -age_ms > time.max_future_skew_s * 1000:
        raise StaleEvidenceError(
            ErrorCode.EVIDENCE_FROM_FUTURE,
            f"the document is {-age_ms / 1000:.3f} s ahead of the clock, limit {time.max_future_skew_s} s",
        )


def _evidence(
    document: bytes,
    parsed: UnverifiedDocument,
    chain: tuple[LinkedCertificate, ...],
    time: Live | Recorded,
    *,
    verified_at_ms: int,
    region: str,
    partition: str,
    revocation_checked: bool,
) -> VerifiedEvidence:
    checks = [*_STRUCTURE_AND_CHAIN]
    omitted: list[CheckOmitted] = []
    cautions = launch_cautions(parsed, chain[-1])
    if parsed.unknown_fields:
        unknown = ", ".join(name if name.isprintable() else "(unprintable)" for name in parsed.unknown_fields)
        cautions.append(Caution(label="unknown-fields", detail=f"unknown fields: {unknown}"))
    if revocation_checked:
        checks.append(_REVOCATION_CHECKED)
    else:
        omitted.append(_REVOCATION_OMITTED)
    if isinstance(time, Live):
        age = f"age at most {time.max_age_s} s, ahead at most {time.max_future_skew_s} s"
        checks += [_VALID_LIVE, CheckMade(check=Check.FRESHNESS, detail=age)]
    else:
        checks.append(_VALID_RECORDED)
        omitted.append(_FRESHNESS_OMITTED)
    checks.append(CheckMade(check=Check.NAMES, detail=f"{parsed.instance_id} in {region}"))
    kind = EnclaveEvidence if parsed.kind is EvidenceKind.ENCLAVE else NitroTpmEvidence
    matches = instance_matches(parsed.pcrs, parsed.instance_id) if kind is EnclaveEvidence else None
    if matches:
        checks.append(CheckMade(check=Check.INSTANCE, detail=f"PCR4 is that of {parsed.instance_id}"))
    elif matches is False:
        cautions.append(Caution(label="instance-measurement", detail="PCR4 is not that of the instance id"))
    facts = tuple(linked.facts for linked in chain)
    return kind(
        module_id=parsed.module_id,
        instance_id=parsed.instance_id,
        region=region,
        partition=partition,
        timestamp_ms=parsed.timestamp_ms,
        verified_at_ms=verified_at_ms,
        pcrs=MappingProxyType(dict(parsed.pcrs)),
        public_key=parsed.public_key,
        user_data=parsed.user_data,
        nonce=parsed.nonce,
        chain=facts,
        root_fingerprint=facts[0].sha256,
        document=document,
        unknown_fields=parsed.unknown_fields,
        indefinite_payload=parsed.indefinite,
        instance_matches=matches,
        checks=tuple(checks),
        omitted=tuple(omitted),
        cautions=tuple(cautions),
    )
