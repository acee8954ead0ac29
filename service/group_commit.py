"""Carry out writes of the state store off the event loop; those that come while the disk is busy share a commit."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeVar

from service.state_store import StateStore

BATCH_MAX: Final = 64
"""Most writes of one commit: what comes first does not wait for ever more to come."""

_T = TypeVar("_T")


class GroupCommit:
    """Own the writes under way. Its methods run on one event loop."""

    def __init__(self, state: StateStore) -> None:
        """Take the store; nothing is written yet."""
        self._state: Final = state
        self._waiting: Final[list[tuple[Callable[[], Any], asyncio.Future[Any]]]] = []
        self._committing: asyncio.Task[None] | None = None

    async def run(self, write: Callable[[], _T], *, then: Callable[[_T], None] | None = None) -> _T:
        """Return what a write returns once it is committed; whoever stops waiting for it does not stop it.

        Args:
            write: makes the change.
            then: is handed what the write returned, once it is committed and also when nobody waits for it any more.

        Raises:
            ServiceError: what the write raises, or ``service-store``.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_T] = loop.create_future()
        if then is not None:
            future.add_done_callback(partial(_handed_on, then))
        self._waiting.append((write, future))
        if self._committing is None:
            self._committing = loop.create_task(self._commit())
        return await asyncio.shield(future)

    async def _commit(self) -> None:
        while self._waiting:
            batch = self._waiting[:BATCH_MAX]
            del self._waiting[:BATCH_MAX]
            try:
                ended = await asyncio.to_thread(self._state.together, [write for write, _ in batch])
            except Exception as error:  # noqa: BLE001 - whatever it was, everybody who waits is told
                ended = [error] * len(batch)
            for (_, future), end in zip(batch, ended, strict=True):
                if isinstance(end, Exception):
                    future.set_exception(end)
                else:
                    future.set_result(end)
        self._committing = None


def _handed_on(then: Callable[[_T], None], future: "asyncio.Future[_T]") -> None:
    if future.exception() is None:
        then(future.result())
