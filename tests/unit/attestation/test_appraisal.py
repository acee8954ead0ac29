import dataclasses

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from pcrgate.attestation.appraisal import AttestationResult, appraise
from pcrgate.attestation.checklist import Check
from pcrgate.attestation.evidence import VerifiedEvidence
from pcrgate.attestation.freshness import SeenNonces
from pcrgate.attestation.policy import (
    REFERENCE_VALUES_MAX,
    EnclavePolicy,
    Equal,
    Expectation,
    NitroTpmPolicy,
    OneOf,
    PcrExpectation,
    ReferenceValue,
)
from pcrgate.attestation.verifier import Recorded, verify
from pcrgate.errors import AppraisalError, ErrorCode, StaleEvidenceError, UsageError
from pcrgate.units import FIELD_MAX_BYTES, Sha384
from tests.unit.attestation.documents import NOW_MS, PCR0, ROOTS, document, nsm, policy

ZERO = Sha384(bytes(48))
OTHER = Sha384(b"o" * 48)
NONCE = b"n" * 32


def evidence_of(device: object = None, **fields: bytes | None) -> VerifiedEvidence:
    return verify(document(device, **fields), ROOTS, Recorded())  # type: ignore[arg-type]


EVIDENCE = evidence_of(nonce=NONCE, user_data=b"u", public_key=b"")
DEBUG = evidence_of(nsm(debug=True, pcrs={}))
TPM = evidence_of(nsm(kind="nitrotpm", pcrs={4: PCR0, 7: OTHER}))


def value(register: Sha384, name: str = "release", expires_ms: int | None = None) -> OneOf:
    return OneOf((ReferenceValue(name=name, value=register, expires_ms=expires_ms),))


TPM_POLICY = NitroTpmPolicy(
    pcr4=value(PCR0),
    pcr7=value(OTHER),
    pcr12=Expectation.ZERO,
    nonce=Expectation.IGNORED,
    user_data=Expectation.IGNORED,
    public_key=Expectation.IGNORED,
    pcrs={23: Expectation.ZERO},
    regions=frozenset({TPM.region}),
)


def refused(evidence: VerifiedEvidence, stated: EnclavePolicy | NitroTpmPolicy) -> ErrorCode:
    with pytest.raises(AppraisalError) as caught:
        appraise(evidence, stated)
    return caught.value.code


def omitted(result: AttestationResult) -> set[str]:
    return {entry.subject for entry in result.omitted}


def test_the_image_must_be_a_reference_value() -> None:
    result = appraise(EVIDENCE, policy())
    assert result.matched == ((0, "release 1"),)
    assert refused(EVIDENCE, policy(pcr0=value(OTHER))) is ErrorCode.PCR_MISMATCH


def test_several_reference_values_and_their_expiry() -> None:
    now = EVIDENCE.verified_at_ms
    both = OneOf((*value(OTHER, "old").values, *value(PCR0, "new", now + 1).values))
    assert appraise(EVIDENCE, policy(pcr0=both)).matched == ((0, "new"),)
    assert refused(EVIDENCE, policy(pcr0=value(PCR0, "gone", now))) is ErrorCode.REFERENCE_EXPIRED
    renewed = OneOf((*value(PCR0, "gone", now).values, *value(PCR0, "renewed").values))
    assert appraise(EVIDENCE, policy(pcr0=renewed)).matched == ((0, "renewed"),)


def test_a_policy_without_pcr0_cannot_be_built() -> None:
    with pytest.raises(TypeError):
        EnclavePolicy(nonce=Expectation.IGNORED, user_data=Expectation.IGNORED, public_key=Expectation.IGNORED)  # type: ignore[call-arg]
    for nothing in (None, Expectation.IGNORED, Expectation.ZERO):
        with pytest.raises(UsageError):
            policy(pcr0=nothing)
    with pytest.raises(UsageError):
        OneOf(())
    with pytest.raises(UsageError):
        OneOf(value(PCR0).values * (REFERENCE_VALUES_MAX + 1))
    OneOf(value(PCR0).values * REFERENCE_VALUES_MAX)


@pytest.mark.parametrize(
    "settings",
    [
        {"pcr0": value(ZERO)},
        {"pcrs": {0: value(PCR0)}},
        {"pcrs": {1: value(ZERO)}},
        {"pcrs": {32: Expectation.ZERO}},
        {"pcrs": {1: Expectation.KMS_RECIPIENT}},
        {"nonce": Expectation.ZERO},
        {"user_data": Expectation.KMS_RECIPIENT},
        {"public_key": Expectation.NON_ZERO},
        # bare values and foreign types: each would pass for a weaker expectation than was meant
        *({name: bare} for name in ("nonce", "user_data", "public_key") for bare in (NONCE, None, "absent")),
        {"nonce": value(PCR0)},
        {"pcrs": {4: OTHER}},
        {"pcrs": {4: OTHER.digest}},
        {"pcrs": {4: None}},
        {"pcrs": {8: Equal(b"")}},
        {"regions": "eu-central-1"},
    ],
)
def test_policies_that_cannot_be_meant_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        policy(**settings)


def test_reference_values_have_their_types() -> None:
    for build in (
        lambda: OneOf([*value(PCR0).values]),  # type: ignore[arg-type]
        lambda: OneOf((PCR0,)),  # type: ignore[arg-type]
        lambda: ReferenceValue(name="hex", value=PCR0.hex()),  # type: ignore[arg-type]
        lambda: Equal(NONCE.hex()),  # type: ignore[arg-type]
    ):
        with pytest.raises(UsageError) as caught:
            build()
        assert caught.value.code is ErrorCode.USAGE_POLICY


@pytest.mark.parametrize("usual", [policy(), TPM_POLICY], ids=["enclave", "nitrotpm"])
def test_nobody_loosens_a_policy_after_its_checks(usual: EnclavePolicy | NitroTpmPolicy) -> None:
    pcrs: dict[int, PcrExpectation] = {8: value(OTHER)}
    stated = dataclasses.replace(usual, pcrs=pcrs)
    pcrs[8] = Expectation.IGNORED
    with pytest.raises(TypeError):
        stated.pcrs[8] = Expectation.IGNORED  # type: ignore[index]
    assert stated.pcrs == {8: value(OTHER)}


def test_expected_fields_are_bounded() -> None:
    Equal(b"x" * FIELD_MAX_BYTES)
    with pytest.raises(UsageError):
        Equal(b"x" * (FIELD_MAX_BYTES + 1))


def test_debug_evidence_is_refused_though_pcr3_and_pcr4_are_set() -> None:
    assert not DEBUG.pcrs[4].is_zero
    assert refused(DEBUG, policy()) is ErrorCode.DEBUG_EVIDENCE
    for index in (1, 2):
        one_zero = evidence_of(nsm(pcrs={0: PCR0, 1: PCR0, 2: PCR0, index: ZERO}))
        assert refused(one_zero, policy()) is ErrorCode.DEBUG_EVIDENCE


def test_debug_evidence_needs_an_explicit_word_and_is_cautioned() -> None:
    result = appraise(DEBUG, policy(pcr0=value(ZERO), insecure_allow_debug=True))
    assert [caution.label for caution in result.cautions] == ["debug"]
    assert "debug" in omitted(result)
    assert refused(DEBUG, policy(insecure_allow_debug=True)) is ErrorCode.PCR_MISMATCH
    assert appraise(EVIDENCE, policy(insecure_allow_debug=True)).cautions == ()


def test_further_registers() -> None:
    result = appraise(
        EVIDENCE,
        policy(pcrs={3: Expectation.ZERO, 4: Expectation.NON_ZERO, 16: Expectation.ABSENT, 8: Expectation.IGNORED}),
    )
    assert {"PCR1", "PCR2", "PCR8"} <= omitted(result)
    assert not {"PCR3", "PCR4", "PCR16"} & omitted(result)
    assert refused(EVIDENCE, policy(pcrs={4: Expectation.ZERO})) is ErrorCode.PCR_NOT_ZERO
    assert refused(EVIDENCE, policy(pcrs={8: Expectation.NON_ZERO})) is ErrorCode.PCR_ZERO
    assert refused(EVIDENCE, policy(pcrs={16: Expectation.ZERO})) is ErrorCode.PCR_ABSENT
    assert refused(EVIDENCE, policy(pcrs={16: value(PCR0)})) is ErrorCode.PCR_ABSENT
    assert refused(EVIDENCE, policy(pcrs={4: Expectation.ABSENT})) is ErrorCode.FIELD_PRESENT
    assert refused(EVIDENCE, policy(pcrs={4: value(OTHER)})) is ErrorCode.PCR_MISMATCH


@pytest.mark.parametrize("name", ["nonce", "user_data", "public_key"])
def test_bindings_equal_absent_or_ignored(name: str) -> None:
    actual = getattr(EVIDENCE, name)
    mismatch = {
        "nonce": ErrorCode.NONCE_MISMATCH,
        "user_data": ErrorCode.USER_DATA_MISMATCH,
        "public_key": ErrorCode.PUBLIC_KEY_MISMATCH,
    }[name]
    appraise(EVIDENCE, policy(**{name: Equal(actual)}))
    assert refused(EVIDENCE, policy(**{name: Equal(actual + b"x")})) is mismatch
    assert refused(EVIDENCE, policy(**{name: Expectation.ABSENT})) is ErrorCode.FIELD_PRESENT
    assert name in omitted(appraise(EVIDENCE, policy(**{name: Expectation.IGNORED})))
    bare = evidence_of()
    appraise(bare, policy(**{name: Expectation.ABSENT}))
    assert refused(bare, policy(**{name: Equal(b"")})) is mismatch


def test_kinds_never_satisfy_each_other() -> None:
    assert appraise(TPM, TPM_POLICY).matched == ((4, "release"), (7, "release"))
    assert refused(TPM, policy()) is ErrorCode.KIND_MISMATCH
    assert refused(EVIDENCE, TPM_POLICY) is ErrorCode.KIND_MISMATCH


@pytest.mark.parametrize(
    "settings",
    [
        {"pcr4": Expectation.ZERO},
        {"pcr7": Expectation.IGNORED},
        {"pcr12": Expectation.IGNORED},
        {"pcr12": value(ZERO)},
        {"pcrs": {12: Expectation.IGNORED}},
        {"pcrs": {7: Expectation.IGNORED}},
        {"pcrs": {4: Expectation.IGNORED}},
        {"pcrs": {23: OTHER}},
        {"nonce": NONCE},
        {"user_data": None},
        {"public_key": Expectation.ZERO},
        {"regions": {TPM.region}},
    ],
)
def test_a_nitrotpm_policy_states_all_three(settings: dict[str, object]) -> None:
    stated: dict[str, object] = {
        "pcr4": value(PCR0),
        "pcr7": value(OTHER),
        "pcr12": Expectation.ZERO,
        "nonce": Expectation.IGNORED,
        "user_data": Expectation.IGNORED,
        "public_key": Expectation.IGNORED,
    }
    NitroTpmPolicy(**stated)  # type: ignore[arg-type]
    with pytest.raises(UsageError):
        NitroTpmPolicy(**{**stated, **settings})  # type: ignore[arg-type]


def test_region_and_instance() -> None:
    assert "region" in omitted(appraise(EVIDENCE, policy()))
    assert "region" not in omitted(appraise(EVIDENCE, policy(regions=frozenset({EVIDENCE.region}))))
    assert refused(EVIDENCE, policy(regions=frozenset({"us-east-1"}))) is ErrorCode.REGION_MISMATCH
    appraise(EVIDENCE, policy(require_instance_match=True))
    elsewhere = evidence_of(nsm(pcrs={0: PCR0, 4: OTHER}))
    assert "PCR4" in omitted(appraise(elsewhere, policy()))
    assert refused(elsewhere, policy(require_instance_match=True)) is ErrorCode.INSTANCE_MISMATCH


def _spki(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def test_recipient_keys_are_what_kms_takes() -> None:
    good = _spki(rsa.generate_private_key(65_537, 2048))
    stated = policy(public_key=Expectation.KMS_RECIPIENT)
    appraise(evidence_of(public_key=good), stated)
    exponent_3 = _spki(rsa.generate_private_key(3, 2048))
    short = _spki(rsa.generate_private_key(65_537, 1024))  # noqa: S505 - refused for it
    curve = _spki(ec.generate_private_key(ec.SECP384R1()))
    # readable without the NULL of its algorithm, but not the one form
    body = bytes.fromhex("300b06092a864886f70d010101") + good[19:]
    without_null = b"\x30\x82" + len(body).to_bytes(2, "big") + body
    assert isinstance(load_der_public_key(without_null), rsa.RSAPublicKey)
    for bad in (None, b"", b"dummy", good + b"\0", good[:-1], without_null, exponent_3, short, curve):
        assert refused(evidence_of(public_key=bad), stated) is ErrorCode.RECIPIENT_KEY


def test_a_nonce_is_used_once() -> None:
    seen = SeenNonces(keep_s=360)
    result = appraise(EVIDENCE, policy(nonce=Equal(NONCE)), seen_nonces=seen)
    assert Check.FRESHNESS in {made.check for made in result.checks}
    with pytest.raises(StaleEvidenceError) as caught:
        appraise(EVIDENCE, policy(nonce=Equal(NONCE)), seen_nonces=seen)
    assert caught.value.code is ErrorCode.NONCE_REPLAYED


def test_a_refused_document_uses_up_no_nonce() -> None:
    seen = SeenNonces(keep_s=360)
    with pytest.raises(AppraisalError):
        appraise(EVIDENCE, policy(pcr0=value(OTHER)), seen_nonces=seen)
    assert len(seen) == 0


def test_a_nonce_may_come_again_when_its_document_is_stale() -> None:
    seen = SeenNonces(keep_s=1)
    seen.remember(NONCE, NOW_MS)
    with pytest.raises(StaleEvidenceError):
        seen.remember(NONCE, NOW_MS + 999)
    seen.remember(NONCE, NOW_MS + 1000)


def test_a_full_store_refuses_instead_of_forgetting() -> None:
    seen = SeenNonces(keep_s=1, max_nonces=2)
    seen.remember(b"a" * 16, NOW_MS)
    seen.remember(b"b" * 16, NOW_MS + 500)
    with pytest.raises(StaleEvidenceError):
        seen.remember(b"c" * 16, NOW_MS + 999)
    seen.remember(b"c" * 16, NOW_MS + 1000)
    assert len(seen) == 2


def test_a_nonce_too_short_to_be_unique_is_not_remembered() -> None:
    with pytest.raises(UsageError):
        SeenNonces(keep_s=1).remember(b"n" * 15, NOW_MS)
    for fault in ({"keep_s": 0}, {"keep_s": 1, "max_nonces": 0}):
        with pytest.raises(UsageError):
            SeenNonces(**fault)


@pytest.mark.parametrize("nonce", [None, b"", b"n" * 15])
def test_a_document_whose_nonce_cannot_tell_a_replay_is_refused_where_that_counts(nonce: bytes | None) -> None:
    """Its nonce is the document's fault, not the caller's: the refusal is one of evidence."""
    seen = SeenNonces(keep_s=1)
    with pytest.raises(AppraisalError) as caught:
        appraise(evidence_of(nonce=nonce), policy(), seen_nonces=seen)
    assert caught.value.code is ErrorCode.NONCE_MISMATCH
    assert len(seen) == 0
    appraise(evidence_of(nonce=b"n" * 16), policy(), seen_nonces=seen)
    assert len(seen) == 1


def test_the_result_tells_each_comparison_and_each_omission_by_name() -> None:
    pcrs = {3: Expectation.ZERO, 4: Expectation.NON_ZERO, 16: Expectation.ABSENT, 8: Expectation.IGNORED}
    stated = policy(pcrs=pcrs, nonce=Equal(NONCE), user_data=Expectation.IGNORED, regions=frozenset({EVIDENCE.region}))
    result = appraise(EVIDENCE, stated)
    assert [made.detail for made in result.checks[len(EVIDENCE.checks) :]] == [
        Check.DEBUG.meaning,
        "PCR0 is release 1",
        "PCR3 is zero",
        "PCR4 is not zero",
        "PCR16 is absent",
        "nonce is the expected 32 bytes",
        f"the region {EVIDENCE.region} is expected",
        Check.RESULT.meaning,
    ]
    assert [(entry.subject, entry.reason) for entry in result.omitted[len(EVIDENCE.omitted) :]] == [
        ("PCR1", "the policy does not name it"),
        ("PCR2", "the policy does not name it"),
        ("PCR8", "explicitly ignored"),
        ("user_data", "explicitly ignored"),
        ("public_key", "explicitly ignored"),
    ]
