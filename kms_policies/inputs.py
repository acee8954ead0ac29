"""Typed inputs of the templates: what cannot be meant cannot be built.

A template that is filled with an empty list, a zero PCR or a wildcard yields a policy that looks right and holds
nothing. These types refuse all of that before a template is opened. Text (a JSON file, the command line) is read by
``kms_policies.input_files``, which also refuses upper case, because KMS compares with lower-case values.

Spec: KMS Developer Guide, "Condition keys for AWS Nitro Enclaves", "Condition keys for NitroTPM".
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Final

from kms_policies.expansion import TemplateValue
from pcrgate.errors import ErrorCode, KeyPolicyError
from pcrgate.units import KeyArn, Sha384

DELETION_WINDOW_MIN_DAYS: Final = 7
"""Shortest waiting period KMS takes. Spec: KMS API Reference, ScheduleKeyDeletion."""

DELETION_WINDOW_MAX_DAYS: Final = 30
"""Longest waiting period KMS takes, and our default: the longest time to notice. Spec: as above."""

ZERO_IS_MEANT: Final = "pcr12"
"""The one register whose all-zero value says something good: no command line was added to what PCR4 measures."""

_PRINCIPAL: Final = re.compile(
    r"arn:(?P<partition>aws|aws-us-gov|aws-cn):iam::(?P<account>\d{12}):"
    r"(?P<kind>root|(?:role|user)/(?:[\x21-\x29\x2b-\x3e\x40-\x7e]+/)?[\w+=,.@-]{1,64})",
    re.ASCII,
)
_ACCOUNT: Final = re.compile(r"\d{12}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class EnclaveMeasurements:
    """Hold the approved PCR values of enclave images; each field is a list of alternatives.

    Values of different fields combine freely: with two images approved, PCR0 of one may stand beside PCR1 of the other.
    PCR0 alone names the image; the others narrow further.

    Attributes:
        pcr0: the image; at least one.
        pcr1: the kernel and boot ramdisk; not conditioned when empty.
        pcr2: the application; not conditioned when empty.
        pcr3: the parent's role; not conditioned when empty.
        pcr8: the signing certificate; not conditioned when empty.
    """

    pcr0: tuple[Sha384, ...]
    pcr1: tuple[Sha384, ...] = ()
    pcr2: tuple[Sha384, ...] = ()
    pcr3: tuple[Sha384, ...] = ()
    pcr8: tuple[Sha384, ...] = ()

    def __post_init__(self) -> None:
        _check_measurements(self, required=("pcr0",))

    def variables(self) -> dict[str, TemplateValue]:
        """Return the template variables: ``pcr0`` and ``further_pcrs``."""
        further = [
            {
                "sid": f"DenyReleaseUnlessPCR{index}",
                "key": f"kms:RecipientAttestation:PCR{index}",
                "values": _texts(values),
            }
            for index, values in ((1, self.pcr1), (2, self.pcr2), (3, self.pcr3), (8, self.pcr8))
            if values
        ]
        return {"pcr0": _texts(self.pcr0), "further_pcrs": further}


@dataclass(frozen=True, slots=True, kw_only=True)
class NitroTpmMeasurements:
    """Hold the approved PCR values of instances with NitroTPM: all three conditions hold, or none is worth anything.

    Attributes:
        pcr4: the boot manager and kernel; at least one value.
        pcr7: the Secure Boot state; at least one value.
        pcr12: what was added to the kernel command line; at least one value, usually all zero: nothing was. Without it
            the same kernel starts with any command line.
    """

    pcr4: tuple[Sha384, ...]
    pcr7: tuple[Sha384, ...]
    pcr12: tuple[Sha384, ...]

    def __post_init__(self) -> None:
        _check_measurements(self, required=("pcr4", "pcr7", "pcr12"))

    def variables(self) -> dict[str, TemplateValue]:
        """Return the template variables: ``pcr4``, ``pcr7`` and ``pcr12``."""
        return {"pcr4": _texts(self.pcr4), "pcr7": _texts(self.pcr7), "pcr12": _texts(self.pcr12)}


Measurements = EnclaveMeasurements | NitroTpmMeasurements
"""The approved measurements of one kind of attester."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPolicyInputs:
    """Hold what a key policy is made for. No principal may have two roles.

    Attributes:
        account: the account that owns the key, twelve digits.
        administrators: ARNs that manage the key and can use it for nothing; at least one.
        parents: ARNs of the roles whose calls carry the attestation; at least one.
        measurements: which enclaves or instances the key is released to.
        publishers: ARNs that may seal (``kms:Encrypt``); empty for session keys.
        workload_accounts: other accounts whose principals may be named; twelve digits each.
        minimum_deletion_window_days: the shortest waiting period of a deletion, 7 to 30 days.
        root_delegation: whether the account's IAM policies may add to the key policy. The unconditional statements hold
            against those too, but every policy in the account has to be watched.
        root_administers: whether the account's root ARN may be an administrator, as a way back in when every other
            administrator is gone.
    """

    account: str
    administrators: tuple[str, ...]
    parents: tuple[str, ...]
    measurements: Measurements
    publishers: tuple[str, ...] = ()
    workload_accounts: tuple[str, ...] = ()
    minimum_deletion_window_days: int = DELETION_WINDOW_MAX_DAYS
    root_delegation: bool = False
    root_administers: bool = False

    def __post_init__(self) -> None:
        for account in (self.account, *self.workload_accounts):
            if not _ACCOUNT.fullmatch(account):
                raise KeyPolicyError(ErrorCode.POLICY_INPUT_ACCOUNT, "an account is not twelve digits")
        _refuse_duplicates("the accounts", (self.account, *self.workload_accounts))
        for role, arns, least in (
            ("administrators", self.administrators, 1),
            ("parents", self.parents, 1),
            ("publishers", self.publishers, 0),
        ):
            if len(arns) < least:
                raise KeyPolicyError(ErrorCode.POLICY_INPUT_MISSING, f"{role} is empty, expected at least one ARN")
            for arn in arns:
                self._check_principal(role, arn)
        principals = (*self.administrators, *self.parents, *self.publishers)
        _refuse_duplicates("administrators, parents and publishers together", principals)
        if len({arn.split(":")[1] for arn in principals}) > 1:
            raise KeyPolicyError(ErrorCode.POLICY_INPUT_PRINCIPAL, "the principals are of several partitions")
        window = self.minimum_deletion_window_days
        if type(window) is not int or not DELETION_WINDOW_MIN_DAYS <= window <= DELETION_WINDOW_MAX_DAYS:
            bounds = f"{DELETION_WINDOW_MIN_DAYS} to {DELETION_WINDOW_MAX_DAYS}"
            raise KeyPolicyError(ErrorCode.POLICY_INPUT, f"the minimum deletion window is not {bounds} days")

    def _check_principal(self, role: str, arn: str) -> None:
        if "*" in arn or "?" in arn or "${" in arn:
            raise KeyPolicyError(
                ErrorCode.POLICY_INPUT_PRINCIPAL,
                f"{role} holds a wildcard or variable, expected the ARN of one role or user",
            )
        match = _PRINCIPAL.fullmatch(arn)
        if match is None:
            raise KeyPolicyError(
                ErrorCode.POLICY_INPUT_PRINCIPAL,
                f"{role} holds {arn[:200]!r}, expected arn:aws:iam::ACCOUNT:role/NAME or :user/NAME (not a session)",
            )
        if match["kind"] == "root" and not (self.root_administers and role == "administrators"):
            raise KeyPolicyError(
                ErrorCode.POLICY_INPUT_PRINCIPAL,
                f"{role} holds an account root, expected a role or user (root_administers allows one administrator)",
            )
        if match["account"] not in {self.account, *self.workload_accounts}:
            raise KeyPolicyError(
                ErrorCode.POLICY_INPUT_ACCOUNT,
                f"{role} names account {match['account']}, expected {self.account} or one listed in workload_accounts",
            )

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is allowed here and better done otherwise, one sentence each."""
        found = []
        if self.root_delegation:
            found.append("root delegation is on: any IAM policy in the account adds to this key's permissions")
        if self.root_administers:
            found.append("the account root is an administrator: whoever controls the root user can change the policy")
        if len(self.administrators) == 1:
            found.append("there is one administrator: if that role is deleted, only AWS Support can reach the key")
        return tuple(found)

    def variables(self) -> dict[str, TemplateValue]:
        """Return the template variables of a key policy; ``publishers`` too, which session keys do not take."""
        partition = self.administrators[0].split(":")[1]
        return {
            "administrators": list(self.administrators),
            "publishers": list(self.publishers),
            "parents": list(self.parents),
            "accounts": [self.account, *self.workload_accounts],
            "delegated_roots": [f"arn:{partition}:iam::{self.account}:root"] if self.root_delegation else [],
            "minimum_deletion_window_days": str(self.minimum_deletion_window_days),
            **self.measurements.variables(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionedPolicyInputs:
    """Hold what the parent's identity policy and the resource control policy are made for.

    Attributes:
        key_arns: the gated keys; at least one.
        measurements: which enclaves or instances those keys are released to.
    """

    key_arns: tuple[KeyArn, ...]
    measurements: Measurements

    def __post_init__(self) -> None:
        _check_keys(self.key_arns)

    def variables(self) -> dict[str, TemplateValue]:
        """Return the template variables: ``key_arns`` and those of the measurements."""
        return {"key_arns": [str(arn) for arn in self.key_arns], **self.measurements.variables()}


@dataclass(frozen=True, slots=True, kw_only=True)
class PublisherRoleInputs:
    """Hold what the publisher's identity policy is made for.

    Attributes:
        key_arns: the keys of weights and credentials it seals for; at least one.
    """

    key_arns: tuple[KeyArn, ...]

    def __post_init__(self) -> None:
        _check_keys(self.key_arns)

    def variables(self) -> dict[str, TemplateValue]:
        """Return the template variable ``key_arns``."""
        return {"key_arns": [str(arn) for arn in self.key_arns]}


Inputs = KeyPolicyInputs | ConditionedPolicyInputs | PublisherRoleInputs
"""The inputs of any template."""


def _texts(values: tuple[Sha384, ...]) -> list[str]:
    return [value.hex() for value in values]


def _check_measurements(measurements: Measurements, *, required: tuple[str, ...]) -> None:
    for field in fields(measurements):
        values: tuple[Sha384, ...] = getattr(measurements, field.name)
        name = field.name.upper()
        if not values and field.name in required:
            raise KeyPolicyError(ErrorCode.POLICY_INPUT_MISSING, f"{name} has no value, expected at least one")
        if field.name != ZERO_IS_MEANT and any(value.is_zero for value in values):
            raise KeyPolicyError(
                ErrorCode.POLICY_INPUT_PCR,
                f"{name} is all zero, expected a measurement (a debug enclave measures zero)",
            )
        _refuse_duplicates(name, values)


def _check_keys(key_arns: tuple[KeyArn, ...]) -> None:
    if not key_arns:
        raise KeyPolicyError(ErrorCode.POLICY_INPUT_MISSING, "key_arns is empty, expected at least one key ARN")
    _refuse_duplicates("key_arns", key_arns)


def _refuse_duplicates(what: str, values: Iterable[object]) -> None:
    listed = list(values)
    if len(set(listed)) != len(listed):
        raise KeyPolicyError(ErrorCode.POLICY_INPUT_DUPLICATE, f"{what}: a value stands twice, expected each once")
