"""The desk keeps every receipt that comes by, and fetches those that it lacks, page by page, however an enclave answers."""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pcrgate.errors import ErrorCode
from pcrgate.wire.limits import RECEIPTS_MAX
from pcrgate.wire.messages import (
    Invoke,
    InvokeAnswer,
    Message,
    Problem,
    ReceiptsAnswer,
    ReceiptsRequest,
    SessionConfirm,
    SessionConfirmAnswer,
    StatusAnswer,
    StatusRequest,
)
from service.enclave_desk import PAGES_MAX, EnclaveDesk
from service.enclave_link import EnclaveRefusedError
from service.state_sqlite import SqliteStateStore
from tests.unit.service.test_dispatching import placed

BOOT = bytes(32)


class BookLink:
    """Answer with receipts out of a book, from the number asked for; everything else from a script."""

    def __init__(self, *, last: int = 0, answer: Message | None = None, stuck: bool = False) -> None:
        self.last, self.answer, self.stuck = last, answer, stuck
        self.asked: list[int] = []

    async def ask(self, message: Message, expected: Any) -> Any:  # noqa: ARG002 - the shape of a link
        if not isinstance(message, ReceiptsRequest):
            if isinstance(self.answer, Problem):
                raise EnclaveRefusedError(self.answer)
            return self.answer
        self.asked.append(message.first)
        first = 1 if self.stuck else message.first
        page = range(first, min(self.last, first + RECEIPTS_MAX - 1) + 1)
        return ReceiptsAnswer(receipts=tuple(placed(BOOT, number) for number in page))

    async def close(self) -> None:
        self.asked.append(-1)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[SqliteStateStore]:
    with closing(SqliteStateStore(tmp_path / "state.db")) as made:
        yield made


def numbers(state: SqliteStateStore) -> list[int]:
    return [record.sequence for record in state.receipts(BOOT, limit=10 * RECEIPTS_MAX)]


@pytest.mark.parametrize("last", [0, 1, RECEIPTS_MAX - 1, RECEIPTS_MAX, RECEIPTS_MAX + 1, 3 * RECEIPTS_MAX])
def test_all_pages_are_fetched(state: SqliteStateStore, last: int) -> None:
    link = BookLink(last=last)
    boot = asyncio.run(EnclaveDesk(link, state).collect_receipts())
    assert numbers(state) == list(range(1, last + 1))
    assert boot == (BOOT if last else None)
    assert link.asked == [1 + page * RECEIPTS_MAX for page in range(last // RECEIPTS_MAX + 1)]


def test_what_is_there_is_not_fetched_again(state: SqliteStateStore) -> None:
    """The first page is always fetched, since it names the boot; after it only what is missing."""
    asyncio.run(EnclaveDesk(BookLink(last=3 * RECEIPTS_MAX), state).collect_receipts())
    link = BookLink(last=3 * RECEIPTS_MAX + 5)
    asyncio.run(EnclaveDesk(link, state).collect_receipts())
    assert link.asked == [1, 3 * RECEIPTS_MAX + 1]
    assert numbers(state)[-1] == 3 * RECEIPTS_MAX + 5


def test_a_gap_is_filled(state: SqliteStateStore) -> None:
    link = BookLink(last=2 * RECEIPTS_MAX)
    desk = EnclaveDesk(link, state)

    async def run() -> None:
        link.answer = SessionConfirmAnswer(session_id=bytes(16), receipt=placed(BOOT, RECEIPTS_MAX + 7))
        await desk.ask(SessionConfirm(ticket=b"t"), SessionConfirmAnswer)
        await desk.collect_receipts()
        await desk.close()

    asyncio.run(run())
    assert numbers(state) == list(range(1, 2 * RECEIPTS_MAX + 1))
    assert link.asked == [1, RECEIPTS_MAX + 1, 2 * RECEIPTS_MAX + 1, -1]


def test_an_enclave_that_repeats_itself_ends_all_the_same(state: SqliteStateStore) -> None:
    link = BookLink(last=RECEIPTS_MAX, stuck=True)
    asyncio.run(EnclaveDesk(link, state).collect_receipts())
    assert len(link.asked) <= PAGES_MAX
    assert numbers(state) == list(range(1, RECEIPTS_MAX + 1))


def test_receipts_of_refusals_are_kept_but_those_of_invocations_come_with_their_result(state: SqliteStateStore) -> None:
    async def run() -> None:
        refusing = EnclaveDesk(BookLink(answer=Problem(code="session-ticket", detail="d", receipt=placed())), state)
        with pytest.raises(EnclaveRefusedError) as caught:
            await refusing.ask(SessionConfirm(ticket=b"t"), SessionConfirmAnswer)
        assert caught.value.code is ErrorCode.SESSION_TICKET
        assert numbers(state) == [1]
        late = Problem(code="session-unknown", detail="d", receipt=placed(sequence=2))
        with pytest.raises(EnclaveRefusedError):
            await EnclaveDesk(BookLink(answer=late), state).ask(Invoke(record=b"r"), InvokeAnswer)
        done = InvokeAnswer(record=b"r", receipt=placed(sequence=3))
        assert await EnclaveDesk(BookLink(answer=done), state).ask(Invoke(record=b"r"), InvokeAnswer) == done
        assert numbers(state) == [1]
        silent = EnclaveDesk(BookLink(answer=Problem(code="session-ticket", detail="d")), state)
        with pytest.raises(EnclaveRefusedError):
            await silent.ask(SessionConfirm(ticket=b"t"), SessionConfirmAnswer)
        live = StatusAnswer(phase="live", failure=None, counters={})
        assert await EnclaveDesk(BookLink(answer=live), state).ask(StatusRequest(), StatusAnswer) == live

    asyncio.run(run())
    assert numbers(state) == [1]
