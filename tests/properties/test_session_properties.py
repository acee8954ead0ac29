"""Sessions on arbitrary bytes and orders: our errors and nothing else, and every record once."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcrgate.envelope.session import HEADER_BYTES, Role, Session
from pcrgate.envelope.session_fields import NUMBER_MAX, number, pack, unpack
from pcrgate.envelope.session_identity import parse_identity, verify_identity
from pcrgate.envelope.session_limits import SessionLimits
from pcrgate.envelope.session_messages import Hello, Response
from pcrgate.envelope.session_ticket import Ticket
from pcrgate.errors import ErrorCode, SessionError
from tests.unit.envelope.session_stage import ENCLAVE_MS, Stage, refusal
from tests.unit.envelope.test_session_records import end

BOOT = Stage().boot()
NONCE = BOOT.attest()
AGENT = BOOT.agent(nonce=NONCE)
HELLO = AGENT.hello
OTHER = Stage().boot()
OTHER_AGENT = OTHER.agent()
RESPONSE = OTHER.accept(OTHER_AGENT.hello).response
TICKET = OTHER_AGENT.finish(RESPONSE).ticket
STATEMENT = BOOT.keys.statement.encode()

edits = st.tuples(st.integers(0, 1 << 16), st.integers(0, 40), st.binary(max_size=40))


def edited(data: bytes, edit: tuple[int, int, bytes]) -> bytes:
    at, removed, inserted = edit
    at %= len(data) + 1
    return data[:at] + inserted + data[at + removed :]


@settings(max_examples=200, deadline=None)
@given(fields=st.lists(st.one_of(st.binary(max_size=50), st.integers(0, NUMBER_MAX)), max_size=8))
def test_what_is_packed_comes_back(fields: list[bytes | int]) -> None:
    found = unpack(pack(b"label", *fields), b"label", len(fields))
    assert [number(a) if isinstance(b, int) else a for a, b in zip(found, fields, strict=True)] == fields


@settings(max_examples=300, deadline=None)
@given(a=st.lists(st.binary(max_size=6), max_size=4), b=st.lists(st.binary(max_size=6), max_size=4))
def test_different_fields_have_different_encodings(a: list[bytes], b: list[bytes]) -> None:
    assert (pack(b"l", *a) == pack(b"l", *b)) == (a == b)


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=300), count=st.integers(0, 4))
def test_arbitrary_bytes_are_read_to_their_very_bytes_or_refused(data: bytes, count: int) -> None:
    try:
        fields = unpack(data, b"", count)
    except SessionError:
        return
    assert pack(b"", *fields) == data


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=400))
def test_arbitrary_bytes_are_no_message(data: bytes) -> None:
    for read in (parse_identity, Hello.parse, Response.parse, Ticket.parse):
        with pytest.raises(SessionError):
            read(data)


@settings(max_examples=150, deadline=None)
@given(edit=edits)
def test_an_edited_statement_is_refused(edit: tuple[int, int, bytes]) -> None:
    data = edited(STATEMENT, edit)
    code = refusal(
        lambda: verify_identity(
            data, user_data=BOOT.keys.statement.digest.digest, public_key=BOOT.keys.statement.receipt_key
        )
    )
    assert code is (None if data == STATEMENT else ErrorCode.SESSION_IDENTITY)


@settings(max_examples=150, deadline=None)
@given(edit=edits)
def test_an_edited_hello_is_refused(edit: tuple[int, int, bytes]) -> None:
    data = edited(HELLO, edit)
    if data != HELLO:
        assert refusal(lambda: BOOT.accept(data)) is not None
    assert BOOT.stage.kms.calls == []


@settings(max_examples=150, deadline=None)
@given(edit=edits)
def test_an_edited_answer_is_refused(edit: tuple[int, int, bytes]) -> None:
    data = edited(RESPONSE, edit)
    assert (refusal(lambda: OTHER_AGENT.finish(data)) is None) == (data == RESPONSE)


@settings(max_examples=150, deadline=None)
@given(edit=edits)
def test_an_edited_confirmation_is_refused(edit: tuple[int, int, bytes]) -> None:
    data = edited(TICKET, edit)
    if data != TICKET:
        assert refusal(lambda: OTHER.handshake.confirm(data, now_ms=ENCLAVE_MS)) is not None


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=200), edit=edits)
def test_edited_and_arbitrary_records_are_refused_with_the_one_error(data: bytes, edit: tuple[int, int, bytes]) -> None:
    agent, enclave = end(Role.AGENT), end(Role.ENCLAVE)
    record = agent.seal(b"plaintext", now_ms=0).record
    for changed in (data, record[:HEADER_BYTES] + data, edited(record, edit)):
        if changed != record:
            assert refusal(lambda changed=changed: enclave.open(changed, now_ms=0)) is ErrorCode.SESSION_OPEN
    assert enclave.open(record, now_ms=0).plaintext == b"plaintext"


@settings(max_examples=60, deadline=None)
@given(order=st.lists(st.integers(0, 19), max_size=60))
def test_in_any_order_every_record_counts_once(order: list[int]) -> None:
    agent, enclave = end(Role.AGENT), end(Role.ENCLAVE)
    records = [agent.seal(bytes((n,)), now_ms=0).record for n in range(20)]
    opened: list[int] = []
    for at, n in enumerate(order):
        code = refusal(lambda n=n: opened.append(enclave.open(records[n], now_ms=0).plaintext[0]))
        assert code is (ErrorCode.SESSION_REPLAYED if n in order[:at] else None)
    assert opened == list(dict.fromkeys(order))


@settings(max_examples=60, deadline=None)
@given(sizes=st.lists(st.integers(0, 30), max_size=12), records=st.integers(1, 8), total=st.integers(1, 100))
def test_both_sides_count_alike(sizes: list[int], records: int, total: int) -> None:
    limits = SessionLimits(max_records=records, max_bytes=total)
    agent, enclave = end(Role.AGENT, limits=limits), end(Role.ENCLAVE, limits=limits)
    sent = _sent(agent, sizes)
    assert sum(len(enclave.open(record, now_ms=0).plaintext) for record in sent) <= total
    assert len(sent) <= records


def _sent(agent: Session, sizes: list[int]) -> list[bytes]:
    sent: list[bytes] = []
    for size in sizes:
        refusal(lambda size=size: sent.append(agent.seal(bytes(size), now_ms=0).record))
    return sent
