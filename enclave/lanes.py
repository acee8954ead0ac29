"""Carry out requests on threads, each kind in a lane of its own, so that slow ones hold up only their like."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from typing import Final, Protocol, TypeVar

from pcrgate.errors import ErrorCode, WireError
from pcrgate.wire.frames import FrameType

T = TypeVar("T")


class Lane(Enum):
    """Name the lanes: threads, and how many requests may wait for one.

    Attributes:
        threads: how many requests are carried out at once.
        waiting: how many more may wait.
    """

    threads: int
    waiting: int

    def __init__(self, _name: str, threads: int, waiting: int) -> None:
        self.threads = threads
        self.waiting = waiting

    QUICK = ("quick", 2, 64)
    """Answers from memory, or after one document of the module."""

    RELEASE = ("release", 4, 32)
    """Answers that need KMS."""

    WORK = ("work", 2, 32)
    """Workloads: the processors are the limit."""


LANE_OF: Final = {
    FrameType.STATUS: Lane.QUICK,
    FrameType.EVIDENCE: Lane.QUICK,
    FrameType.RECEIPTS: Lane.QUICK,
    FrameType.DRAIN: Lane.QUICK,
    FrameType.SESSION_OPEN: Lane.RELEASE,
    FrameType.SESSION_CONFIRM: Lane.QUICK,
    FrameType.SESSION_RESUME: Lane.RELEASE,
    FrameType.SESSION_END: Lane.QUICK,
    FrameType.INVOKE: Lane.WORK,
}
"""The lane of every request that a parent may make."""


class Carrier(Protocol):
    """Run something elsewhere."""

    async def run(self, lane: Lane, work: Callable[[], T]) -> T:
        """Return what the work returns, or raise what it raises."""
        ...


class Lanes:
    """Own the threads."""

    def __init__(self) -> None:
        """Make the lanes; threads start when they are needed."""
        self._lock: Final = threading.Lock()
        self._pending: Final = dict.fromkeys(Lane, 0)
        self._pools: Final = {lane: ThreadPoolExecutor(lane.threads, f"lane-{lane.name.lower()}") for lane in Lane}

    async def run(self, lane: Lane, work: Callable[[], T]) -> T:
        """Return what the work returns; whoever stops waiting for it does not stop it, and its place stays taken.

        Raises:
            WireError: ``wire-busy`` when too many wait in this lane.
        """
        with self._lock:
            if self._pending[lane] >= lane.threads + lane.waiting:
                raise WireError(
                    ErrorCode.WIRE_BUSY, f"{self._pending[lane]} requests wait in this lane, expected fewer"
                )
            self._pending[lane] += 1

        def place_left() -> None:
            with self._lock:
                self._pending[lane] -= 1

        def carried_out() -> T:
            try:
                return work()
            finally:
                place_left()

        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._pools[lane], carried_out))

    def close(self) -> None:
        """Start nothing more; what runs ends by itself."""
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)
