"""The parts between REST and the enclave, each with a link that answers from a script: busy, gone, refusing, done."""

import asyncio
import io
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pcrgate.attestation.cbor import encode
from pcrgate.errors import ErrorCode, PcrgateError, ServiceError, UsageError, WireError
from pcrgate.receipts.envelope import PROTECTED
from pcrgate.receipts.wire import ATTESTED, BOOTSEED, OBSERVED, SEQUENCE
from pcrgate.wire.messages import InvokeAnswer, Message, Problem
from service import rate_limits
from service.dispatcher import RETRIES, Dispatcher
from service.enclave_desk import EnclaveDesk
from service.enclave_link import EnclaveRefusedError
from service.group_commit import GroupCommit
from service.log_lines import logger
from service.metrics import Metrics
from service.rate_limits import RateExceededError, RateLimits
from service.receipt_records import receipt_record
from service.state_sqlite import SqliteStateStore
from service.state_store import Invocation, ResultState, Role
from service.tokens import Tokens, token_key
from tests.support.commands import wait_until

DONE = InvokeAnswer(record=b"sealed result", receipt=b"no receipt")
SIGNATURE = (bytes(47) + b"\x01") * 2
GONE = WireError(ErrorCode.WIRE_LINK, "gone")


class ScriptedLink:
    """Answer each request with the next entry of a script; the last one stays."""

    def __init__(self, *script: Message | Exception) -> None:
        self.script = list(script)
        self.asked = 0

    async def ask(self, message: Message, expected: Any) -> Any:  # noqa: ARG002 - the shape of a link
        self.asked += 1
        entry = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(entry, Exception):
            raise entry
        return entry

    async def close(self) -> None:
        self.asked = -1


@pytest.fixture
def state(tmp_path: Path) -> Iterator[SqliteStateStore]:
    with closing(SqliteStateStore(tmp_path / "state.db")) as made:
        yield made


def invocation(number: int = 1) -> Invocation:
    return Invocation(
        result_id=f"{number:032x}", caller="c", session_id=bytes(16), request=b"sealed", created_ms=number
    )


async def no_pause(_seconds: float) -> None:
    await asyncio.sleep(0)


def dispatcher(state: SqliteStateStore, link: ScriptedLink, **bounds: int) -> Dispatcher:
    desk = EnclaveDesk(link, state)
    limits = {"at_once": 1, "waiting": 1, **bounds}
    return Dispatcher(state, desk, metrics=Metrics(), log=logger(io.StringIO()), pause=no_pause, **limits)


def ended(state: SqliteStateStore, *script: Message | Exception) -> tuple[Invocation, int]:
    """Return how an invocation ends, and how often the enclave was asked."""
    link = ScriptedLink(*script)

    async def run() -> None:
        made = dispatcher(state, link)
        await made.submit(invocation())
        await made.wait(invocation().result_id, 10)

    asyncio.run(run())
    found = state.invocation(invocation().result_id)
    assert found is not None
    return found, link.asked


def test_an_enclave_that_comes_back_is_asked_again(state: SqliteStateStore) -> None:
    busy = EnclaveRefusedError(Problem(code="wire-busy", detail="later"))
    found, asked = ended(state, GONE, busy, DONE)
    assert (found.state, found.result, asked) == (ResultState.DONE, b"sealed result", 3)


def test_an_enclave_that_stays_away_ends_it(state: SqliteStateStore) -> None:
    found, asked = ended(state, GONE)
    assert (found.state, found.problem_code, asked) == (ResultState.REFUSED, "wire-link", RETRIES + 1)


def test_a_refusal_is_the_end(state: SqliteStateStore) -> None:
    found, asked = ended(state, EnclaveRefusedError(Problem(code="session-unknown", detail="no", receipt=b"r")))
    assert (found.state, found.problem_code, found.receipt, asked) == (ResultState.REFUSED, "session-unknown", b"r", 1)


def test_what_nobody_foresaw_is_told_without_its_text(state: SqliteStateStore) -> None:
    found, _ = ended(state, RuntimeError("canary"))
    assert (found.state, found.problem_code) == (ResultState.REFUSED, "internal")
    assert "canary" not in (found.problem_detail or "")


def test_what_an_earlier_process_took_is_taken_up(state: SqliteStateStore) -> None:
    state.begin_invocation(invocation())

    async def run() -> int:
        made = dispatcher(state, ScriptedLink(DONE))
        left = await made.take_up()
        await made.wait(invocation().result_id, 10)
        return left

    assert asyncio.run(run()) == 1
    assert state.pending_invocations() == []


def test_what_is_on_disk_is_carried_out_although_its_caller_went_away(state: SqliteStateStore, tmp_path: Path) -> None:
    def done() -> bool:
        found = state.invocation(invocation().result_id)
        return found is not None and found.state is ResultState.DONE

    async def run() -> None:
        made = dispatcher(state, ScriptedLink(DONE))
        with closing(sqlite3.connect(tmp_path / "state.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")  # whoever else writes: the commit waits
            asked = asyncio.ensure_future(made.submit(invocation()))
            await asyncio.sleep(0.05)
            asked.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asked
            other.execute("ROLLBACK")
        await asyncio.to_thread(wait_until, done)

    asyncio.run(run())


def test_places_are_bounded_and_draining_takes_nothing(state: SqliteStateStore) -> None:
    class Never(ScriptedLink):
        async def ask(self, message: Message, expected: Any) -> Any:  # noqa: ARG002 - the shape of a link
            await asyncio.Event().wait()

    async def run() -> list[ErrorCode]:
        made = dispatcher(state, Never(DONE))
        codes = []
        for number in (1, 2, 3):
            try:
                await made.submit(invocation(number))
            except ServiceError as error:
                codes.append(error.code)
        await made.drain(0.01)
        with pytest.raises(ServiceError) as caught:
            await made.submit(invocation(4))
        return [*codes, caught.value.code]

    assert asyncio.run(run()) == [ErrorCode.SERVICE_BUSY] * 2
    assert len(state.pending_invocations()) == 2  # for the next process


def receipt_with(claims: Any) -> bytes:
    return b"\xd2" + encode([PROTECTED, {}, encode(claims), SIGNATURE])


def placed(boot_id: object = bytes(32), sequence: object = 1) -> bytes:
    return receipt_with({ATTESTED: {BOOTSEED: boot_id}, OBSERVED: {SEQUENCE: sequence}})


def test_what_is_no_receipt_has_no_place() -> None:
    found = receipt_record(placed())
    assert found is not None
    assert (found.boot_id, found.sequence) == (bytes(32), 1)
    assert receipt_record(placed(sequence=(1 << 63) - 1)) is not None
    for nothing in (
        None,
        b"no receipt",
        receipt_with([]),
        receipt_with({ATTESTED: {BOOTSEED: bytes(32)}}),
        b"\xd2" + encode([PROTECTED, {}, b"\xff", SIGNATURE]),
        placed(boot_id=bytes(31)),
        placed(boot_id="text"),
        placed(sequence=0),
        placed(sequence=1 << 63),
        placed(sequence=True),
    ):
        assert receipt_record(nothing) is None


def test_writes_that_come_while_the_disk_is_busy_share_a_commit(state: SqliteStateStore) -> None:
    sizes: list[int] = []
    original = state.together

    def counted(writes: Sequence[Callable[[], object]]) -> list[object]:
        sizes.append(len(writes))
        return original(writes)

    async def run() -> None:
        writes = GroupCommit(state)
        state.together = counted  # type: ignore[method-assign]  # the real one, counted
        made = [asyncio.ensure_future(writes.run(partial(state.begin_invocation, invocation(n)))) for n in range(100)]
        made[7].cancel()  # whoever leaves stops nothing
        ended = await asyncio.gather(*made, return_exceptions=True)
        assert [one for n, one in enumerate(ended) if n != 7] == [invocation(n) for n in range(100) if n != 7]
        again = await asyncio.gather(
            writes.run(partial(state.begin_invocation, invocation(1))), writes.run(lambda: 5), return_exceptions=True
        )
        assert isinstance(again[0], ServiceError)  # the name is taken
        assert again[1] == 5

    asyncio.run(run())
    assert len(state.pending_invocations()) >= 99
    assert len(sizes) <= 4


def test_a_commit_that_fails_is_told_to_all_who_wait(state: SqliteStateStore) -> None:
    async def run() -> list[object]:
        writes = GroupCommit(state)
        state.close()
        begun = [writes.run(partial(state.begin_invocation, invocation(n))) for n in range(3)]
        return await asyncio.gather(*begun, return_exceptions=True)

    ended = asyncio.run(run())
    assert [one.code for one in ended if isinstance(one, ServiceError)] == [ErrorCode.SERVICE_STORE] * 3


def test_a_store_that_fails_leaves_it_to_the_next_process(state: SqliteStateStore) -> None:
    async def run() -> Invocation | None:
        made = dispatcher(state, ScriptedLink(DONE))

        def refuse(*_: object) -> None:
            raise ServiceError(ErrorCode.SERVICE_STORE, "the disk is full")

        state.finish_invocation = refuse  # type: ignore[method-assign,assignment]  # as a disk would
        await made.submit(invocation())
        return await made.wait(invocation().result_id, 10)

    assert asyncio.run(run()) is None
    assert state.pending_invocations() == [invocation()]


def test_rates_refill_and_callers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    rates = RateLimits(per_s=0.5, burst=1, clock=lambda: now[0])
    rates.take("a")
    with pytest.raises(RateExceededError) as caught:
        rates.take("a")
    assert caught.value.retry_after_s == 2
    now[0] = 2.0
    rates.take("a")
    monkeypatch.setattr(rate_limits, "CALLERS_MAX", 1)
    rates.take("b")
    rates.take("a")  # forgotten, so its bucket is full again


def test_a_field_that_is_not_listed_reaches_no_log() -> None:
    out = io.StringIO()
    with pytest.raises(ValueError, match="not listed"):
        logger(out).info("request", token="canary")
    assert out.getvalue() == ""


def test_keys_of_tokens(tmp_path: Path, state: SqliteStateStore) -> None:
    path = tmp_path / "token.key"
    assert token_key(path) == token_key(path)
    assert path.stat().st_mode & 0o077 == 0
    token = Tokens(state, token_key(path)).make(Role.CALLER, "n", now_ms=1)
    with pytest.raises(PcrgateError):
        Tokens(state, bytes(32)).check(f"Bearer {token}")  # another key, another hash
    path.write_bytes(b"short")
    for place in (path, tmp_path / "absent" / "key", tmp_path):
        with pytest.raises(UsageError) as caught:
            token_key(place)
        assert caught.value.code is ErrorCode.SERVICE_SETTINGS
