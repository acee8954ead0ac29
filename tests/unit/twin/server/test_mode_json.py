from typing import Any

import pytest

from pcrgate.errors import UsageError
from pcrgate.twin.mode_json import MAX_RATE_PER_S, modes_from_json, modes_to_json
from pcrgate.twin.modes import MAX_LATENCY_MS
from pcrgate.twin.settings import MAX_PROPAGATION_DELAY_S, ModeSettings, Outage, OutageKind, ReplayMode, Throttle

EVERYTHING = ModeSettings(
    replay=ReplayMode.REFUSED,
    propagation_delay_s=12.5,
    throttle=Throttle(rate_per_s=10, burst=20),
    outage=Outage(kind=OutageKind.DROP, operations=frozenset({"Decrypt", "Encrypt"}), remaining=3),
    latency_ms=7,
)


@pytest.mark.parametrize("settings", [ModeSettings(), EVERYTHING])
def test_settings_survive_the_way_through_json(settings: ModeSettings) -> None:
    members: dict[str, Any] = modes_to_json(settings)
    assert modes_from_json(members, EVERYTHING) == settings


def test_what_is_not_named_stays() -> None:
    changed = modes_from_json({"latency_ms": 0, "outage": None, "throttle": None}, EVERYTHING)
    assert (changed.replay, changed.propagation_delay_s) == (ReplayMode.REFUSED, 12.5)
    assert (changed.latency_ms, changed.outage, changed.throttle) == (0, None, None)


def test_the_bounds_are_taken() -> None:
    members = {
        "latency_ms": MAX_LATENCY_MS,
        "propagation_delay_s": MAX_PROPAGATION_DELAY_S,
        "throttle": {"rate_per_s": MAX_RATE_PER_S, "burst": 1},
        "outage": {"kind": "internal"},
    }
    assert modes_from_json(members, ModeSettings()).latency_ms == MAX_LATENCY_MS


@pytest.mark.parametrize(
    "members",
    [
        {"replays": "accepted"},
        {"replay": "sometimes"},
        {"propagation_delay_s": -1},
        {"propagation_delay_s": MAX_PROPAGATION_DELAY_S + 1},
        {"propagation_delay_s": True},
        {"propagation_delay_s": "1"},
        {"latency_ms": MAX_LATENCY_MS + 1},
        {"latency_ms": 1.5},
        {"latency_ms": True},
        {"throttle": 5},
        {"throttle": {"rate_per_s": 0, "burst": 1}},
        {"throttle": {"rate_per_s": 1, "burst": 0}},
        {"throttle": {"rate_per_s": MAX_RATE_PER_S + 1, "burst": 1}},
        {"throttle": {"rate_per_s": 1, "burst": 1, "more": 1}},
        {"outage": "internal"},
        {"outage": {"kind": "fire"}},
        {"outage": {"kind": "internal", "operations": ["Nothing"]}},
        {"outage": {"kind": "internal", "operations": "Decrypt"}},
        {"outage": {"kind": "internal", "remaining": 0}},
        {"outage": {"kind": "internal", "who": 1}},
    ],
)
def test_what_cannot_be_meant_is_refused(members: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="twin-settings"):
        modes_from_json(members, ModeSettings())
