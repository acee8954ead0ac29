import time

import pytest

from pcrgate.errors import UsageError
from pcrgate.twin.clock import _MAX_ADVANCE_S, TwinClock


def test_a_frozen_clock_moves_only_when_told() -> None:
    clock = TwinClock.frozen(1_000)
    assert (clock(), clock.now_ms(), clock.is_frozen) == (1_000, 1_000, True)
    assert clock.advance(2.5) == 3_500
    assert clock.now().isoformat() == "1970-01-01T00:00:03.500000+00:00"


def test_a_running_clock_follows_the_machine_and_keeps_its_shift() -> None:
    clock = TwinClock.running()
    before = time.time_ns() // 1_000_000
    assert not clock.is_frozen
    assert before <= clock() <= time.time_ns() // 1_000_000
    clock.advance(60)
    assert clock() >= before + 60_000


@pytest.mark.parametrize("seconds", [-0.001, _MAX_ADVANCE_S + 1, float("nan")])
def test_time_neither_runs_backwards_nor_overflows(seconds: float) -> None:
    with pytest.raises(UsageError, match="usage-time"):
        TwinClock.frozen(0).advance(seconds)


def test_the_longest_jump_is_taken() -> None:
    assert TwinClock.frozen(0).advance(_MAX_ADVANCE_S) == _MAX_ADVANCE_S * 1000
