"""One measured number with its bound, and the way to measure: interleaved repetitions, medians, ratios in one run."""

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Self

MIN_SAMPLE_S = 0.002
"""A sample lasts at least this long, so that the clock's resolution and a tick of the scheduler stay below one percent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """Hold one figure of a group.

    Attributes:
        name: what was measured, unique in its group.
        value: the number.
        unit: its unit; ``x`` for a ratio.
        bound: what an issue demands, in words (``at most 6``); empty for a figure without a demand.
        ok: whether the value keeps the bound.
    """

    name: str
    value: float
    unit: str
    bound: str
    ok: bool

    @classmethod
    def at_most(cls, name: str, value: float, unit: str, bound: float) -> Self:
        """Make a figure that must not be above its bound."""
        return cls(name=name, value=value, unit=unit, bound=f"at most {bound:g}", ok=value <= bound)

    @classmethod
    def at_least(cls, name: str, value: float, unit: str, bound: float) -> Self:
        """Make a figure that must not be below its bound."""
        return cls(name=name, value=value, unit=unit, bound=f"at least {bound:g}", ok=value >= bound)

    @classmethod
    def plain(cls, name: str, value: float, unit: str) -> Self:
        """Make a figure that nobody bounded: it is reported, and always ok."""
        return cls(name=name, value=value, unit=unit, bound="", ok=True)


def interleaved(
    callables: Mapping[str, Callable[[], object]], repetitions: int = 25, min_time_s: float = MIN_SAMPLE_S
) -> Mapping[str, float]:
    """Return the median seconds of one call of each, measured in turns so that a slow moment of the machine hits all.

    Args:
        callables: what to measure, by name.
        repetitions: how many samples of each.
        min_time_s: each sample calls often enough to last about this long.

    Returns:
        For each name the median over the samples of seconds a call.
    """
    loops = {name: _loops(call, min_time_s) for name, call in callables.items()}
    samples: dict[str, list[float]] = {name: [] for name in callables}
    names = list(callables)
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        for turn in range(repetitions):
            # Every other turn runs backwards: no callable always follows the same neighbour.
            for name in names if turn % 2 == 0 else reversed(names):
                samples[name].append(_sample(callables[name], loops[name]))
            gc.collect()
    finally:
        if was_enabled:
            gc.enable()
    return {name: statistics.median(values) for name, values in samples.items()}


def _loops(call: Callable[[], object], min_time_s: float) -> int:
    call()  # warm-up: imports, caches, lazily built tables
    loops = 1
    while _sample(call, loops) * loops < min_time_s:
        loops *= 2
    return loops


def _sample(call: Callable[[], object], loops: int) -> float:
    start = time.perf_counter()
    for _ in range(loops):
        call()
    return (time.perf_counter() - start) / loops
