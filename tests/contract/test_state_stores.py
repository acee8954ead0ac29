"""Every state store keeps the same contract; SQLite is the one that there is."""

import hashlib
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from pcrgate.errors import ErrorCode, ServiceError
from pcrgate.units import Sha384
from service import state_sqlite
from service.state_sqlite import SqliteStateStore
from service.state_store import (
    Artifact,
    Invocation,
    ReceiptRecord,
    ResultState,
    Role,
    SessionRecord,
    StateStore,
    StoredManifest,
    TokenRecord,
)

Opened = Callable[[], StateStore]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    """Open the store anew at each call, as another process would."""
    stores: list[StateStore] = []

    def opening() -> StateStore:
        stores.append(SqliteStateStore(tmp_path / "state.db"))
        return stores[-1]

    yield opening
    for store in stores:
        store.close()


def digest(text: str) -> Sha384:
    return Sha384(hashlib.sha384(text.encode()).digest())


def refused_with(call: Callable[[], object]) -> ErrorCode:
    with pytest.raises(ServiceError) as caught:
        call()
    return caught.value.code


def manifest(epoch: int, content: bytes = b"signed") -> StoredManifest:
    return StoredManifest(epoch=epoch, digest=digest(content.decode()), signed=content, created_ms=epoch)


def invocation(number: int, **changes: object) -> Invocation:
    made = Invocation(
        result_id=f"{number:032x}", caller="c1", session_id=b"s" * 16, request=b"sealed", created_ms=number
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # the fields of an invocation, by name


def receipt(sequence: int, boot: bytes = b"b") -> ReceiptRecord:
    content = boot + b"%d" % sequence
    named = hashlib.sha384(content).hexdigest()
    return ReceiptRecord(boot_id=boot * 32, sequence=sequence, receipt_id=named, receipt=content)


def test_artifacts(opened: Opened) -> None:
    made = Artifact(digest=digest("a"), header_digest=digest("h"), size_bytes=7, created_ms=1)
    bare = Artifact(digest=digest("b"), header_digest=None, size_bytes=8, created_ms=2)
    opened().add_artifact(made)
    opened().add_artifact(bare)
    opened().add_artifact(replace(made, created_ms=9))
    assert opened().artifact(digest("a")) == made
    assert opened().artifact(digest("b")) == bare
    assert opened().artifact(digest("c")) is None
    assert opened().artifact_by_header(digest("h")) == made
    assert opened().artifact_by_header(digest("a")) is None


def test_manifests_go_forward_only(opened: Opened) -> None:
    store = opened()
    assert store.manifest() is None
    store.add_manifest(manifest(3))
    store.add_manifest(manifest(3))
    assert refused_with(lambda: store.add_manifest(manifest(3, b"other"))) is ErrorCode.SERVICE_CONFLICT
    assert refused_with(lambda: store.add_manifest(manifest(2))) is ErrorCode.SERVICE_PRECONDITION
    store.add_manifest(manifest(4, b"next"))
    assert opened().manifest() == manifest(4, b"next")
    assert opened().manifest(3) == manifest(3)
    assert opened().manifest(5) is None
    assert opened().manifest_by_digest(manifest(3).digest) == manifest(3)
    assert opened().manifest_by_digest(digest("none")) is None


def test_tokens(opened: Opened) -> None:
    made = TokenRecord(token_id="ab", role=Role.PUBLISHER, name="press", hashed=b"h" * 32, created_ms=1)
    opened().add_token(made)
    assert opened().token("ab") == made
    assert opened().token("cd") is None
    assert opened().revoke_token("ab") is True
    assert opened().revoke_token("ab") is False
    assert opened().token("ab") == replace(made, revoked=True)


def test_sessions_belong_to_their_caller(opened: Opened) -> None:
    made = SessionRecord(session_id=b"s" * 16, caller="c1", ticket=b"t", created_ms=1)
    opened().add_session(made)
    opened().add_session(replace(made, ticket=b"later"))
    assert refused_with(lambda: opened().add_session(replace(made, caller="c2"))) is ErrorCode.SERVICE_CONFLICT
    assert opened().session(made.session_id) == replace(made, ticket=b"later")
    opened().end_session(made.session_id)
    assert opened().session(made.session_id) is None


def test_a_result_and_its_receipt_come_together(opened: Opened) -> None:
    begun = opened().begin_invocation(invocation(1))
    assert opened().invocation(begun.result_id) == begun
    assert opened().pending_invocations() == [begun]
    done = replace(begun, state=ResultState.DONE, result=b"sealed result", receipt=receipt(1).receipt)
    opened().finish_invocation(done, receipt(1))
    assert opened().invocation(begun.result_id) == done
    assert opened().pending_invocations() == []
    assert opened().receipts(b"b" * 32, limit=10) == [receipt(1)]
    assert opened().invocation("0" * 32) is None


def test_a_result_that_is_there_is_never_written_over(opened: Opened) -> None:
    begun = opened().begin_invocation(invocation(1))
    done = replace(begun, state=ResultState.DONE, result=b"first")
    opened().finish_invocation(done)
    opened().finish_invocation(replace(begun, state=ResultState.REFUSED, problem_code="internal"))
    assert opened().invocation(begun.result_id) == done


def test_pending_invocations_come_in_their_order(opened: Opened) -> None:
    store = opened()
    for number in (3, 1, 2):
        store.begin_invocation(invocation(number))
    assert [one.created_ms for one in opened().pending_invocations()] == [1, 2, 3]


def test_a_key_gives_the_first_invocation_again(opened: Opened) -> None:
    first = opened().begin_invocation(invocation(1), idempotency_key="k")
    assert opened().begin_invocation(invocation(2), idempotency_key="k") == first
    assert opened().begin_invocation(invocation(3, caller="c2"), idempotency_key="k").result_id != first.result_id
    assert len(opened().pending_invocations()) == 2
    for changed in (invocation(4, request=b"other"), invocation(4, session_id=b"t" * 16)):
        assert (
            refused_with(lambda changed=changed: opened().begin_invocation(changed, idempotency_key="k"))  # type: ignore[misc]  # bound now
            is ErrorCode.SERVICE_IDEMPOTENCY
        )


def test_without_a_key_every_invocation_is_its_own(opened: Opened) -> None:
    for number in (1, 2):
        opened().begin_invocation(invocation(number))
    assert len(opened().pending_invocations()) == 2


def test_waiting_invocations_are_bounded(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_sqlite, "RESULTS_PENDING_MAX", 2)
    store = opened()
    store.begin_invocation(invocation(1))
    second = store.begin_invocation(invocation(2))
    assert refused_with(lambda: store.begin_invocation(invocation(3))) is ErrorCode.SERVICE_BUSY
    store.finish_invocation(replace(second, state=ResultState.DONE, result=b"r"))
    store.begin_invocation(invocation(3))


def test_old_results_are_forgotten_and_pending_ones_and_receipts_are_not(opened: Opened) -> None:
    store = opened()
    for number in (1, 2, 3):
        begun = store.begin_invocation(invocation(number))
        if number != 1:
            store.finish_invocation(replace(begun, state=ResultState.DONE, result=b"r"), receipt(number))
    assert store.forget_results(3, most=10) == 1
    assert [store.invocation(f"{number:032x}") is None for number in (1, 2, 3)] == [False, True, False]
    assert len(store.receipts(b"b" * 32, limit=10)) == 2


def test_the_oldest_are_forgotten_first_and_no_more_than_was_said(opened: Opened) -> None:
    store = opened()
    for number in (5, 1, 4, 2):
        begun = store.begin_invocation(invocation(number))
        store.finish_invocation(replace(begun, state=ResultState.DONE, result=b"r"))
        store.add_session(SessionRecord(session_id=b"%016d" % number, caller="c", ticket=b"t", created_ms=number))
    assert store.forget_results(5, most=2) == store.forget_sessions(5, most=2) == 2
    kept = [number for number in (1, 2, 4, 5) if store.invocation(f"{number:032x}")]
    assert kept == [number for number in (1, 2, 4, 5) if store.session(b"%016d" % number)] == [4, 5]
    assert store.forget_results(5, most=2) == store.forget_sessions(5, most=2) == 1
    assert opened().forget_results(5, most=2) == opened().forget_sessions(5, most=2) == 0


def test_a_file_of_before_finds_the_oldest_as_quickly(tmp_path: Path) -> None:
    SqliteStateStore(tmp_path / "state.db").close()
    with closing(sqlite3.connect(tmp_path / "state.db")) as file:
        for name in ("invocations_created", "sessions_created"):
            file.execute(f"DROP INDEX {name}")
    SqliteStateStore(tmp_path / "state.db").close()
    with closing(sqlite3.connect(tmp_path / "state.db")) as file:
        for table, condition in (("invocations", "state <> 'pending'"), ("sessions", "TRUE")):
            query = f"SELECT rowid FROM {table} WHERE {condition} AND created_ms < 5 ORDER BY created_ms LIMIT 2"  # noqa: S608 - our own words
            plan = [row[-1] for row in file.execute(f"EXPLAIN QUERY PLAN {query}")]
            assert len(plan) == 1
            assert f"USING {'COVERING ' * (table == 'sessions')}INDEX {table}_created" in plan[0]


def test_receipts_keep_their_order(opened: Opened) -> None:
    opened().add_receipts([receipt(3), receipt(1), receipt(2), receipt(1, boot=b"c")])
    listed = opened().receipts(b"b" * 32, limit=2)
    assert listed == [receipt(1), receipt(2)]
    assert opened().receipts(b"b" * 32, after=listed[-1].sequence, limit=2) == [receipt(3)]
    assert opened().receipt(receipt(3).receipt_id) == receipt(3)
    assert opened().receipt("0" * 96) is None
    assert opened().boots() == [b"c" * 32, b"b" * 32]


def test_the_receipts_of_one_boot_are_forgotten_the_first_ones_first(opened: Opened) -> None:
    store = opened()
    store.add_receipts([receipt(3), receipt(1), receipt(2), receipt(1, boot=b"c")])
    assert store.forget_receipts(b"b" * 32, most=2) == 2
    assert opened().receipts(b"b" * 32, limit=9) == [receipt(3)]
    assert store.forget_receipts(b"b" * 32, most=2) == 1
    assert store.forget_receipts(b"b" * 32, most=2) == 0
    assert opened().boots() == [b"c" * 32]


def test_the_first_receipt_of_a_place_stays(opened: Opened) -> None:
    opened().add_receipts([receipt(1)])
    opened().add_receipts([replace(receipt(1), receipt=b"other", receipt_id="f" * 96), receipt(2)])
    assert opened().receipts(b"b" * 32, limit=9) == [receipt(1), receipt(2)]


def test_a_refused_write_leaves_nothing_behind(opened: Opened) -> None:
    store = opened()
    token = TokenRecord(token_id="ab", role=Role.CALLER, name="n", hashed=b"h", created_ms=1)
    store.add_token(token)
    assert refused_with(lambda: store.add_token(replace(token, role=Role.OPERATOR))) is ErrorCode.SERVICE_STORE
    assert store.token("ab") == token
    store.add_receipts([receipt(1)])


def test_a_file_of_another_version_is_refused(opened: Opened, tmp_path: Path) -> None:
    opened().close()
    with closing(sqlite3.connect(tmp_path / "state.db")) as connection:
        connection.execute("PRAGMA user_version = 2")
    assert refused_with(opened) is ErrorCode.SERVICE_STORE


def test_what_is_no_database_is_refused(opened: Opened, tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"not a database, " * 100)
    assert refused_with(opened) is ErrorCode.SERVICE_STORE


def test_the_file_is_for_its_owner_only(opened: Opened, tmp_path: Path) -> None:
    opened().add_receipts([receipt(1)])
    assert {path.stat().st_mode & 0o077 for path in tmp_path.glob("state.db*")} == {0}


def test_every_write_is_synced(tmp_path: Path) -> None:
    """FULL syncs the log at every commit; a lost power supply then loses nothing that was acknowledged."""
    store = SqliteStateStore(tmp_path / "state.db")
    assert store._connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert store._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    store.close()


def test_writes_together_are_each_done_whole_or_not_at_all(opened: Opened) -> None:
    store = opened()
    first, second = invocation(1), invocation(2, request=b"another")
    ended = store.together(
        [
            lambda: store.begin_invocation(first, idempotency_key="k"),
            lambda: store.begin_invocation(second, idempotency_key="k"),  # another request under the same key
            lambda: store.add_manifest(manifest(3)),
            lambda: store.add_manifest(manifest(3, b"other")),
            lambda: store.begin_invocation(second),
        ]
    )
    assert (ended[0], ended[2], ended[4]) == (first, None, second)
    assert [one.code for one in ended if isinstance(one, ServiceError)] == [
        ErrorCode.SERVICE_IDEMPOTENCY,
        ErrorCode.SERVICE_CONFLICT,
    ]
    assert opened().pending_invocations() == [first, second]
    assert opened().manifest() == manifest(3)
    assert store.together([]) == []
    store.add_receipts([receipt(1)])  # and by itself again
    assert opened().receipts(b"b" * 32, limit=9) == [receipt(1)]


def test_what_is_not_committed_is_not_read(opened: Opened) -> None:
    store = opened()
    seen: list[object] = []

    def look() -> None:
        store.add_receipts([receipt(1)])
        seen.append(store.receipt(receipt(1).receipt_id))

    store.together([look])
    assert seen == [None]
    assert store.receipt(receipt(1).receipt_id) == receipt(1)


def test_a_crash_among_writes_together_undoes_them_all(opened: Opened) -> None:
    store = opened()

    def crash() -> None:
        raise RuntimeError("crashed")

    with pytest.raises(RuntimeError):
        store.together([lambda: store.add_receipts([receipt(1)]), crash])
    assert opened().receipts(b"b" * 32, limit=9) == []
    store.add_receipts([receipt(2)])


def test_a_statement_that_fails_among_writes_together_fails_alone(opened: Opened) -> None:
    """A write of one statement has no savepoint of its own: SQLite undoes the statement, and keeps what others wrote."""
    store = opened()
    first, twice, last = invocation(1), invocation(1, request=b"the id is taken"), invocation(3)
    ended = store.together(
        [
            lambda: store.begin_invocation(first),
            lambda: store.begin_invocation(twice, idempotency_key="k"),
            lambda: store.add_receipts([receipt(1)]),
            lambda: store.begin_invocation(last),
        ]
    )
    assert (ended[0], ended[2], ended[3]) == (first, None, last)
    assert isinstance(ended[1], ServiceError)
    assert ended[1].code is ErrorCode.SERVICE_STORE
    assert opened().pending_invocations() == [first, last]
    assert opened().receipts(b"b" * 32, limit=9) == [receipt(1)]
    assert store.begin_invocation(invocation(4), idempotency_key="k") == invocation(4), "the key is still free"


@pytest.mark.parametrize("filling", ["invocation", "receipts"])
def test_a_full_disk_among_writes_together_keeps_none_of_them(tmp_path: Path, filling: str) -> None:
    """SQLite then ends the whole transaction by itself; what comes after must not be committed and told as failed."""
    store = SqliteStateStore(tmp_path / "state.db")
    connection = store._connection
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages + 8}")
    large = bytes(1 << 20)
    after: list[bool] = []
    too_much: dict[str, Callable[[], object]] = {
        "invocation": lambda: store.begin_invocation(invocation(2, request=large)),
        "receipts": lambda: store.add_receipts([replace(receipt(2), receipt=large)]),
    }

    def late() -> None:
        after.append(True)
        store.add_receipts([receipt(3)])

    writes: list[Callable[[], object]] = [lambda: store.begin_invocation(invocation(1)), too_much[filling], late]
    assert refused_with(lambda: store.together(writes)) is ErrorCode.SERVICE_STORE
    assert after == [], "nothing is tried after it"
    assert store.pending_invocations() == []
    assert store.receipts(b"b" * 32, limit=9) == []
    connection.execute("PRAGMA max_page_count = 100000")
    assert store.together([late]) == [None], "and the store lives on"
    assert store.receipts(b"b" * 32, limit=9) == [receipt(3)]
    store.close()
