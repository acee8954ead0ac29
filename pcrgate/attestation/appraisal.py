"""Appraise verified evidence against a policy: the attestation result lists what was compared, and what was not.

Spec: RFC 9334, 4.2 and 8.4; docs/verification.md, 20 to 27.
"""

import hmac
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from pcrgate.attestation.checklist import Caution, Check, CheckMade, CheckOmitted
from pcrgate.attestation.evidence import EnclaveEvidence, NitroTpmEvidence, VerifiedEvidence
from pcrgate.attestation.freshness import SeenNonces
from pcrgate.attestation.policy import (
    EnclavePolicy,
    Equal,
    Expectation,
    FieldExpectation,
    NitroTpmPolicy,
    OneOf,
    PcrExpectation,
)
from pcrgate.errors import AppraisalError, ErrorCode
from pcrgate.units import NONCE_MIN_BYTES, Sha384

RSA_MIN_BITS: Final = 2048
"""Smallest recipient key KMS takes. Spec: KMS API Reference, RecipientInfo."""

RSA_EXPONENT: Final = 65_537
"""The public exponent a recipient key must have."""

_NAMED_REGISTERS: Final = (1, 2, 3, 4, 8, 16)
"""Registers of an enclave that carry meaning; a result says of each whether it was compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttestationResult:
    """Say that evidence was accepted, and on what grounds; there is no result that says otherwise.

    Attributes:
        evidence: every authenticated field.
        matched: register index to the name of the reference value it equals.
        checks: every check made, by the verifier and here.
        omitted: every check not made, and by whose choice.
        cautions: what is odd.
    """

    evidence: VerifiedEvidence
    matched: tuple[tuple[int, str], ...]
    checks: tuple[CheckMade, ...]
    omitted: tuple[CheckOmitted, ...]
    cautions: tuple[Caution, ...]


def appraise(
    evidence: VerifiedEvidence, policy: EnclavePolicy | NitroTpmPolicy, *, seen_nonces: SeenNonces | None = None
) -> AttestationResult:
    """Return the result once everything the policy states holds.

    Args:
        evidence: from :func:`pcrgate.attestation.verifier.verify`.
        policy: of the same kind as the evidence.
        seen_nonces: where to remember the nonce of an accepted document; the second use is refused, and so is a nonce
            of fewer than 16 bytes.

    Raises:
        AppraisalError: with the code of the first mismatch.
        StaleEvidenceError: ``nonce-replayed``.
    """
    # (7) the kinds are apart: evidence of one never satisfies a policy for the other
    if isinstance(evidence, EnclaveEvidence) and isinstance(policy, EnclavePolicy):
        appraisal = _Appraisal(evidence)
        if not policy.insecure_allow_debug:
            _refuse_debug(evidence)
            appraisal.made(Check.DEBUG, Check.DEBUG.meaning)
        else:
            appraisal.skipped(Check.DEBUG, "debug", "debug evidence was explicitly allowed")
            if evidence.is_debug:
                appraisal.cautions.append(
                    Caution(label="debug", detail="the enclave runs in debug mode: its memory can be read")
                )
        appraisal.register(Check.PCR0, 0, policy.pcr0)
        for index in sorted({*_NAMED_REGISTERS, *policy.pcrs}):
            appraisal.register(Check.PCRS, index, policy.pcrs.get(index))
        _compare_instance(appraisal, evidence, policy)
    elif isinstance(evidence, NitroTpmEvidence) and isinstance(policy, NitroTpmPolicy):
        appraisal = _Appraisal(evidence)
        for index, expected in sorted(policy.registers().items()):
            appraisal.register(Check.PCRS, index, expected)
    else:
        raise AppraisalError(
            ErrorCode.KIND_MISMATCH,
            f"the evidence is {type(evidence).__name__}, the policy {type(policy).__name__}",
        )
    # (23) bindings, in constant time
    appraisal.field("nonce", evidence.nonce, policy.nonce, ErrorCode.NONCE_MISMATCH)
    appraisal.field("user_data", evidence.user_data, policy.user_data, ErrorCode.USER_DATA_MISMATCH)
    appraisal.field("public_key", evidence.public_key, policy.public_key, ErrorCode.PUBLIC_KEY_MISMATCH)
    # (24) the region is an authenticated fact
    if policy.regions:
        if evidence.region not in policy.regions:
            raise AppraisalError(
                ErrorCode.REGION_MISMATCH,
                f"the region is {evidence.region}, expected {', '.join(sorted(policy.regions))}",
            )
        appraisal.made(Check.NAMES, f"the region {evidence.region} is expected")
    else:
        appraisal.skipped(Check.NAMES, "region", "the policy accepts any region")
    # (19) the nonce is used once; remembered last, so that a refused document uses up nothing
    if seen_nonces is not None:
        seen_nonces.remember(_unique_nonce(evidence), evidence.verified_at_ms)
        appraisal.made(Check.FRESHNESS, "the nonce was not seen before")
    # (27) the result lists all of it
    appraisal.made(Check.RESULT, Check.RESULT.meaning)
    return AttestationResult(
        evidence=evidence,
        matched=tuple(appraisal.matched),
        checks=tuple(appraisal.checks),
        omitted=tuple(appraisal.omitted),
        cautions=tuple(appraisal.cautions),
    )


def _unique_nonce(evidence: VerifiedEvidence) -> bytes:
    """Return the nonce once it is long enough to tell a replay; a shorter one is the document's fault."""
    nonce = evidence.nonce or b""
    if len(nonce) < NONCE_MIN_BYTES:
        raise AppraisalError(
            ErrorCode.NONCE_MISMATCH,
            f"nonce has {len(nonce)} bytes, expected at least {NONCE_MIN_BYTES} to tell a replay",
        )
    return nonce


def _refuse_debug(evidence: EnclaveEvidence) -> None:
    # (21) any of PCR0 to PCR2 zero; PCR3 and PCR4 stay set in debug mode, so "all zero" would never fire
    if evidence.is_debug:
        raise AppraisalError(
            ErrorCode.DEBUG_EVIDENCE, "PCR0, PCR1 or PCR2 is zero, expected an enclave not in debug mode"
        )


def _compare_instance(appraisal: "_Appraisal", evidence: EnclaveEvidence, policy: EnclavePolicy) -> None:
    # (25) PCR4 against the instance id
    if not policy.require_instance_match:
        if not evidence.instance_matches:
            appraisal.skipped(Check.INSTANCE, "PCR4", "the policy does not require the instance's measurement")
    elif not evidence.instance_matches:
        raise AppraisalError(
            ErrorCode.INSTANCE_MISMATCH, f"PCR4 is not that of {evidence.instance_id}, expected its measurement"
        )


class _Appraisal:
    """Collect what is compared on the way to a result."""

    def __init__(self, evidence: VerifiedEvidence) -> None:
        self.evidence = evidence
        self.matched: list[tuple[int, str]] = []
        self.checks = list(evidence.checks)
        self.omitted = list(evidence.omitted)
        self.cautions = list(evidence.cautions)

    def made(self, check: Check, detail: str) -> None:
        self.checks.append(CheckMade(check=check, detail=detail))

    def skipped(self, check: Check, subject: str, reason: str) -> None:
        self.omitted.append(CheckOmitted(check=check, subject=subject, reason=reason))

    def register(self, check: Check, index: int, expected: PcrExpectation | None) -> None:
        # (20), (22)
        actual = self.evidence.pcrs.get(index)
        if expected is None or expected is Expectation.IGNORED:
            reason = "the policy does not name it" if expected is None else "explicitly ignored"
            self.skipped(check, f"PCR{index}", reason)
            return
        if expected is Expectation.ABSENT:
            if actual is not None:
                raise AppraisalError(ErrorCode.FIELD_PRESENT, f"PCR{index} is present, expected it absent")
            self.made(check, f"PCR{index} is absent")
            return
        if actual is None:
            raise AppraisalError(ErrorCode.PCR_ABSENT, f"PCR{index} is not in the document, expected a value")
        if isinstance(expected, OneOf):
            self.made(check, f"PCR{index} is {self._reference(index, actual, expected)}")
        elif expected is Expectation.ZERO:
            if not actual.is_zero:
                raise AppraisalError(ErrorCode.PCR_NOT_ZERO, f"PCR{index} is {actual}, expected zero")
            self.made(check, f"PCR{index} is zero")
        else:
            if actual.is_zero:
                raise AppraisalError(ErrorCode.PCR_ZERO, f"PCR{index} is zero, expected it extended")
            self.made(check, f"PCR{index} is not zero")

    def _reference(self, index: int, actual: Sha384, expected: OneOf) -> str:
        """Return the name of the reference value that matches; all are compared, so time tells nothing."""
        equal = [entry for entry in expected.values if hmac.compare_digest(entry.value.digest, actual.digest)]
        if not equal:
            raise AppraisalError(
                ErrorCode.PCR_MISMATCH,
                f"PCR{index} is {actual}, expected one of {len(expected.values)} reference values",
            )
        now_ms = self.evidence.verified_at_ms
        for entry in equal:
            if entry.expires_ms is None or now_ms < entry.expires_ms:
                self.matched.append((index, entry.name))
                return entry.name
        raise AppraisalError(ErrorCode.REFERENCE_EXPIRED, f"PCR{index} matches {equal[0].name}, which has expired")

    def field(self, name: str, actual: bytes | None, expected: FieldExpectation, mismatch: ErrorCode) -> None:
        if isinstance(expected, Equal):
            if actual is None:
                raise AppraisalError(mismatch, f"{name} is absent, expected {len(expected.value)} bytes")
            if not hmac.compare_digest(actual, expected.value):
                raise AppraisalError(mismatch, f"{name} is not the expected value")
            self.made(Check.BINDINGS, f"{name} is the expected {len(actual)} bytes")
        elif expected is Expectation.ABSENT:
            if actual is not None:
                raise AppraisalError(ErrorCode.FIELD_PRESENT, f"{name} is present, expected it absent")
            self.made(Check.BINDINGS, f"{name} is absent")
        elif expected is Expectation.KMS_RECIPIENT:
            bits = _recipient_bits(actual)
            self.made(Check.BINDINGS, f"{name} is a KMS recipient key of {bits} bits")
        else:
            self.skipped(Check.BINDINGS, name, "explicitly ignored")


def _recipient_bits(public_key: bytes | None) -> int:
    """Return the size of an RSA recipient key in bits, or refuse what KMS would not take. Spec: facts checklist 23."""
    try:
        key = load_der_public_key(public_key or b"")
    except (ValueError, UnsupportedAlgorithm) as error:
        raise AppraisalError(ErrorCode.RECIPIENT_KEY, "the public key is not a DER SubjectPublicKeyInfo") from error
    if not isinstance(key, RSAPublicKey) or key.key_size < RSA_MIN_BITS or key.public_numbers().e != RSA_EXPONENT:
        raise AppraisalError(
            ErrorCode.RECIPIENT_KEY,
            f"the public key is not RSA of {RSA_MIN_BITS} bits or more with exponent {RSA_EXPONENT}",
        )
    if key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) != public_key:
        raise AppraisalError(ErrorCode.RECIPIENT_KEY, "the public key is not in its one DER form")
    return key.key_size
