"""Carry invocations to the enclave: taken once they are on disk, tried again while nothing is known, ended once.

The enclave gives identical bytes the same answer on one boot, so to try again is safe; on another boot it refuses them.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

from structlog.typing import FilteringBoundLogger

from pcrgate.errors import ErrorCode, PcrgateError, ServiceError
from pcrgate.wire.messages import Invoke, InvokeAnswer
from pcrgate.wire.problems import DETAIL_MAX_CHARACTERS
from service.enclave_desk import EnclaveDesk
from service.enclave_link import EnclaveRefusedError
from service.group_commit import GroupCommit
from service.metrics import Metrics
from service.pace import BusyError, Pace
from service.receipt_records import receipt_record
from service.state_store import Invocation, ResultState, StateStore

RETRY_FIRST_S: Final = 0.05
RETRY_MOST_S: Final = 2.0
RETRIES: Final = 10
"""Tries after the first, each waiting twice as long as the one before, up to two seconds: about 13 seconds in all, in
which an enclave that was restarted listens again."""

_AGAIN: Final = frozenset({ErrorCode.WIRE_LINK, ErrorCode.WIRE_BUSY})


class Dispatcher:
    """Own the invocations under way. Its methods run on one event loop."""

    def __init__(
        self,
        state: StateStore,
        desk: EnclaveDesk,
        *,
        metrics: Metrics,
        log: FilteringBoundLogger,
        at_once: int,
        waiting: int,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Begin with nothing under way.

        Args:
            state: where invocations lie.
            desk: the enclave.
            metrics: what is counted.
            log: where lines go.
            at_once: most that the enclave has at the same time.
            waiting: most that wait beside those.
            pause: waits so many seconds between tries.
        """
        self._state: Final = state
        self._desk: Final = desk
        self._metrics: Final = metrics
        self._log: Final = log
        self._turns: Final = asyncio.Semaphore(at_once)
        self._places: Final = at_once + waiting
        self._pace: Final = Pace(at_once)
        self._pause: Final = pause
        self._writes: Final = GroupCommit(state)
        self._tasks: Final[dict[str, asyncio.Task[Invocation | None]]] = {}
        self.draining = False

    async def submit(self, invocation: Invocation, *, idempotency_key: str | None = None) -> Invocation:
        """Take an invocation, or find the one that had the same key, and return it.

        Once it is on disk it is carried out, also when whoever asked went away while it was written.

        Raises:
            ServiceError: ``service-busy``, ``service-idempotency`` or ``service-store``.
        """
        if self.draining:
            raise ServiceError(ErrorCode.SERVICE_BUSY, "the service is about to end, expected another one")
        if len(self._tasks) >= self._places:
            raise BusyError(
                f"{self._places} invocations are under way, expected fewer", self._pace.retry_after_s(len(self._tasks))
            )
        return await self._writes.run(
            lambda: self._state.begin_invocation(invocation, idempotency_key=idempotency_key), then=self._start
        )

    async def take_up(self) -> int:
        """Go on with everything that an earlier process took and did not end; return how many."""
        left = await asyncio.to_thread(self._state.pending_invocations)
        for invocation in left:
            self._start(invocation)
        return len(left)

    async def wait(self, result_id: str, timeout_s: float) -> Invocation | None:
        """Return an invocation once it has ended and that is remembered; None when it is not so within the timeout."""
        task = self._tasks.get(result_id)
        if task is None or timeout_s <= 0:
            return None
        done, _ = await asyncio.wait({task}, timeout=timeout_s)
        return task.result() if done and not task.cancelled() else None

    async def drain(self, timeout_s: float) -> None:
        """Take nothing more and wait for what is under way; what takes longer stays pending for the next process."""
        self.draining = True
        tasks = set(self._tasks.values())
        if tasks:
            await asyncio.wait(tasks, timeout=timeout_s)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _start(self, invocation: Invocation) -> None:
        if invocation.state is not ResultState.PENDING or invocation.result_id in self._tasks:
            return
        task = asyncio.get_running_loop().create_task(self._carry(invocation))
        self._tasks[invocation.result_id] = task
        task.add_done_callback(lambda _: self._tasks.pop(invocation.result_id, None))

    async def _carry(self, invocation: Invocation) -> Invocation | None:
        async with self._turns:
            begun_s = time.monotonic()
            ended = await self._ended(invocation)
            self._pace.took(time.monotonic() - begun_s)
        record = receipt_record(ended.receipt)
        try:
            await self._writes.run(lambda: self._state.finish_invocation(ended, record))
        except ServiceError:  # the store failed: it stays pending, and is tried again after a restart
            return None
        self._metrics.invocation(done=ended.state is ResultState.DONE)
        return ended

    async def _ended(self, invocation: Invocation) -> Invocation:
        delay_s, left = RETRY_FIRST_S, RETRIES
        while True:
            try:
                answer = await self._desk.ask(Invoke(record=invocation.request), InvokeAnswer)
            except PcrgateError as error:
                if error.code not in _AGAIN or not left:
                    return _refused(invocation, error)
            except Exception as error:  # noqa: BLE001 - whatever it was, the caller is told that it is over
                self._log.error("unexpected", type=type(error).__name__)
                return _refused(invocation, PcrgateError(ErrorCode.INTERNAL, "the service failed"))
            else:
                return replace(invocation, state=ResultState.DONE, result=answer.record, receipt=answer.receipt)
            await self._pause(delay_s)
            delay_s, left = min(2 * delay_s, RETRY_MOST_S), left - 1


def _refused(invocation: Invocation, error: PcrgateError) -> Invocation:
    return replace(
        invocation,
        state=ResultState.REFUSED,
        receipt=error.problem.receipt if isinstance(error, EnclaveRefusedError) else None,
        problem_code=error.code.code,
        problem_detail=error.message[:DETAIL_MAX_CHARACTERS],
    )
