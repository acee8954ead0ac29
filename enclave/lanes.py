"""Carry out requests on threads, each kind in a lane of its own, so that slow ones hold up only their like."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from functools import partial
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

        loop = asyncio.get_running_loop()
        ended: asyncio.Future[T] = loop.create_future()

        def carried_out() -> None:
            try:
                result = work()
            except BaseException as error:  # noqa: BLE001 - whoever waits is told, whatever it is
                tell: Callable[[], None] = partial(ended.set_exception, error)
            else:
                tell = partial(ended.set_result, result)
            with self._lock:
                self._pending[lane] -= 1
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(_unless_left, ended, tell)

        self._pools[lane].submit(carried_out)
        return await ended

    def close(self) -> None:
        """Start nothing more; what runs ends by itself."""
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)


def _unless_left(ended: "asyncio.Future[T]", tell: Callable[[], None]) -> None:
    if not ended.done():  # else nobody waits for it any more
        tell()
