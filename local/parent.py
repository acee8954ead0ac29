"""Run the parent's side of the enclave link on a laptop: relay and broker in a thread of their own."""

import asyncio
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from service.broker import Broker
from service.relay import Relay

START_TIMEOUT_S: Final = 10.0
"""Longest for an event loop to start or end."""

_T = TypeVar("_T")


class LaptopParent:
    """Serve one enclave until closed; a context manager."""

    def __init__(self, broker: Broker, relay: Relay) -> None:
        """Start the thread."""
        self._loop: Final = asyncio.new_event_loop()
        self._thread: Final = threading.Thread(target=self._loop.run_forever, name="laptop parent", daemon=True)
        self._thread.start()
        self._serving: Final = [
            asyncio.run_coroutine_threadsafe(part, self._loop) for part in (broker.serve(), relay.serve())
        ]

    def run(self, work: Coroutine[Any, Any, _T], timeout_s: float | None = None) -> _T:
        """Return what a coroutine returns, run on the parent's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout_s)

    def close(self) -> None:
        """Stop serving."""
        for future in self._serving:
            future.cancel()
        self.run(_ended(), START_TIMEOUT_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(START_TIMEOUT_S)
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


async def _ended() -> None:
    """Wait until every other task of the loop has ended."""
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
