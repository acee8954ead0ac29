"""Roll-over documents: which measurements a set of policies admits, in which state each is, and until when.

A document is kept as JSON (``kms_policies.rollover_files``) in version control beside the policies it makes. It holds
no secret. Changing and planning (``kms_policies.rollover_steps``) are pure: the clock is an argument, and nothing here
talks to AWS.

The field ``approvals`` is the seam for signatures by several people: it is carried along and handed to whatever
``ApprovalCheck`` the caller passes; there is none here yet.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Final, Protocol

from kms_policies.document import PolicyKind
from kms_policies.rendering import TRAITS, Template, parse_inputs, render
from pcrgate.errors import ErrorCode, KeyPolicyError
from pcrgate.units import Sha384

PROPAGATION_S: Final = 300
"""How long a policy change may take to hold everywhere. Spec: KMS Developer Guide, "Eventual consistency": most changes
hold within seconds, some take several minutes."""

DRAIN_DEFAULT_S: Final = 3_600
"""How long a measurement drains before it is removed, unless the document says otherwise: the longest session."""

_ENCLAVE_FIELDS: Final = frozenset({"pcr0", "pcr1", "pcr2", "pcr3", "pcr8"})
_NITROTPM_FIELDS: Final = frozenset({"pcr4", "pcr7", "pcr12"})


class MeasurementState(Enum):
    """Name where a measurement is on its way; the policies list it while admitted or draining."""

    ANNOUNCED = "announced"
    """Agents are told to expect it; no policy lists it yet."""
    ADMITTED = "admitted"
    """The policies list it; enclaves with it get keys."""
    DRAINING = "draining"
    """The policies still list it; no new enclave starts with it, its sessions end."""
    REMOVED = "removed"
    """No policy lists it any more; it never comes back under this entry."""


LISTED: Final = frozenset({MeasurementState.ADMITTED, MeasurementState.DRAINING})
"""The states in which the policies list a measurement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """Hold one measurement: the PCRs of one image, its state and its end.

    Attributes:
        name: a short name, unique in the document.
        pcrs: by field name, for example ``pcr0``; one value each.
        state: where it is on its way.
        since: when it came into that state.
        expires: from then on it may only leave.
    """

    name: str
    pcrs: Mapping[str, Sha384]
    state: MeasurementState
    since: datetime
    expires: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagedPolicy:
    """Hold one policy that lists the measurements.

    Attributes:
        name: a short name, unique in the document.
        template: what it is rendered from.
        inputs: the template's inputs as JSON, without PCRs.
    """

    name: str
    template: Template
    inputs: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class RollOver:
    """Hold a whole document.

    Attributes:
        policies: at least one key policy among them.
        measurements: in the order they were announced.
        changed: when the policies last changed, or None.
        probed: whether that change was seen to hold.
        drain_s: how many seconds a measurement drains before it may be removed.
        approvals: signatures or other statements by people, kept as they are.
    """

    policies: tuple[ManagedPolicy, ...]
    measurements: tuple[Measurement, ...]
    changed: datetime | None = None
    probed: bool = True
    drain_s: int = DRAIN_DEFAULT_S
    approvals: tuple[Mapping[str, object], ...] = ()

    def measurement(self, name: str) -> Measurement:
        """Return the measurement of that name.

        Raises:
            KeyPolicyError: ``rollover-document`` when there is none.
        """
        for one in self.measurements:
            if one.name == name:
                return one
        raise refuse(f"no measurement {name[:80]!a}, expected one of {[one.name for one in self.measurements]}")

    @property
    def listed(self) -> tuple[Measurement, ...]:
        """The measurements that the policies list."""
        return tuple(one for one in self.measurements if one.state in LISTED)

    @property
    def nitrotpm(self) -> bool:
        """Whether the measurements are of NitroTPM instances rather than enclaves."""
        return any(TRAITS[policy.template].nitrotpm for policy in self.policies)


class ApprovalCheck(Protocol):
    """Decide whether enough people approved a change; the seam for several signers."""

    def check(self, before: RollOver, after: RollOver) -> None:
        """Return when ``after.approvals`` suffice for the change.

        Raises:
            KeyPolicyError: when they do not.
        """
        ...


def refuse(fact: str) -> KeyPolicyError:
    """Return the refusal of a document."""
    return KeyPolicyError(ErrorCode.ROLLOVER_DOCUMENT, fact)


def render_policies(document: RollOver) -> dict[str, str]:
    """Return the JSON of every policy by name, listing the measurements that are admitted or draining.

    Raises:
        KeyPolicyError: ``rollover-document`` when nothing would be listed, ``policy-input`` and its kin.
    """
    if not document.listed:
        raise refuse("no measurement is admitted or draining, expected one: a policy must list something")
    pcrs: dict[str, list[str]] = {}
    for one in document.listed:
        for field, value in one.pcrs.items():
            values = pcrs.setdefault(field, [])
            if value.hex() not in values:
                values.append(value.hex())
    return {
        policy.name: render(policy.template, parse_inputs(policy.template, {**policy.inputs, **pcrs}))
        for policy in document.policies
    }


def approved_pcrs(document: RollOver, now: datetime | None = None) -> tuple[Mapping[str, Sha384], ...]:
    """Return the listed measurements in every combination; with ``now`` only those that have not expired then.

    Conditions on several PCRs hold independently of each other, so the policies admit every combination of listed
    values; with PCR0 alone the combinations are the measurements themselves.
    """
    live = [one for one in document.listed if now is None or now < one.expires]
    if not live:
        return ()
    fields = sorted(live[0].pcrs)
    choices = [sorted({one.pcrs[field].digest for one in live}) for field in fields]
    return tuple(
        {field: Sha384(digest) for field, digest in zip(fields, chosen, strict=True)}
        for chosen in itertools.product(*choices)
    )


def check_rollover(document: RollOver) -> None:
    """Return when the document's parts agree with each other.

    Raises:
        KeyPolicyError: ``rollover-document``; ``policy-input`` and its kin for inputs that a template refuses.
    """
    kinds = {TRAITS[policy.template].kind for policy in document.policies}
    if PolicyKind.KEY not in kinds:
        raise refuse("no policy is a key policy, expected at least one")
    if Template.PUBLISHER_ROLE in {policy.template for policy in document.policies}:
        raise refuse("the publisher's policy lists no measurements, expected only policies that do")
    if len({TRAITS[policy.template].nitrotpm for policy in document.policies}) > 1:
        raise refuse("the policies are for enclaves and for NitroTPM, expected one kind")
    for what, names in (
        ("policies", [policy.name for policy in document.policies]),
        ("measurements", [one.name for one in document.measurements]),
    ):
        if len(set(names)) != len(names):
            raise refuse(f"two {what} have one name")
    known = _NITROTPM_FIELDS if document.nitrotpm else _ENCLAVE_FIELDS
    required = known if document.nitrotpm else frozenset({"pcr0"})
    for one in document.measurements:
        if not required <= one.pcrs.keys() <= known:
            raise refuse(f"{one.name}: its PCRs are not {sorted(required)}, of {sorted(known)}")
    staying = [one for one in document.measurements if one.state is not MeasurementState.REMOVED]
    if len({frozenset(one.pcrs) for one in staying}) > 1:
        raise refuse("the measurements name different PCRs, expected the same ones: a condition holds for all of them")
    if len({tuple(sorted((k, v.digest) for k, v in one.pcrs.items())) for one in staying}) != len(staying):
        raise refuse("two measurements are the same, expected each once")
    if document.listed:
        render_policies(document)
