"""Compare an action with the rules that admit it, and count uses and totals of this boot.

Each constraint has one meaning, written in ``pcrgate.manifest.constraints``. Counting is one step with comparing: an
action that is refused uses nothing up, and two at once cannot both take what is left for one.
"""

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from enclave.workloads.contract import malformed, not_admitted
from pcrgate.attestation.cbor import CborValue
from pcrgate.errors import ErrorCode, PcrgateError
from pcrgate.manifest.constraints import Constraint, Equals, FreeText, IntegerRange, MaxAmount, OneOf, Prefix
from pcrgate.manifest.grants import ActionRule, Grant, WorkloadRules


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """Hold what an agent wants done.

    Attributes:
        name: the tool, or the model.
        arguments: by name; hidden.
        purpose: what for; None when none is stated.
    """

    name: str
    arguments: Mapping[str, CborValue] = field(repr=False, default_factory=dict)
    purpose: str | None = None


Place = tuple[str, ...]


class UseCounts:
    """Count what was used since boot, for one workload. Safe to share between threads."""

    def __init__(self) -> None:
        """Begin at zero."""
        self._lock: Final = threading.Lock()
        self._used: Final[dict[Place, int]] = {}

    def admit(self, action: Action, grant: Grant, rules: WorkloadRules | None) -> None:
        """Count one use of an action that grant and rules admit.

        Args:
            action: what is to be done.
            grant: of the agent.
            rules: of the workload for all agents together; None when there are none.

        Raises:
            ManifestError: ``manifest-no-grant`` when grant or rules do not name the action.
            PcrgateError: ``workload-argument`` or ``workload-limit``.
            WireError: ``workload-request`` for a value that no constraint can take.
        """
        charges: list[tuple[Place, int, int | None]] = [(("agent", grant.agent), 1, grant.max_uses_per_boot)]
        rule = grant.action(action.name)
        charges += _judged(action, rule, ("agent", grant.agent))
        if rules is not None:
            charges += _judged(action, rules.action(action.name), ("all",))
        with self._lock:
            for place, amount, limit in charges:
                if limit is not None and self._used.get(place, 0) + amount > limit:
                    raise PcrgateError(
                        ErrorCode.WORKLOAD_LIMIT, f"a limit of {limit} for this boot is reached, expected less"
                    )
            for place, amount, limit in charges:
                if limit is not None:
                    self._used[place] = self._used.get(place, 0) + amount


def _judged(action: Action, rule: ActionRule, whose: Place) -> Iterator[tuple[Place, int, int | None]]:
    """Yield what the action uses up under a rule, after everything else about it was found right."""
    # 1. Every argument is one the rule knows, and none that it needs is missing.
    for name in action.arguments:
        if name not in rule.arguments:
            raise not_admitted(f"argument {_shown(name)} is not one of the rule's")
    for name, argument in rule.arguments.items():
        if argument.required and name not in action.arguments:
            raise not_admitted(f"argument {name} is missing")
    # 2. A purpose is stated exactly when the rule names some, and is one of them.
    if (action.purpose is not None or rule.purposes) and action.purpose not in rule.purposes:
        raise not_admitted("the purpose is not one of the rule's")
    # 3. Every value is one its constraint admits.
    yield (*whose, rule.action), 1, rule.max_uses_per_boot
    for name, value in action.arguments.items():
        used, total = _admitted(name, value, rule.arguments[name].constraint)
        yield (*whose, rule.action, name), used, total


def _admitted(name: str, value: CborValue, constraint: Constraint) -> tuple[int, int | None]:
    """Return how much a value uses up, and the total it counts towards, once the constraint admits it."""
    fine = False
    match constraint:
        case Equals():
            fine = type(value) is type(constraint.value) and value == constraint.value
        case OneOf():
            fine = any(type(value) is type(choice) and value == choice for choice in constraint.values)
        case Prefix():
            text = value.encode() if type(value) is str else b""
            fine = text.startswith(constraint.prefix.encode()) and len(text) <= constraint.max_bytes
        case FreeText():
            fine = type(value) is str and len(value.encode()) <= constraint.max_bytes
        case IntegerRange():
            if type(value) is int and constraint.minimum <= value <= constraint.maximum:
                return value, constraint.total_per_boot
        case MaxAmount():
            return _amount(name, value, constraint), constraint.total_minor_units_per_boot
    if not fine:
        raise not_admitted(f"argument {name} has a value that the rule does not admit")
    return 0, None


def _amount(name: str, value: CborValue, constraint: MaxAmount) -> int:
    if type(value) is not dict or value.keys() != {"currency", "minor_units"}:
        raise malformed(f"argument {name} is not an amount, expected currency and minor_units")
    units = value["minor_units"]
    if value["currency"] != constraint.currency or type(units) is not int:
        raise not_admitted(f"argument {name} is not an amount in {constraint.currency}")
    if not 0 <= units <= constraint.max_minor_units:
        raise not_admitted(f"argument {name} is above what the rule admits")
    return units


def _shown(name: str) -> str:
    return "".join(mark if mark.isascii() and mark.isprintable() else "?" for mark in name[:64])
