"""Say what agents may do: which workload, which actions, within which limits.

Everything is closed: an action, argument or purpose that no rule names is refused. Use counts and totals hold for one
boot of one enclave; there is no memory beyond that.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from pcrgate.errors import ErrorCode, ManifestError
from pcrgate.manifest.bounds import in_order, require_count, require_integer, require_name, require_time
from pcrgate.manifest.constraints import Constraint, Equals, FreeText, IntegerRange, MaxAmount, OneOf, Prefix

ACTIONS_MAX: Final = 64
"""Most actions of one grant."""

ARGUMENTS_MAX: Final = 32
"""Most arguments of one action."""

PURPOSES_MAX: Final = 32
"""Most purposes of one action."""

USES_MAX: Final = 1_000_000_000
"""Greatest use count: far above what one boot serves, and small enough that a slip of a digit shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    """Say what one argument may be, and whether it may be left out.

    Attributes:
        constraint: what the value must satisfy when it is there.
        required: whether an action without it is refused.
    """

    constraint: Constraint
    required: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.constraint, Equals | OneOf | Prefix | FreeText | IntegerRange | MaxAmount):
            raise ManifestError(ErrorCode.MANIFEST_FIELD, "the constraint of an argument is of no known kind")
        if type(self.required) is not bool:
            raise ManifestError(ErrorCode.MANIFEST_FIELD, "required of an argument is not a boolean")


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionRule:
    """Say how one action may be done.

    Attributes:
        action: what is done: the tool for ``validate``, the name of the weights for ``infer``; other workloads say.
        arguments: by name; an argument that is not here is refused.
        purposes: those that a request may state, and must state one of; empty when a request states none.
        max_uses_per_boot: how often it may be done since boot; None for no such limit.
    """

    action: str
    arguments: Mapping[str, Argument] = field(default_factory=dict)
    purposes: tuple[str, ...] = ()
    max_uses_per_boot: int | None = None

    def __post_init__(self) -> None:
        require_name(self.action, "an action")
        require_count(self.arguments, f"arguments of {self.action}", ARGUMENTS_MAX)
        for name in self.arguments:
            require_name(name, f"an argument of {self.action}")
        require_count(self.purposes, f"purposes of {self.action}", PURPOSES_MAX)
        for purpose in self.purposes:
            require_name(purpose, f"a purpose of {self.action}")
        _require_uses(self.max_uses_per_boot, self.action)
        object.__setattr__(self, "arguments", MappingProxyType(dict(sorted(self.arguments.items()))))
        object.__setattr__(self, "purposes", in_order(self.purposes, lambda name: name, f"a purpose of {self.action}"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Let one agent use one workload.

    Attributes:
        agent: the agent's name; the manifest has its key.
        workload: the workload's name, for example ``validate`` or ``infer``.
        actions: 1 to 64, each named once; kept in order.
        expires_ms: until when, exclusive, in milliseconds since 1970.
        max_uses_per_boot: how often all actions together since boot; None for no such limit.
    """

    agent: str
    workload: str
    actions: tuple[ActionRule, ...]
    expires_ms: int
    max_uses_per_boot: int | None = None

    def __post_init__(self) -> None:
        require_name(self.agent, "the agent of a grant")
        require_name(self.workload, "the workload of a grant")
        require_time(self.expires_ms, "expires_ms of a grant")
        _require_uses(self.max_uses_per_boot, "a grant")
        object.__setattr__(self, "actions", _ordered_actions(self.actions))

    def action(self, name: str) -> ActionRule:
        """Return the rule of an action.

        Raises:
            ManifestError: ``manifest-no-grant`` when the grant does not name it.
        """
        return _find_action(self.actions, name)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadRules:
    """Hold what is true of a workload whoever asks: beside the grant, every action must satisfy these too.

    Use counts and totals are those of all agents together.

    Attributes:
        workload: the workload's name.
        actions: 1 to 64, each named once; kept in order. An action that is not here is refused to everybody.
    """

    workload: str
    actions: tuple[ActionRule, ...]

    def __post_init__(self) -> None:
        require_name(self.workload, "the workload of rules")
        object.__setattr__(self, "actions", _ordered_actions(self.actions))

    def action(self, name: str) -> ActionRule:
        """Return the rule of an action.

        Raises:
            ManifestError: ``manifest-no-grant`` when the rules do not name it.
        """
        return _find_action(self.actions, name)


def _ordered_actions(actions: tuple[ActionRule, ...]) -> tuple[ActionRule, ...]:
    require_count(actions, "actions of one workload", ACTIONS_MAX, minimum=1)
    return in_order(actions, lambda rule: rule.action, "an action of one workload")


def _find_action(actions: tuple[ActionRule, ...], name: str) -> ActionRule:
    for rule in actions:
        if rule.action == name:
            return rule
    raise ManifestError(ErrorCode.MANIFEST_NO_GRANT, "no rule names this action, expected one of those granted")


def _require_uses(uses: int | None, what: str) -> None:
    if uses is not None:
        require_integer(uses, f"max_uses_per_boot of {what}", minimum=1, maximum=USES_MAX)
