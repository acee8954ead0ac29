"""Let so many requests in at once; the next ones wait in line, in their order, for no longer than makes sense.

Without the line a caller that was just answered takes the place again before anybody who was sent away comes back.
No body is read in line.
"""

import asyncio
from collections import deque
from typing import Final

from service.pace import BusyError, Pace


class Admission:
    """Hold the places. Its methods run on one event loop."""

    def __init__(self, places: int, *, line_max: int, wait_s: float) -> None:
        """Begin with all places free.

        Args:
            places: most requests in progress.
            line_max: most that wait.
            wait_s: longest wait.
        """
        self._places: Final = places
        self._line_max: Final = line_max
        self._wait_s: Final = wait_s
        self._pace: Final = Pace(places)
        self._line: Final[deque[asyncio.Future[None]]] = deque()
        self._taken = 0

    async def enter(self) -> None:
        """Take a place, now or when it is one's turn; whoever enters leaves.

        Raises:
            BusyError: ``service-busy`` when the line is full, or the turn does not come in time.
        """
        if self._taken < self._places:
            self._taken += 1
            return
        if len(self._line) >= self._line_max:
            raise self._busy()
        turn = asyncio.get_running_loop().create_future()
        self._line.append(turn)
        try:
            await asyncio.wait({turn}, timeout=self._wait_s)
        except BaseException:
            self._give_up(turn)
            raise
        if not turn.done():
            self._give_up(turn)
            raise self._busy()

    def leave(self, held_s: float) -> None:
        """Give a place to the first in line.

        Args:
            held_s: how long it was held.
        """
        self._pace.took(held_s)
        self._pass_on()

    def _pass_on(self) -> None:
        if self._line:
            self._line.popleft().set_result(None)
        else:
            self._taken -= 1

    def _give_up(self, turn: "asyncio.Future[None]") -> None:
        if turn.done():  # it came in the same moment
            self._pass_on()
        else:
            self._line.remove(turn)

    def _busy(self) -> BusyError:
        ahead = self._taken + len(self._line)
        return BusyError(
            f"{self._places} requests are in progress and others wait, expected fewer", self._pace.retry_after_s(ahead)
        )
