"""Steps of a roll-over: announced, admitted beside the old one, the old one draining, the old one removed.

A policy change holds everywhere only after a while, and an old policy may still answer until then. So no step follows
a policy change before the change had time to spread and somebody saw that it holds. Removal is what closes old images:
until then a once-approved image, kept by whoever runs the parent, still gets keys.

Spec: KMS Developer Guide, "Eventual consistency".
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

from kms_policies.rollover import (
    LISTED,
    PROPAGATION_S,
    ApprovalCheck,
    Measurement,
    MeasurementState,
    RollOver,
    check_rollover,
)
from kms_policies.rollover_files import parse_name, time_text
from pcrgate.errors import ErrorCode, KeyPolicyError
from pcrgate.units import Sha384

_ANNOUNCED, _ADMITTED, _DRAINING, _REMOVED = MeasurementState

TRANSITIONS: Final[Mapping[MeasurementState, frozenset[MeasurementState]]] = MappingProxyType(
    {
        _ANNOUNCED: frozenset({_ADMITTED, _REMOVED}),
        _ADMITTED: frozenset({_DRAINING}),
        _DRAINING: frozenset({_REMOVED, _ADMITTED}),
        _REMOVED: frozenset(),
    }
)
"""Which state may follow which; revoking goes from every state to removed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Hold one step of a plan.

    Attributes:
        number: from 1.
        name: the measurement it moves.
        before: the state it leaves.
        after: the state it reaches.
        at: the earliest time for it.
        document: what the document is after it.
        changes_policies: whether the policies have to be put again.
        proves: what the policies after it let be proven.
        then: what to wait and probe for before the next step.
        undo: how to go back, or that there is no way.
    """

    number: int
    name: str
    before: MeasurementState
    after: MeasurementState
    at: datetime
    document: RollOver
    changes_policies: bool
    proves: str
    then: str
    undo: str


def announce(
    document: RollOver, *, name: str, pcrs: Mapping[str, Sha384], expires: datetime, now: datetime
) -> RollOver:
    """Return the document with one more measurement, which no policy lists yet.

    Raises:
        KeyPolicyError: ``rollover-document`` when it does not fit, ``rollover-expired`` when it ends before it begins.
    """
    if expires <= now:
        raise KeyPolicyError(
            ErrorCode.ROLLOVER_EXPIRED, f"{name[:80]!a} would expire at {time_text(expires)}, in the past"
        )
    added = Measurement(
        name=parse_name(name, "the measurement's name"), pcrs=dict(pcrs), state=_ANNOUNCED, since=now, expires=expires
    )
    after = replace(document, measurements=(*document.measurements, added))
    check_rollover(after)
    return after


def confirm_probe(document: RollOver) -> RollOver:
    """Return the document with the last policy change noted as seen to hold."""
    return replace(document, probed=True)


def advance(
    document: RollOver,
    name: str,
    to: MeasurementState,
    now: datetime,
    *,
    revoke: bool = False,
    approval: ApprovalCheck | None = None,
) -> RollOver:
    """Return the document after one measurement took one step.

    Args:
        document: the document before.
        name: the measurement.
        to: the state it is to reach.
        now: the time of the step.
        revoke: remove at once, without draining, waiting or probing: for an image found to be bad.
        approval: decides whether enough people approved; none asks nobody.

    Raises:
        KeyPolicyError: ``rollover-transition``, ``rollover-not-ready`` or ``rollover-expired``.
    """
    one = document.measurement(name)
    if revoke:
        if to is not _REMOVED or one.state is _REMOVED:
            raise KeyPolicyError(ErrorCode.ROLLOVER_TRANSITION, f"{name}: revoking removes what is not removed yet")
    elif to not in TRANSITIONS[one.state]:
        may = " or ".join(sorted(state.value for state in TRANSITIONS[one.state])) or "nothing: announce it anew"
        raise KeyPolicyError(
            ErrorCode.ROLLOVER_TRANSITION, f"{name} is {one.state.value} and cannot become {to.value}, expected {may}"
        )
    if to is _ADMITTED and now >= one.expires:
        raise KeyPolicyError(ErrorCode.ROLLOVER_EXPIRED, f"{name} expired at {time_text(one.expires)}")
    if not revoke:
        _check_ready(document, one, to, now)
    if one.state in LISTED and to not in LISTED | {one.state} and document.listed == (one,):
        raise KeyPolicyError(
            ErrorCode.ROLLOVER_TRANSITION,
            f"{name} is the only listed measurement, expected another one beside it (disable the key to stop releases)",
        )
    changes = (one.state in LISTED) is not (to in LISTED)
    moved = replace(one, state=to, since=now)
    after = replace(
        document,
        measurements=tuple(moved if each is one else each for each in document.measurements),
        changed=now if changes else document.changed,
        probed=False if changes else document.probed,
    )
    check_rollover(after)
    if approval is not None:
        approval.check(document, after)
    return after


def _check_ready(document: RollOver, one: Measurement, to: MeasurementState, now: datetime) -> None:
    earliest = earliest_time(document, one, to)
    if now < earliest:
        raise KeyPolicyError(
            ErrorCode.ROLLOVER_NOT_READY, f"{one.name} may become {to.value} at {time_text(earliest)}, not before"
        )
    if not document.probed:
        raise KeyPolicyError(
            ErrorCode.ROLLOVER_NOT_READY, "the last policy change was not seen to hold, expected a probe (--probed)"
        )
    stays = [
        each for each in document.measurements if each is not one and each.state is _ADMITTED and now < each.expires
    ]
    if to is _DRAINING and not stays:
        raise KeyPolicyError(
            ErrorCode.ROLLOVER_NOT_READY,
            f"{one.name} is the only admitted measurement, expected its successor admitted",
        )


def earliest_time(document: RollOver, one: Measurement, to: MeasurementState) -> datetime:
    """Return when a step may be taken at the earliest: after the last change has spread, and after draining."""
    earliest = one.since
    if document.changed is not None:
        earliest = max(earliest, document.changed + timedelta(seconds=PROPAGATION_S))
    if one.state is _DRAINING and to is _REMOVED:
        earliest = max(earliest, one.since + timedelta(seconds=document.drain_s))
    return earliest


def overdue(document: RollOver, now: datetime) -> tuple[Measurement, ...]:
    """Return the measurements that the policies still list although they have expired."""
    return tuple(one for one in document.listed if now >= one.expires)


def plan(document: RollOver, now: datetime, *, keep: frozenset[str] = frozenset()) -> tuple[Step, ...]:
    """Return the steps that admit what is announced and remove what it replaces, each with the document it leads to.

    Args:
        document: where the roll-over stands.
        now: when it goes on.
        keep: admitted measurements that stay. What is announced replaces all others; when nothing is announced, all
            that have not expired stay.

    Raises:
        KeyPolicyError: when a step could not be taken: ``rollover-expired``, ``rollover-not-ready`` and their kin.
    """
    for name in keep:
        document.measurement(name)
    coming = [one.name for one in document.measurements if one.state is _ANNOUNCED]
    leaving = [
        one.name
        for one in document.listed
        if one.state is _DRAINING or now >= one.expires or (coming and one.name not in keep)
    ]
    wanted = [(name, _ADMITTED) for name in coming]
    wanted += [(name, _DRAINING) for name in leaving if document.measurement(name).state is _ADMITTED]
    wanted += [(name, _REMOVED) for name in leaving]
    steps: list[Step] = []
    at, current = now, document
    for name, to in wanted:
        before = current.measurement(name)
        current = confirm_probe(current)
        at = max(at, earliest_time(current, before, to))
        current = advance(current, name, to, at)
        steps.append(_step(len(steps) + 1, before, to, at, current))
    return tuple(steps)


def _step(number: int, before: Measurement, to: MeasurementState, at: datetime, document: RollOver) -> Step:
    name = before.name
    listed = ", ".join(one.name for one in document.listed)
    others = ", ".join(one.name for one in document.listed if one.name != name) or "none"
    spread = f"put the policies; wait {PROPAGATION_S} s"
    if to is _ADMITTED:
        then = f"{spread}; probe that an enclave measured as {name} is released to, and those of {others} still are"
        undo = f"drain and remove {name}; what was released to it stays released"
    elif to is _DRAINING:
        then = (
            f"start no enclave measured as {name}; wait {document.drain_s} s for its sessions to end; no policy changes"
        )
        undo = f"advance {name} to admitted"
    else:
        then = f"{spread}; probe that an enclave measured as {name} is refused, and those of {others} are released to"
        undo = f"none: announce {name} again under another name"
    return Step(
        number=number,
        name=name,
        before=before.state,
        after=to,
        at=at,
        document=document,
        changes_policies=(before.state in LISTED) is not (to in LISTED),
        proves=f"no plaintext without evidence of {listed}",
        then=then,
        undo=undo,
    )
