"""The modes as JSON, for the control endpoint: every member checked, unknown ones refused."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Final

from kms_policies.operations import OPERATIONS
from pcrgate.errors import ErrorCode, UsageError
from pcrgate.twin.modes import MAX_LATENCY_MS
from pcrgate.twin.settings import MAX_PROPAGATION_DELAY_S, ModeSettings, Outage, OutageKind, ReplayMode, Throttle

MAX_RATE_PER_S: Final = 1_000_000
"""Highest quota: above any of AWS's, and far above what one machine answers."""


def modes_to_json(settings: ModeSettings) -> dict[str, object]:
    """Return the settings as JSON values."""
    throttle, outage = settings.throttle, settings.outage
    return {
        "replay": settings.replay.value,
        "propagation_delay_s": settings.propagation_delay_s,
        "throttle": None if throttle is None else {"rate_per_s": throttle.rate_per_s, "burst": throttle.burst},
        "outage": None
        if outage is None
        else {"kind": outage.kind.value, "operations": sorted(outage.operations), "remaining": outage.remaining},
        "latency_ms": settings.latency_ms,
    }


def modes_from_json(members: Mapping[str, Any], current: ModeSettings) -> ModeSettings:
    """Return ``current`` with the members given replaced.

    Raises:
        UsageError: ``twin-settings`` for unknown members and values out of range.
    """
    readers: dict[str, Callable[[Any], object]] = {
        "replay": _replay,
        "propagation_delay_s": lambda value: _number(value, "propagation_delay_s", MAX_PROPAGATION_DELAY_S),
        "throttle": _throttle,
        "outage": _outage,
        "latency_ms": lambda value: _whole(value, "latency_ms", 0, MAX_LATENCY_MS),
    }
    _no_others(members, set(readers))
    changes: dict[str, Any] = {name: readers[name](value) for name, value in members.items()}
    return dataclasses.replace(current, **changes)


def _replay(value: object) -> ReplayMode:
    for mode in ReplayMode:
        if mode.value == value:
            return mode
    raise _refusal("replay is accepted or refused")


def _throttle(value: object) -> Throttle | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise _refusal("throttle is null or {rate_per_s, burst}")
    _no_others(value, {"rate_per_s", "burst"})
    rate = _number(value.get("rate_per_s"), "rate_per_s", MAX_RATE_PER_S)
    if not rate:
        raise _refusal("rate_per_s is above 0")
    return Throttle(rate_per_s=rate, burst=_whole(value.get("burst"), "burst", 1, MAX_RATE_PER_S))


def _outage(value: object) -> Outage | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise _refusal("outage is null or {kind, operations, remaining}")
    _no_others(value, {"kind", "operations", "remaining"})
    kind = next((kind for kind in OutageKind if kind.value == value.get("kind")), None)
    operations, remaining = value.get("operations") or [], value.get("remaining")
    if kind is None:
        raise _refusal("the kind of outage is internal, dependency-timeout or drop")
    if not isinstance(operations, list) or not all(name in OPERATIONS for name in operations):
        raise _refusal("operations is a list of KMS operations")
    left = None if remaining is None else _whole(remaining, "remaining", 1, MAX_RATE_PER_S)
    return Outage(kind=kind, operations=frozenset(operations), remaining=left)


def _number(value: object, name: str, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        raise _refusal(f"{name} is a number from 0 to {most}")
    return float(value)


def _whole(value: object, name: str, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise _refusal(f"{name} is a whole number from {least} to {most}")
    return value


def _no_others(members: Mapping[str, Any], known: set[str]) -> None:
    unknown = sorted(set(members) - known)
    if unknown:
        raise _refusal(f"{unknown[0][:40]} is not one of {', '.join(sorted(known))}")


def _refusal(message: str) -> UsageError:
    return UsageError(ErrorCode.TWIN_SETTINGS, message)
