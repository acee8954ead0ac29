"""Rates of agents: at the bound and one past it, what comes back with time, and whose share it is."""

import contextlib
from concurrent.futures import ThreadPoolExecutor

import pytest

from enclave.rates import INVOCATION_RATE, SESSION_RATE, AgentRates, Rate
from enclave.sessions import SESSIONS_PER_AGENT_MAX
from pcrgate.errors import ErrorCode, PcrgateError

NOW = 1_700_000_000_000


def taken(rates: AgentRates, times: int, now_ms: int = NOW, agent: str = "one") -> int:
    """Return how many of so many requests are admitted."""
    admitted = 0
    for _ in range(times):
        with contextlib.suppress(PcrgateError):
            rates.take(agent, now_ms)
            admitted += 1
    return admitted


@pytest.mark.parametrize("rate", [INVOCATION_RATE, SESSION_RATE, Rate(per_s=3, burst=1)])
def test_a_burst_is_admitted_and_one_more_is_not(rate: Rate) -> None:
    rates = AgentRates(rate)
    assert taken(rates, rate.burst) == rate.burst
    with pytest.raises(PcrgateError, match=f"expected {rate.per_s} a second, {rate.burst} at once") as refused:
        rates.take("one", NOW)
    assert refused.value.code is ErrorCode.AGENT_RATE
    assert taken(rates, rate.burst + 1, agent="two") == rate.burst


def test_what_comes_back_comes_with_time_and_is_no_more_than_a_burst() -> None:
    rates = AgentRates(Rate(per_s=2, burst=3))
    assert taken(rates, 5) == 3
    assert taken(rates, 1, NOW + 499) == 0
    assert taken(rates, 2, NOW + 500) == 1
    assert taken(rates, 9, NOW + 2_000) == 3
    assert taken(rates, 9, NOW + 3_600_000) == 3


def test_a_refusal_uses_nothing_up_and_time_that_goes_back_gives_nothing() -> None:
    rates = AgentRates(Rate(per_s=1, burst=1))
    assert taken(rates, 100) == 1
    assert taken(rates, 1, NOW + 999) == 0
    assert taken(rates, 1, NOW + 1_000) == 1
    assert taken(rates, 1, NOW) == 0  # a thread that read the time before another did
    assert taken(rates, 1, NOW + 1_999) == 0
    assert taken(rates, 1, NOW + 2_000) == 1


def test_threads_share_what_there_is() -> None:
    rates = AgentRates(Rate(per_s=1, burst=500))
    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(lambda _: taken(rates, 200), range(4))) == 500


def test_an_agent_may_begin_all_its_sessions_at_once() -> None:
    assert SESSION_RATE.burst == SESSIONS_PER_AGENT_MAX
