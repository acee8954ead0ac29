import dataclasses
import pickle

import pytest
from cryptography import x509

from pcrgate.attestation.anchors import AWS_ROOTS, FINGERPRINT_BYTES, ROOTS_MAX, Roots
from pcrgate.attestation.certificate import parse_certificate
from pcrgate.attestation.chain import ChainCache, link_chain
from pcrgate.attestation.checklist import Check
from pcrgate.attestation.cose import DOCUMENT_MAX_BYTES, parse_sign1
from pcrgate.attestation.document import parse_payload
from pcrgate.attestation.evidence import EnclaveEvidence, NitroTpmEvidence, VerifiedEvidence
from pcrgate.attestation.names import instance_measurement, launch_cautions, role_measurement
from pcrgate.attestation.report import (
    describe_cautions,
    describe_checks,
    describe_evidence,
    describe_omitted,
    describe_unverified,
    format_time_ms,
)
from pcrgate.attestation.verifier import Live, Recorded, verify
from pcrgate.errors import (
    ErrorCode,
    EvidenceError,
    MalformedEvidenceError,
    PcrgateError,
    StaleEvidenceError,
    UntrustedEvidenceError,
    UsageError,
)
from pcrgate.units import Sha384
from tests.unit.attestation.documents import NOW_MS, PCR0, ROOTS, document, nsm
from tests.vectors_evidence.cbor_writer import uint
from tests.vectors_evidence.certificate_forge import forge_chain
from tests.vectors_evidence.document_forge import forge_document

DOCUMENT = document(nonce=b"n" * 20)


def code_of(data: bytes, time: Live | Recorded, roots: Roots = ROOTS) -> ErrorCode:
    with pytest.raises(EvidenceError) as caught:
        verify(data, roots, time)
    return caught.value.code


def test_a_development_root_is_accepted_only_when_named() -> None:
    assert verify(DOCUMENT, ROOTS, Recorded()).pcrs[0] == PCR0
    assert code_of(DOCUMENT, Recorded(), AWS_ROOTS) is ErrorCode.ROOT_UNPINNED


def test_the_tag_may_stand_once() -> None:
    assert verify(b"\xd2" + DOCUMENT, ROOTS, Recorded()).nonce == b"n" * 20
    for prefix in (b"\xd2\xd2", b"\xd1", b"\xd8\x12"):
        assert code_of(prefix + DOCUMENT, Recorded()) is ErrorCode.COSE_TAG
    assert code_of(b"\xd2", Recorded()) is ErrorCode.CBOR_TRUNCATED


def test_the_size_is_bounded_before_anything_is_read() -> None:
    assert code_of(b"", Recorded()) is ErrorCode.INPUT_EMPTY
    assert code_of(b"\x84" * (DOCUMENT_MAX_BYTES + 1), Recorded()) is ErrorCode.INPUT_TOO_LARGE
    assert code_of(b"\x84" * DOCUMENT_MAX_BYTES, Recorded()) is not ErrorCode.INPUT_TOO_LARGE


@pytest.mark.parametrize(
    ("age_ms", "code"),
    [
        (0, None),
        (300_000, None),
        (300_001, ErrorCode.EVIDENCE_TOO_OLD),
        (-60_000, ErrorCode.CERTIFICATE_NOT_YET_VALID),
        (11_000_000, ErrorCode.CERTIFICATE_EXPIRED),
    ],
)
def test_live_freshness_at_and_past_its_bounds(age_ms: int, code: ErrorCode | None) -> None:
    live = Live(now_ms=NOW_MS + age_ms)
    if code is None:
        assert verify(DOCUMENT, ROOTS, live).verified_at_ms == NOW_MS + age_ms
    elif age_ms == -60_000:
        # the leaf starts three seconds before the document: the same leeway covers both
        verify(DOCUMENT, ROOTS, live)
        assert code_of(DOCUMENT, Live(now_ms=NOW_MS - 63_001)) is code
    else:
        assert code_of(DOCUMENT, live) is code


def test_a_document_ahead_of_the_clock_by_more_than_the_skew_is_refused() -> None:
    now_ms = [NOW_MS]
    device = nsm(clock=lambda: now_ms[0])
    document(device)  # the leaf is issued here, and reused an hour later
    now_ms[0] += 3_600_000
    later = document(device)
    live = Live(now_ms=NOW_MS + 3_600_000 - 60_001)
    assert code_of(later, live) is ErrorCode.EVIDENCE_FROM_FUTURE
    verify(later, ROOTS, dataclasses.replace(live, now_ms=live.now_ms + 1))


@pytest.mark.parametrize(
    "settings",
    [
        {"now_ms": 0},
        {"now_ms": 253_402_300_800_000},
        {"now_ms": 1, "max_age_s": -1},
        {"now_ms": 1, "max_future_skew_s": -1},
        {"now_ms": 1, "max_age_s": 10**9},
    ],
)
def test_times_that_cannot_be_meant_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(UsageError) as caught:
        Live(**settings)
    assert caught.value.code is ErrorCode.USAGE_TIME


def test_every_numbered_check_is_in_the_result_or_omitted() -> None:
    live = verify(DOCUMENT, ROOTS, Live(now_ms=NOW_MS))
    recorded = verify(DOCUMENT, ROOTS, Recorded(), revocations=frozenset({(b"nobody", 1)}))
    for evidence in (live, recorded):
        named = {made.check for made in evidence.checks} | {entry.check for entry in evidence.omitted}
        assert named >= {check for check in Check if check.number <= 19} | {Check.NAMES, Check.INSTANCE}
    assert {entry.check for entry in live.omitted} == {Check.REVOCATION}
    assert {entry.check for entry in recorded.omitted} == {Check.FRESHNESS}


def test_a_revoked_certificate_is_refused_by_issuer_and_serial() -> None:
    leaf = x509.load_der_x509_certificate(parse_payload(parse_sign1(DOCUMENT).payload).certificate)
    revoked = frozenset({(leaf.issuer.public_bytes(), leaf.serial_number)})
    with pytest.raises(UntrustedEvidenceError) as caught:
        verify(DOCUMENT, ROOTS, Recorded(), revocations=revoked)
    assert caught.value.code is ErrorCode.CERTIFICATE_REVOKED


def test_a_cache_spares_signatures_but_not_validity() -> None:
    cache = ChainCache()
    verify(DOCUMENT, ROOTS, Live(now_ms=NOW_MS), cache=cache)
    assert len(cache) == 4
    verify(DOCUMENT, ROOTS, Live(now_ms=NOW_MS), cache=cache)
    assert len(cache) == 4
    with pytest.raises(UntrustedEvidenceError) as caught:
        verify(DOCUMENT, ROOTS, Live(now_ms=NOW_MS + 86_400_000 * 40), cache=cache)
    assert caught.value.code is ErrorCode.CERTIFICATE_EXPIRED
    with pytest.raises(UntrustedEvidenceError) as caught:
        verify(DOCUMENT, AWS_ROOTS, Live(now_ms=NOW_MS), cache=cache)
    assert caught.value.code is ErrorCode.ROOT_UNPINNED


def test_a_cached_chain_is_found_by_its_whole_path() -> None:
    """A leaf that was verified below one issuer is not trusted below another."""
    cache = ChainCache()
    verify(DOCUMENT, ROOTS, Recorded(), cache=cache)
    parsed = parse_payload(parse_sign1(DOCUMENT).payload)
    shortened = dataclasses.replace(parsed, cabundle=parsed.cabundle[:-1])
    with pytest.raises(UntrustedEvidenceError) as caught:
        link_chain(shortened, ROOTS, cache, frozenset())
    assert caught.value.code is ErrorCode.CERTIFICATE_ISSUER


def test_a_ca_verified_as_ca_is_not_a_leaf_in_the_cache() -> None:
    cache = ChainCache()
    verify(DOCUMENT, ROOTS, Recorded(), cache=cache)
    parsed = parse_payload(parse_sign1(DOCUMENT).payload)
    promoted = dataclasses.replace(parsed, cabundle=parsed.cabundle[:-1], certificate=parsed.cabundle[-1])
    with pytest.raises(UntrustedEvidenceError) as caught:
        link_chain(promoted, ROOTS, cache, frozenset())
    assert caught.value.code is ErrorCode.CERTIFICATE_LEAF_CA


def test_a_cache_is_bounded_and_drops_the_least_recently_used() -> None:
    cache = ChainCache(max_certificates=4)
    first, second = DOCUMENT, document(nsm())
    verify(first, ROOTS, Recorded(), cache=cache)
    verify(second, ROOTS, Recorded(), cache=cache)
    assert len(cache) == 4
    verify(first, ROOTS, Recorded(), cache=cache)
    assert len(cache) == 4


def test_kinds_are_typed_apart() -> None:
    assert isinstance(verify(DOCUMENT, ROOTS, Recorded()), EnclaveEvidence)
    tpm = verify(document(nsm(kind="nitrotpm", pcrs={})), ROOTS, Recorded())
    assert isinstance(tpm, NitroTpmEvidence)
    assert tpm.instance_matches is None
    assert not isinstance(tpm, EnclaveEvidence)


def test_unknown_fields_are_refused_only_in_strict_mode() -> None:
    chain = forge_chain()
    spec = forge_document(chain).with_field("region\u202e", uint(1))
    roots = Roots.pinned(chain.root_fingerprint)
    evidence = verify(spec.encode(), roots, Recorded())
    assert evidence.unknown_fields == ("region\u202e",)
    assert [caution.detail for caution in evidence.cautions if caution.label == "unknown-fields"] == [
        "unknown fields: (unprintable)"
    ]
    with pytest.raises(MalformedEvidenceError) as caught:
        verify(spec.encode(), roots, Recorded(), refuse_unknown_fields=True)
    assert caught.value.code is ErrorCode.FIELD_UNKNOWN


@pytest.mark.parametrize(
    "fingerprints", [[], [b"short"], [bytes([n]) * FINGERPRINT_BYTES for n in range(ROOTS_MAX + 1)]]
)
def test_root_sets_that_cannot_be_meant_are_refused(fingerprints: list[bytes]) -> None:
    with pytest.raises(UsageError):
        Roots.pinned(*fingerprints)
    assert len(Roots.pinned(*(bytes([n]) * FINGERPRINT_BYTES for n in range(ROOTS_MAX))).fingerprints) == ROOTS_MAX


def test_measurements_of_instance_and_role_agree_with_the_device() -> None:
    role = "arn:aws:iam::111122223333:role/enclave"
    evidence = verify(document(nsm(role_arn=role)), ROOTS, Recorded())
    assert evidence.pcrs[3] == role_measurement(role)
    assert evidence.pcrs[4] == instance_measurement(evidence.instance_id)
    assert evidence.instance_matches


def test_an_instance_measurement_of_another_instance_is_a_caution() -> None:
    evidence = verify(document(nsm(pcrs={0: PCR0, 4: PCR0})), ROOTS, Recorded())
    assert evidence.instance_matches is False
    assert [caution.label for caution in evidence.cautions] == ["instance-measurement"]
    assert describe_cautions(evidence.cautions)[0]["label"] == "instance-measurement"


def test_reports_keep_verified_and_claimed_apart() -> None:
    evidence: VerifiedEvidence = verify(DOCUMENT, ROOTS, Recorded())
    facts = describe_evidence(evidence)
    claims = describe_unverified(parse_payload(parse_sign1(DOCUMENT).payload))
    assert facts["module_id"] == claims["module_id"]
    assert "chain" not in claims
    assert "region" not in claims
    assert facts["nonce_hex"] == (b"n" * 20).hex()
    assert facts["timestamp"] == "2027-01-15T08:00:00.000Z" == format_time_ms(NOW_MS)


def test_errors_survive_pickling_between_processes() -> None:
    error = StaleEvidenceError(ErrorCode.EVIDENCE_TOO_OLD, "fact")
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes; xdist sends exceptions this way
    assert isinstance(copy, PcrgateError)
    assert (copy.code, copy.message, str(copy)) == (error.code, "fact", "evidence-too-old: fact")


def test_values_hide_nothing_and_change_nothing() -> None:
    evidence = verify(DOCUMENT, ROOTS, Recorded())
    with pytest.raises(TypeError):
        evidence.pcrs[0] = Sha384(bytes(48))  # type: ignore[index]


def test_reports_list_checks_and_what_was_left_out() -> None:
    evidence = verify(DOCUMENT, ROOTS, Recorded())
    assert {entry["number"] for entry in describe_checks(evidence.checks)} >= {1, 10, 18, 24}
    assert [entry["subject"] for entry in describe_omitted(evidence.omitted)] == ["chain", "timestamp"]


def test_a_subject_without_its_attributes_place_is_not_a_name() -> None:
    der = parse_payload(parse_sign1(DOCUMENT).payload).certificate
    country = bytes.fromhex("0603550406")
    assert der.count(country) == 2  # issuer, then subject
    before, issuer, after = der.split(country)
    with pytest.raises(MalformedEvidenceError) as caught:
        parse_certificate(before + country + issuer + bytes.fromhex("0603550404") + after)
    assert caught.value.code is ErrorCode.DER


def test_a_module_id_without_the_hidden_time_has_no_cautions() -> None:
    parsed = parse_payload(parse_sign1(DOCUMENT).payload)
    leaf = link_chain(parsed, ROOTS, None, frozenset()).certificates[-1]
    assert launch_cautions(dataclasses.replace(parsed, module_id="i-0123456789abcdef0-enc12"), leaf) == []


def test_a_leaf_without_extensions_is_refused() -> None:
    chain = forge_chain({4: lambda spec: dataclasses.replace(spec, extensions=())})
    with pytest.raises(UntrustedEvidenceError) as caught:
        verify(forge_document(chain).encode(), Roots.pinned(chain.root_fingerprint), Recorded())
    assert caught.value.code is ErrorCode.CERTIFICATE_LEAF_CA
