"""What is asked of the prover: the policies, the grants, the key, and which measurements are approved.

Spec: KMS Developer Guide, "Condition keys for AWS Nitro Enclaves", "Condition keys for AWS NitroTPM".
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from kms_policies.document import Policy
from kms_policies.request import Grant, KeyMetadata
from kms_policies.statements import PolicyKind
from pcrgate.errors import ErrorCode, KeyPolicyError
from pcrgate.units import PCR_MAX_INDEX, Sha384

NITROTPM_REQUIRED: Final = frozenset({4, 7, 12})
"""NitroTPM PCRs that mean something only together: boot loader, Secure Boot state, kernel command line."""

NITROTPM_NEVER_ZERO: Final = frozenset({4, 7})
"""Those of them that no boot leaves at zero; PCR12 is zero unless the kernel command line was changed."""

NITROTPM_MAX_INDEX: Final = 23
"""Highest NitroTPM PCR that has a condition key. Spec: KMS Developer Guide, NitroTPM condition keys."""

TIMEOUT_DEFAULT_MS: Final = 20_000
"""How long one check of the solver may take: a thousand times what the largest policy within its size took."""

LEAKS_MAX: Final = 64
"""Most counterexamples collected: enough to see every statement at fault, and an end for the search."""

ANY_PRINCIPAL: Final = "*"
"""The name under which identity policies stand whose attachment is not known."""

_ACCOUNT: Final = re.compile(r"\d{12}")
_ARN: Final = re.compile(r"arn:aws[a-z-]*:(?:iam|sts)::\d{12}:.+")


def _refuse(fact: str) -> KeyPolicyError:
    return KeyPolicyError(ErrorCode.PROVE_QUESTION, fact)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovedMeasurements:
    """Hold the set S: what evidence must show before plaintext may be released.

    Attributes:
        pcr0: approved values of PCR0; none of them zero.
        further: values approved for further PCRs by index, 1 to 31; each must match as well.
        nitrotpm: approved NitroTPM measurements; each maps at least 4, 7 and 12 to a value.
    """

    pcr0: frozenset[Sha384] = frozenset()
    further: Mapping[int, frozenset[Sha384]] = field(default_factory=dict)
    nitrotpm: tuple[Mapping[int, Sha384], ...] = ()

    def __post_init__(self) -> None:
        if not self.pcr0 and not self.nitrotpm:
            raise _refuse("no measurement is approved, expected a PCR0 or a NitroTPM set of PCR4, PCR7 and PCR12")
        if any(value.is_zero for value in self.pcr0):
            raise _refuse("an all-zero PCR0 is approved, which every debug enclave has")
        for index, values in self.further.items():
            if not 1 <= index <= PCR_MAX_INDEX:
                raise _refuse(f"further PCR {index}, expected 1 to {PCR_MAX_INDEX}")
            if not values or any(value.is_zero for value in values):
                raise _refuse(f"PCR{index} is required without a value, or with the all-zero one")
        if self.further and not self.pcr0:
            raise _refuse("further PCRs are required, but no PCR0 is approved")
        for measurement in self.nitrotpm:
            if not measurement.keys() >= NITROTPM_REQUIRED:
                raise _refuse("a NitroTPM measurement lacks PCR4, PCR7 or PCR12: they mean something only together")
            if any(not 0 <= index <= NITROTPM_MAX_INDEX for index in measurement):
                raise _refuse(f"a NitroTPM PCR has an index from 0 to {NITROTPM_MAX_INDEX}")
            # PCR12 is zero on an unmodified boot, and pinning it to zero is the point of naming it
            if any(measurement[index].is_zero for index in NITROTPM_NEVER_ZERO):
                raise _refuse("a NitroTPM measurement has an all-zero PCR4 or PCR7")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Ask whether plaintext can leave the key without an approved attestation.

    Attributes:
        key_policy: the policy of the key.
        approved: the set S.
        identity_policies: by the ARN of the user, role or account root that they are attached to; ``*`` holds those
            whose attachment is not known and which therefore may be attached to everyone.
        identity_complete: accounts, twelve digits each, of which ``identity_policies`` holds every policy. In all other
            accounts everyone is taken to have every permission that IAM can give.
        grants: the grants on the key.
        key: the key's metadata; ``None`` for an ordinary symmetric single-Region key, which the proof then says.
        administrators: ARNs declared as trust anchors; an account root stands for all whom that account's IAM lets.
        resource_control_policies: resource control policies in force for the key's account.
        availability_matters: whether a way to disable or delete the key fails the proof.
        timeout_ms: how long one check of the solver may take.
        solver_steps: the solver's own resource limit for one check, 0 for none; for tests of the unknown verdict.
    """

    key_policy: Policy
    approved: ApprovedMeasurements
    identity_policies: Mapping[str, tuple[Policy, ...]] = field(default_factory=dict)
    identity_complete: frozenset[str] = frozenset()
    grants: tuple[Grant, ...] = ()
    key: KeyMetadata | None = None
    administrators: frozenset[str] = frozenset()
    resource_control_policies: tuple[Policy, ...] = ()
    availability_matters: bool = False
    timeout_ms: int = TIMEOUT_DEFAULT_MS
    solver_steps: int = 0

    def __post_init__(self) -> None:
        kinds = [(self.key_policy, PolicyKind.KEY)]
        kinds += [(policy, PolicyKind.IDENTITY) for policies in self.identity_policies.values() for policy in policies]
        kinds += [(policy, PolicyKind.RESOURCE_CONTROL) for policy in self.resource_control_policies]
        for policy, expected in kinds:
            if policy.kind is not expected:
                raise _refuse(f"a document read as {policy.kind.value} stands where a {expected.value} is expected")
        for name in self.identity_policies:
            if name != ANY_PRINCIPAL and not _ARN.fullmatch(name):
                raise _refuse(f"identity policies are attached to {name[:120]!a}, expected a principal's ARN or *")
        for account in self.identity_complete:
            if not _ACCOUNT.fullmatch(account):
                raise _refuse("identity policies are declared complete for what is not an account of 12 digits")
        for name in self.administrators:
            if not _ARN.fullmatch(name):
                raise _refuse(f"administrator {name[:120]!a} is not a principal's ARN")
        if self.timeout_ms <= 0 or self.solver_steps < 0:
            raise _refuse("the time for the solver is not positive")
