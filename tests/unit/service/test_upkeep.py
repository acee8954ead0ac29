"""What nobody comes back for is forgotten: in pieces, again and again, and never what somebody still needs."""

import asyncio
import hashlib
import io
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from pcrgate.envelope.session_limits import LIFETIME_MAX_S
from pcrgate.errors import ErrorCode, ServiceError
from pcrgate.units import Sha384
from service import upkeep
from service.artifact_files import FileArtifactStore
from service.artifact_store import Upload
from service.log_lines import logger
from service.state_sqlite import SqliteStateStore
from service.state_store import Invocation, ResultState, SessionRecord
from service.upkeep import Upkeep
from service.uploads import Uploads, announced
from tests.support.commands import wait_until
from tests.support.service_stage import running_service

NOW_MS = 10**13
KEEP_S = 100
PART = 1 << 20
CONTENT = bytes(PART) + b"rest"
REST = announced("4", f"bytes {PART}-{PART + 3}/{PART + 4}", most=2 * PART)
NAME = Sha384(hashlib.sha384(CONTENT).digest())


@pytest.fixture
def state(tmp_path: Path) -> Iterator[SqliteStateStore]:
    with closing(SqliteStateStore(tmp_path / "state.db")) as made:
        yield made


@pytest.fixture
def artifacts(tmp_path: Path) -> FileArtifactStore:
    return FileArtifactStore(tmp_path / "artifacts")


class Rounds:
    """Count rounds, and end after so many."""

    def __init__(self, most: int) -> None:
        self.left = most
        self.paused: list[float] = []

    async def pause(self, seconds: float) -> None:
        self.paused.append(seconds)
        self.left -= 1
        if not self.left:
            raise asyncio.CancelledError


def kept(state: SqliteStateStore, artifacts: FileArtifactStore, *, rounds: int = 1) -> list[dict[str, object]]:
    """Run so many rounds, and return what was logged."""
    out, pauses = io.StringIO(), Rounds(rounds)
    keeping = Upkeep(
        state,
        Uploads(artifacts, state),
        result_keep_s=KEEP_S,
        upload_keep_s=KEEP_S,
        log=logger(out),
        now_ms=lambda: NOW_MS,
        pause=pauses.pause,
    )
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(keeping.run())
    assert pauses.paused == [upkeep.EVERY_S] * rounds
    return [json.loads(line) for line in out.getvalue().splitlines()]


def told(lines: list[dict[str, object]]) -> dict[object, object]:
    return {line["event"]: line["count"] for line in lines}


def add_result(state: SqliteStateStore, number: int, created_ms: int, *, ended: bool = True) -> str:
    begun = state.begin_invocation(
        Invocation(result_id=f"{number:032x}", caller="c", session_id=b"s" * 16, request=b"r", created_ms=created_ms)
    )
    if ended:
        state.finish_invocation(replace(begun, state=ResultState.DONE, result=b"sealed"))
    return begun.result_id


def test_more_results_than_one_piece_are_forgotten(
    state: SqliteStateStore, artifacts: FileArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "PIECE", 3)
    border_ms = NOW_MS - KEEP_S * 1000
    for number in range(7):
        add_result(state, number, border_ms - 1)
    at_border = add_result(state, 7, border_ms)
    pending = add_result(state, 8, 1, ended=False)
    assert told(kept(state, artifacts)) == {"results forgotten": 7}
    assert state.invocation(at_border) is not None
    assert [one.result_id for one in state.pending_invocations()] == [pending]


def test_a_ticket_is_kept_as_long_as_a_session_can_last(state: SqliteStateStore, artifacts: FileArtifactStore) -> None:
    border_ms = NOW_MS - LIFETIME_MAX_S * 1000
    for number, created_ms in enumerate((border_ms - 1, border_ms)):
        state.add_session(SessionRecord(session_id=b"%016d" % number, caller="c", ticket=b"t", created_ms=created_ms))
    assert told(kept(state, artifacts)) == {"sessions forgotten": 1}
    assert [state.session(b"%016d" % number) is None for number in (0, 1)] == [True, False]


def test_an_upload_that_stopped_is_dropped(state: SqliteStateStore, artifacts: FileArtifactStore) -> None:
    artifacts.append(NAME, 0, CONTENT[:PART])
    assert told(kept(state, artifacts)) == {"uploads forgotten": 1}
    assert artifacts.upload(NAME) == Upload(received_bytes=0, complete=False)


def test_an_upload_under_way_is_left_alone(state: SqliteStateStore, artifacts: FileArtifactStore) -> None:
    uploads = Uploads(artifacts, state)
    artifacts.append(NAME, 0, CONTENT[:PART])

    async def scenario() -> int:
        dropped: list[int] = []

        async def body() -> AsyncIterator[bytes]:
            dropped.append(await uploads.forget(NOW_MS))
            yield CONTENT[PART:]

        await uploads.receive(NAME, REST, body(), now_ms=1)
        return dropped[0]

    assert asyncio.run(scenario()) == 0
    assert b"".join(artifacts.read(NAME)) == CONTENT


def test_nobody_goes_on_with_an_upload_while_it_is_dropped(
    state: SqliteStateStore, artifacts: FileArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploads = Uploads(artifacts, state)
    artifacts.append(NAME, 0, CONTENT[:PART])
    refused: list[ErrorCode] = []
    discard = artifacts.discard

    async def rest() -> AsyncIterator[bytes]:
        yield CONTENT[PART:]

    async def meanwhile() -> None:
        try:
            await uploads.receive(NAME, REST, rest(), now_ms=1)
        except ServiceError as error:
            refused.append(error.code)

    async def scenario() -> int:
        loop = asyncio.get_running_loop()

        def discarded(digest: Sha384) -> None:
            asyncio.run_coroutine_threadsafe(meanwhile(), loop).result()
            discard(digest)

        monkeypatch.setattr(artifacts, "discard", discarded)
        return await uploads.forget(NOW_MS)

    assert asyncio.run(scenario()) == 1
    assert refused == [ErrorCode.SERVICE_CONFLICT]


def test_a_store_that_fails_is_asked_again(state: SqliteStateStore, artifacts: FileArtifactStore) -> None:
    state.close()
    lines = kept(state, artifacts, rounds=2)
    assert [(line["event"], line["code"]) for line in lines] == [("upkeep", ErrorCode.SERVICE_STORE.code)] * 2


def test_an_error_of_ours_ends_no_round_but_its_own(
    state: SqliteStateStore, artifacts: FileArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifacts, "unfinished", None)
    lines = kept(state, artifacts, rounds=2)
    assert [(line["event"], line["type"]) for line in lines] == [("unexpected", "TypeError")] * 2


@pytest.mark.network
def test_a_running_service_keeps_house(tmp_path: Path) -> None:
    with closing(SqliteStateStore(tmp_path / "state.db")) as before:
        old = add_result(before, 1, created_ms=1)
    with running_service(tmp_path) as service:
        wait_until(lambda: service.state.invocation(old) is None)
        wait_until(lambda: '"results forgotten"' in service.log.getvalue())
