"""State what evidence must say: reference values and expectations, refused where they cannot be meant.

Spec: RFC 9334, 8.3 (reference values); facts checklist 20 to 23.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Final

from pcrgate.errors import ErrorCode, UsageError
from pcrgate.units import FIELD_MAX_BYTES, PcrIndex, Sha384

REFERENCE_VALUES_MAX: Final = 256
"""Most reference values for one register: above any roll-over, below what makes a comparison slow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceValue:
    """Hold one approved measurement.

    Attributes:
        name: what the owner calls it, for example a release; shown in results.
        value: the expected register.
        expires_ms: first millisecond since the epoch at which it no longer counts, or None.
    """

    name: str
    value: Sha384
    expires_ms: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.value, Sha384):
            raise UsageError(ErrorCode.USAGE_POLICY, "a reference value is a Sha384")


@dataclass(frozen=True, slots=True)
class OneOf:
    """Expect a register to be one of these values, not expired, none of them zero."""

    values: tuple[ReferenceValue, ...]

    def __post_init__(self) -> None:
        if type(self.values) is not tuple or not all(isinstance(entry, ReferenceValue) for entry in self.values):
            raise UsageError(ErrorCode.USAGE_POLICY, "the values of a register are a tuple of ReferenceValue")
        if not 1 <= len(self.values) <= REFERENCE_VALUES_MAX:
            raise UsageError(ErrorCode.USAGE_POLICY, f"a register has 1 to {REFERENCE_VALUES_MAX} reference values")


@dataclass(frozen=True, slots=True)
class Equal:
    """Expect a field to be exactly these bytes."""

    value: bytes

    def __post_init__(self) -> None:
        if type(self.value) is not bytes or len(self.value) > FIELD_MAX_BYTES:
            raise UsageError(ErrorCode.USAGE_POLICY, f"an expected field has at most {FIELD_MAX_BYTES} bytes")


class Expectation(Enum):
    """Expect something that needs no value."""

    ZERO = "zero"
    """The register is present and all zero."""

    NON_ZERO = "non-zero"
    """The register is present and not zero: PCR8 of a signed image, for example."""

    ABSENT = "absent"
    """The register or field is not in the document."""

    IGNORED = "ignored"
    """Anything goes, by explicit choice; the result says so."""

    KMS_RECIPIENT = "kms-recipient"
    """The public key is one that KMS takes as recipient: DER, RSA of 2048 bits or more, exponent 65537."""


PcrExpectation = OneOf | Expectation
FieldExpectation = Equal | Expectation


def _check_register(index: int, expected: PcrExpectation, *, zero_allowed: bool) -> None:
    PcrIndex(index)
    # a bare value would otherwise pass for the weakest expectation
    if not isinstance(expected, OneOf | Expectation):
        raise UsageError(ErrorCode.USAGE_POLICY, f"an expectation for PCR{index} is neither OneOf nor an Expectation")
    if expected is Expectation.KMS_RECIPIENT:
        raise UsageError(ErrorCode.USAGE_POLICY, f"PCR{index} cannot be a recipient key")
    if isinstance(expected, OneOf) and not zero_allowed and any(entry.value.is_zero for entry in expected.values):
        hint = "expected the measurement of a build" if index == 0 else "say zero if that is what is meant"
        raise UsageError(ErrorCode.USAGE_POLICY, f"an expectation for PCR{index} is all zero; {hint}")


def _check_field(name: str, expected: FieldExpectation) -> None:
    if not isinstance(expected, Equal | Expectation):
        raise UsageError(ErrorCode.USAGE_POLICY, f"an expectation for {name} is neither Equal nor an Expectation")
    allowed = {Expectation.ABSENT, Expectation.IGNORED}
    if name == "public_key":
        allowed.add(Expectation.KMS_RECIPIENT)
    if isinstance(expected, Expectation) and expected not in allowed:
        raise UsageError(ErrorCode.USAGE_POLICY, f"{name} cannot be expected to be {expected.value}")


def _check_regions(regions: frozenset[str]) -> None:
    if type(regions) is not frozenset:  # in a string, parts of names would count
        raise UsageError(ErrorCode.USAGE_POLICY, "the regions are a frozenset of names")


@dataclass(frozen=True, slots=True, kw_only=True)
class EnclavePolicy:
    """State what evidence of an enclave must say. Without PCR0 it cannot be built.

    Attributes:
        pcr0: the approved images.
        nonce: ``Equal``, ``ABSENT`` or ``IGNORED``; there is no default, so that nobody forgets it.
        user_data: likewise.
        public_key: likewise, or ``KMS_RECIPIENT``.
        pcrs: expectations for further registers; those not named are listed in the result as not compared.
        regions: Regions accepted; empty accepts any.
        require_instance_match: refuse when PCR4 is not that of the instance id.
        insecure_allow_debug: accept debug evidence, and an all-zero PCR0 as reference value.

    Raises:
        UsageError: ``usage-policy`` or ``usage-pcr-index``.
    """

    pcr0: OneOf
    nonce: FieldExpectation
    user_data: FieldExpectation
    public_key: FieldExpectation
    pcrs: Mapping[int, PcrExpectation] = field(default_factory=dict)
    regions: frozenset[str] = frozenset()
    require_instance_match: bool = False
    insecure_allow_debug: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.pcr0, OneOf):
            raise UsageError(ErrorCode.USAGE_POLICY, "PCR0 needs reference values")
        if 0 in self.pcrs:
            raise UsageError(ErrorCode.USAGE_POLICY, "PCR0 is stated once, as pcr0")
        object.__setattr__(self, "pcrs", MappingProxyType(dict(self.pcrs)))  # nobody loosens it after these checks
        _check_register(0, self.pcr0, zero_allowed=self.insecure_allow_debug)
        for index, expected in self.pcrs.items():
            _check_register(index, expected, zero_allowed=self.insecure_allow_debug)
        _check_field("nonce", self.nonce)
        _check_field("user_data", self.user_data)
        _check_field("public_key", self.public_key)
        _check_regions(self.regions)


@dataclass(frozen=True, slots=True, kw_only=True)
class NitroTpmPolicy:
    """State what evidence of a NitroTPM must say: PCR4, PCR7 and PCR12 as a set, or nothing.

    PCR12 measures the kernel command line, which could be changed under an unchanged PCR4 and PCR7; on an unmodified
    boot it is zero, and ``ZERO`` pins it.

    Attributes:
        pcr4: the approved boot images.
        pcr7: the approved Secure Boot states.
        pcr12: ``OneOf`` or ``ZERO``.
        nonce: as in :class:`EnclavePolicy`.
        user_data: likewise.
        public_key: likewise.
        pcrs: expectations for further registers.
        regions: Regions accepted; empty accepts any.

    Raises:
        UsageError: ``usage-policy`` or ``usage-pcr-index``.

    Spec: EC2 User Guide, "Validate a NitroTPM Attestation Document"; GHSA-xrv8-2pf5-f3q7.
    """

    pcr4: OneOf
    pcr7: OneOf
    pcr12: OneOf | Expectation
    nonce: FieldExpectation
    user_data: FieldExpectation
    public_key: FieldExpectation
    pcrs: Mapping[int, PcrExpectation] = field(default_factory=dict)
    regions: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if not all(isinstance(register, OneOf) for register in (self.pcr4, self.pcr7)):
            raise UsageError(ErrorCode.USAGE_POLICY, "PCR4 and PCR7 need reference values")
        if not isinstance(self.pcr12, OneOf) and self.pcr12 is not Expectation.ZERO:
            raise UsageError(ErrorCode.USAGE_POLICY, "PCR12 needs reference values, or zero")
        if self.pcrs.keys() & {4, 7, 12}:
            raise UsageError(ErrorCode.USAGE_POLICY, "PCR4, PCR7 and PCR12 are stated once, by name")
        object.__setattr__(self, "pcrs", MappingProxyType(dict(self.pcrs)))  # nobody loosens it after these checks
        for index, expected in self.registers().items():
            _check_register(index, expected, zero_allowed=False)
        _check_field("nonce", self.nonce)
        _check_field("user_data", self.user_data)
        _check_field("public_key", self.public_key)
        _check_regions(self.regions)

    def registers(self) -> dict[int, PcrExpectation]:
        """Return the expectations of all registers, by index."""
        return {4: self.pcr4, 7: self.pcr7, 12: self.pcr12, **self.pcrs}
