"""A record means one thing, in one direction, on one boot, once."""

import hmac
import secrets
import threading

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pcrgate.envelope import session as session_module
from pcrgate.envelope.materials import SecretBytes
from pcrgate.envelope.session import (
    HEADER_BYTES,
    RECORD_MAX_BYTES,
    TAG_BYTES,
    Role,
    Session,
    record_digest,
    record_session,
)
from pcrgate.envelope.session_fields import pack
from pcrgate.envelope.session_keys import DATA_KEY_BYTES, key_commitment, session_keys
from pcrgate.envelope.session_labels import (
    CONTENT,
    KEY_AGENT_TO_ENCLAVE,
    KEY_COMMITMENT,
    KEY_DIGEST,
    KEY_ENCLAVE_TO_AGENT,
    RECORD,
)
from pcrgate.envelope.session_limits import SessionLimits
from pcrgate.envelope.session_window import REPLAY_WINDOW_RECORDS, ReplayWindow
from pcrgate.errors import ErrorCode, SessionError
from tests.unit.envelope.session_stage import AGENT, MANIFEST, hkdf_sha384, refusal

BOOT = b"\7" * 32
SESSION = b"\5" * 16
DATA_KEY, AGENT_SECRET = b"\1" * DATA_KEY_BYTES, b"\2" * 32


def end(
    role: Role, *, limits: SessionLimits | None = None, boot_id: bytes = BOOT, session_id: bytes = SESSION
) -> Session:
    return Session(
        role=role,
        session_id=session_id,
        agent_id=AGENT,
        boot_id=boot_id,
        keys=session_keys(SecretBytes(DATA_KEY), SecretBytes(AGENT_SECRET), MANIFEST),
        limits=limits or SessionLimits(),
        expires_ms=1_000,
    )


def ends(**more: SessionLimits) -> tuple[Session, Session]:
    return end(Role.AGENT, **more), end(Role.ENCLAVE, **more)  # type: ignore[arg-type]


def test_the_key_schedule_is_hkdf_as_written_down() -> None:
    keys = session_keys(SecretBytes(DATA_KEY), SecretBytes(AGENT_SECRET), MANIFEST)
    both, salt = DATA_KEY + AGENT_SECRET, MANIFEST.digest
    assert keys.agent_to_enclave.secret.reveal() == hkdf_sha384(both, salt, KEY_AGENT_TO_ENCLAVE, 44)
    assert keys.enclave_to_agent.secret.reveal() == hkdf_sha384(both, salt, KEY_ENCLAVE_TO_AGENT, 44)
    assert keys.digest.reveal() == hkdf_sha384(both, salt, KEY_DIGEST, 48)
    assert key_commitment(SecretBytes(DATA_KEY), MANIFEST) == hkdf_sha384(DATA_KEY, salt, KEY_COMMITMENT, 48)


def test_a_record_is_what_the_protocol_says() -> None:
    secret = hkdf_sha384(DATA_KEY + AGENT_SECRET, MANIFEST.digest, KEY_ENCLAVE_TO_AGENT, 44)
    header = SESSION + b"\2" + (1).to_bytes(8, "big") + (77).to_bytes(8, "big")
    nonce = (int.from_bytes(secret[32:], "big") ^ 1).to_bytes(12, "big")
    expected = header + AESGCM(secret[:32]).encrypt(nonce, b"result", pack(RECORD, header, BOOT))
    assert end(Role.ENCLAVE).seal(b"result", now_ms=0, answers=77).record == expected


@pytest.mark.parametrize("plaintext", [b"", b"x", bytes(100_000)])
def test_records_arrive_in_both_directions(plaintext: bytes) -> None:
    agent, enclave = ends()
    for sequence in (1, 2, 3):
        request = agent.seal(plaintext, now_ms=0)
        opened = enclave.open(request.record, now_ms=0)
        assert (opened.sequence, opened.answers, opened.plaintext) == (sequence, 0, plaintext)
        assert opened.digest == record_digest(request.record)
        answer = enclave.seal(plaintext, now_ms=0, answers=opened.sequence)
        assert agent.open(answer.record, now_ms=0).answers == sequence


def test_every_flipped_byte_is_refused_with_the_one_error() -> None:
    agent, enclave = ends()
    record = agent.seal(b"plaintext", now_ms=0).record
    messages = set()
    for at in range(len(record)):
        with pytest.raises(SessionError) as caught:
            enclave.open(record[:at] + bytes((record[at] ^ 1,)) + record[at + 1 :], now_ms=0)
        assert caught.value.code is ErrorCode.SESSION_OPEN
        messages.add(caught.value.message)
    for cut in (record[:-1], record + b"\0", record[:HEADER_BYTES], b""):
        with pytest.raises(SessionError) as caught:
            enclave.open(cut, now_ms=0)
        messages.add(caught.value.message)
    assert messages == {"a record was refused"}
    assert enclave.open(record, now_ms=0).plaintext == b"plaintext"


def test_a_record_does_not_return_to_its_sender() -> None:
    agent = end(Role.AGENT)
    record = agent.seal(b"x", now_ms=0).record
    assert refusal(lambda: agent.open(record, now_ms=0)) is ErrorCode.SESSION_OPEN
    turned = record[:16] + b"\2" + record[17:]
    assert refusal(lambda: agent.open(turned, now_ms=0)) is ErrorCode.SESSION_OPEN


def test_another_boot_or_session_under_the_same_keys_opens_nothing() -> None:
    record = end(Role.AGENT).seal(b"x", now_ms=0).record
    assert refusal(lambda: end(Role.ENCLAVE, boot_id=bytes(32)).open(record, now_ms=0)) is ErrorCode.SESSION_OPEN
    other = end(Role.ENCLAVE, session_id=bytes(16))
    assert refusal(lambda: other.open(record, now_ms=0)) is ErrorCode.SESSION_OPEN
    assert refusal(lambda: other.open(bytes(16) + record[16:], now_ms=0)) is ErrorCode.SESSION_OPEN


def test_an_answer_names_its_request() -> None:
    agent, enclave = ends()
    answer = enclave.seal(b"x", now_ms=0, answers=5).record
    renamed = answer[: HEADER_BYTES - 1] + b"\6" + answer[HEADER_BYTES:]
    assert refusal(lambda: agent.open(renamed, now_ms=0)) is ErrorCode.SESSION_OPEN
    assert agent.open(answer, now_ms=0).answers == 5


def test_a_record_counts_once() -> None:
    agent, enclave = ends()
    record = agent.seal(b"x", now_ms=0).record
    enclave.open(record, now_ms=0)
    assert refusal(lambda: enclave.open(record, now_ms=0)) is ErrorCode.SESSION_REPLAYED


def test_a_forged_number_does_not_move_the_window() -> None:
    agent, enclave = ends()
    records = [agent.seal(b"x", now_ms=0).record for _ in range(2)]
    forged = records[0][:17] + (1 << 40).to_bytes(8, "big") + records[0][25:]
    assert refusal(lambda: enclave.open(forged, now_ms=0)) is ErrorCode.SESSION_OPEN
    for record in records:
        enclave.open(record, now_ms=0)


def test_the_number_zero_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    agent, enclave = ends()
    agent._sent = -1
    assert refusal(lambda: enclave.open(agent.seal(b"x", now_ms=0).record, now_ms=0)) is ErrorCode.SESSION_OPEN


@pytest.mark.parametrize(("late", "code"), [(0, None), (-1, ErrorCode.SESSION_REPLAYED)])
def test_records_may_be_late_within_the_window(late: int, code: ErrorCode | None) -> None:
    agent, enclave = ends()
    records = [agent.seal(b"x", now_ms=0).record for _ in range(REPLAY_WINDOW_RECORDS - late)]
    enclave.open(records[-1], now_ms=0)
    assert refusal(lambda: enclave.open(records[0], now_ms=0)) is code


def test_the_window_by_brute_force() -> None:
    window, seen, highest = ReplayWindow(), set[int](), 0
    for _ in range(4_000):
        number = max(1, highest + secrets.randbelow(2_100) - 1_050)
        fresh = number not in seen and number > highest - REPLAY_WINDOW_RECORDS
        assert (refusal(lambda number=number: window.mark(number)) is None) == fresh
        if fresh:
            seen.add(number)
            highest = max(highest, number)


def test_a_session_expires_and_wipes_itself() -> None:
    agent, enclave = ends()
    record = agent.seal(b"x", now_ms=999).record
    assert enclave.open(record, now_ms=999).sequence == 1
    assert refusal(lambda: enclave.seal(b"x", now_ms=1_000)) is ErrorCode.SESSION_EXPIRED
    assert enclave.ended
    assert refusal(lambda: enclave.open(record, now_ms=999)) is ErrorCode.SESSION_ENDED
    assert refusal(lambda: agent.open(record, now_ms=1_000)) is ErrorCode.SESSION_EXPIRED


def test_an_ended_session_holds_no_key() -> None:
    agent, enclave = ends()
    keys = agent._keys
    states = []
    for _ in range(2):
        states.append(agent.ended)
        agent.end()
    assert states == [False, True]
    assert keys.agent_to_enclave.secret.wiped
    assert keys.enclave_to_agent.secret.wiped
    assert keys.digest.wiped
    calls = (
        lambda: agent.seal(b"x", now_ms=0),
        lambda: agent.open(enclave.seal(b"x", now_ms=0).record, now_ms=0),
        lambda: agent.content_digest(Role.AGENT, 1, b"x"),
    )
    assert {refusal(call) for call in calls} == {ErrorCode.SESSION_ENDED}


def test_limits_on_records() -> None:
    limits = SessionLimits(max_records=2)
    agent, enclave = ends(limits=limits)
    for _ in range(2):
        enclave.open(agent.seal(b"x", now_ms=0).record, now_ms=0)
    assert refusal(lambda: agent.seal(b"x", now_ms=0)) is ErrorCode.SESSION_LIMIT
    generous = end(Role.AGENT)
    generous._sent = 2
    assert refusal(lambda: enclave.open(generous.seal(b"x", now_ms=0).record, now_ms=0)) is ErrorCode.SESSION_LIMIT


def test_limits_on_bytes() -> None:
    agent, enclave = ends(limits=SessionLimits(max_bytes=10))
    enclave.open(agent.seal(bytes(6), now_ms=0).record, now_ms=0)
    assert refusal(lambda: agent.seal(bytes(5), now_ms=0)) is ErrorCode.SESSION_LIMIT
    generous = end(Role.AGENT)
    generous._sent = 1
    record = generous.seal(bytes(5), now_ms=0).record
    assert refusal(lambda: enclave.open(record, now_ms=0)) is ErrorCode.SESSION_LIMIT


def test_the_length_of_a_record(monkeypatch: pytest.MonkeyPatch) -> None:
    assert RECORD_MAX_BYTES == 16 << 20
    monkeypatch.setattr(session_module, "RECORD_MAX_BYTES", 100)
    agent, enclave = ends()
    assert enclave.open(agent.seal(bytes(100), now_ms=0).record, now_ms=0).plaintext == bytes(100)
    assert refusal(lambda: agent.seal(bytes(101), now_ms=0)) is ErrorCode.SESSION_LIMIT
    monkeypatch.setattr(session_module, "RECORD_MAX_BYTES", 101)
    record = agent.seal(bytes(101), now_ms=0).record
    monkeypatch.setattr(session_module, "RECORD_MAX_BYTES", 100)
    assert refusal(lambda: enclave.open(record, now_ms=0)) is ErrorCode.SESSION_OPEN


def test_digests_of_contents_agree_and_tell_nobody_else() -> None:
    agent, enclave = ends()
    digest = agent.content_digest(Role.AGENT, 1, b"request")
    assert digest == enclave.content_digest(Role.AGENT, 1, b"request")
    key = hkdf_sha384(DATA_KEY + AGENT_SECRET, MANIFEST.digest, KEY_DIGEST, 48)
    assert digest.digest == hmac.digest(key, pack(CONTENT, 1, 1, b"request"), "sha384")
    others = [
        agent.content_digest(Role.ENCLAVE, 1, b"request"),
        agent.content_digest(Role.AGENT, 2, b"request"),
        agent.content_digest(Role.AGENT, 1, b"other"),
    ]
    assert len({digest, *others}) == 4


def test_a_record_names_its_session() -> None:
    record = end(Role.AGENT).seal(b"", now_ms=0).record
    assert len(record) == HEADER_BYTES + TAG_BYTES
    assert record_session(record) == SESSION
    assert refusal(lambda: record_session(record[:-1])) is ErrorCode.SESSION_OPEN


def test_nothing_shows_keys_or_contents() -> None:
    agent, enclave = ends()
    opened = enclave.open(agent.seal(b"canary", now_ms=0).record, now_ms=0)
    assert "canary" not in repr(opened)
    assert repr(agent) == f"Session(agent, {SESSION.hex()}, keys hidden)"
    assert "hidden" in repr(agent._directions[Role.AGENT])


def test_threads_may_share_a_session() -> None:
    agent, enclave = ends()
    opened: list[int] = []

    def work() -> None:
        opened.extend(enclave.open(agent.seal(b"x", now_ms=0).record, now_ms=0).sequence for _ in range(100))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(opened) == list(range(1, 401))
