"""Places and the line before them: order, bounds, who gives up, and what Retry-After says."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from service.admission import Admission
from service.pace import RETRY_LEAST_S, RETRY_MOST_S, BusyError, Pace, spread_s


def run(scene: Coroutine[Any, Any, None]) -> None:
    asyncio.run(scene)


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_whoever_waits_longest_is_next_and_nobody_passes() -> None:
    async def scene() -> None:
        admission, order = Admission(1, line_max=8, wait_s=30), list[int]()

        async def caller(number: int) -> None:
            await admission.enter()
            order.append(number)
            await settled()
            admission.leave(0.0)
            await admission.enter()  # a caller that was answered comes again at once, and stands behind the others
            order.append(number)
            admission.leave(0.0)

        await asyncio.gather(*(caller(number) for number in range(3)))
        assert order == [0, 1, 2, 0, 1, 2]
        await admission.enter()  # and the place is free again

    run(scene())


def test_the_line_is_bounded() -> None:
    async def scene() -> None:
        admission = Admission(1, line_max=1, wait_s=30)
        await admission.enter()
        waiting = asyncio.create_task(admission.enter())
        await settled()
        with pytest.raises(BusyError):
            await admission.enter()
        admission.leave(0.0)
        await waiting

    run(scene())


def test_a_turn_that_does_not_come_is_given_up() -> None:
    async def scene() -> None:
        admission = Admission(1, line_max=2, wait_s=0.01)
        await admission.enter()
        with pytest.raises(BusyError):
            await admission.enter()
        admission.leave(0.0)
        await admission.enter()  # whoever gave up holds no place

    run(scene())


@pytest.mark.parametrize("in_the_same_moment", [False, True])
def test_whoever_goes_away_takes_no_place_along(in_the_same_moment: bool) -> None:
    async def scene() -> None:
        admission = Admission(1, line_max=2, wait_s=30)
        await admission.enter()
        gone, next_one = (asyncio.create_task(admission.enter()) for _ in range(2))
        await settled()
        if in_the_same_moment:
            admission.leave(0.0)
            gone.cancel()
        else:
            gone.cancel()
            await settled()
            admission.leave(0.0)
        await next_one
        assert gone.cancelled()

    run(scene())


def test_how_long_to_wait_follows_the_measure(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = [0]
    monkeypatch.setattr("service.pace.secrets.randbelow", lambda _most: chance[0])
    measured = Pace(16)
    assert measured.retry_after_s(9) == 2  # nothing measured yet
    measured.took(0.5)
    assert measured.retry_after_s(15) == RETRY_LEAST_S
    assert measured.retry_after_s(159) == 5  # 160 requests, 16 at a time, half a second each
    assert measured.retry_after_s(10_000) == RETRY_MOST_S
    for _ in range(200):
        measured.took(0.05)
    assert measured.retry_after_s(159) == 1
    chance[0] = 999
    assert measured.retry_after_s(159) == 2
    assert (spread_s(3.0), spread_s(9.5), spread_s(0.0)) == (7, RETRY_MOST_S, RETRY_LEAST_S)


def test_callers_who_are_sent_away_together_are_told_different_times() -> None:
    assert {3, 4, 5} <= {Pace(4).retry_after_s(0) for _ in range(300)} <= {2, 3, 4, 5}
