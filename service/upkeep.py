"""Forget what nobody comes back for: results and tickets that are too old, uploads that stopped half-way.

In small pieces, each a transaction of its own, so that what agents wait for is written in between.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from structlog.typing import FilteringBoundLogger

from pcrgate.envelope.session_limits import LIFETIME_MAX_S
from pcrgate.errors import ServiceError
from service.state_store import StateStore
from service.uploads import Uploads

EVERY_S: Final = 300.0
"""Pause between two rounds: beside a day of results, five minutes more are little."""

PIECE: Final = 500
"""Most records that one transaction forgets: some milliseconds of a disk."""


class Upkeep:
    """Forget, again and again. Its methods run on one event loop."""

    def __init__(
        self,
        state: StateStore,
        uploads: Uploads,
        *,
        result_keep_s: int,
        upload_keep_s: int,
        log: FilteringBoundLogger,
        now_ms: Callable[[], int],
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Take what is looked after.

        Args:
            state: has results and sessions.
            uploads: knows those that are under way.
            result_keep_s: how long results are kept, in seconds.
            upload_keep_s: how long an upload may pause, in seconds.
            log: where lines go.
            now_ms: milliseconds since the epoch.
            pause: waits so many seconds between rounds.
        """
        self._state: Final = state
        self._uploads: Final = uploads
        self._result_keep_ms: Final = result_keep_s * 1000
        self._upload_keep_ms: Final = upload_keep_s * 1000
        self._log: Final = log
        self._now_ms: Final = now_ms
        self._pause: Final = pause

    async def run(self) -> None:
        """Begin with a round, and go on until cancelled; a store that fails is asked again in the next round."""
        while True:
            try:
                await self.once()
            except ServiceError as error:
                self._log.error("upkeep", code=error.code.code)
            except Exception as error:  # noqa: BLE001 - whatever it was, the next round comes
                self._log.error("unexpected", type=type(error).__name__)
            await self._pause(EVERY_S)

    async def once(self) -> None:
        """Forget everything that is too old by now, and log what it was.

        Raises:
            ServiceError: ``service-store``.
        """
        now_ms = self._now_ms()
        if count := await _by_pieces(partial(self._state.forget_results, now_ms - self._result_keep_ms)):
            self._log.info("results forgotten", count=count)
        if count := await _by_pieces(partial(self._state.forget_sessions, now_ms - LIFETIME_MAX_S * 1000)):
            self._log.info("sessions forgotten", count=count)
        if count := await self._uploads.forget(now_ms - self._upload_keep_ms):
            self._log.info("uploads forgotten", count=count)


async def _by_pieces(forget: Callable[..., int]) -> int:
    total = 0
    while True:
        count = await asyncio.to_thread(forget, most=PIECE)
        total += count
        if count < PIECE:
            return total
