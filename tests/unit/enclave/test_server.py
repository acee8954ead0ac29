"""The server with short deadlines: who is slow is left, who waits too long is told, and lanes do not hold up each other."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from enclave.counters import Counter
from enclave.lanes import LANE_OF, Lane
from enclave.server import ServerLimits
from pcrgate.errors import ErrorCode, PcrgateError, WireError
from pcrgate.wire import messages as wire
from pcrgate.wire.frames import HEAD_BYTES, FrameType, encode_frame, parse_head
from service.enclave_link import EnclaveRefusedError
from tests.unit.enclave.serving import serving

STATUS = wire.StatusAnswer(phase="live", failure=None, counters={})


def answer(message: wire.Message) -> wire.Message:
    return STATUS


def read_all(endpoint: socket.socket) -> bytes:
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := endpoint.recv(65536):
            received += piece
    return received


def test_one_connection_carries_one_request_after_the_other(tmp_path: Path) -> None:
    with serving(tmp_path / "s", answer) as running:
        assert running.ask(wire.StatusRequest()) == STATUS
        assert running.counters.exact(Counter.REQUESTS) == 2


@pytest.mark.parametrize(
    ("sent", "counter"),
    [
        (b"", Counter.DEADLINES_MISSED),
        (b"\x00", Counter.DEADLINES_MISSED),
        (b"\x00\x00\x00\x09\x01\x01half", Counter.DEADLINES_MISSED),
        (b"\x00\x00\x00\x09\x02\x01", Counter.FRAMES_REFUSED),
        (b"\x00\x00\x00\x01\x01\x01\xff", Counter.FRAMES_REFUSED),
        (b"\x00\x00\x00\x01\x01\x81\xa0", Counter.FRAMES_REFUSED),
    ],
)
def test_whoever_is_slow_or_wrong_is_left(sent: bytes, counter: Counter, tmp_path: Path) -> None:
    with serving(tmp_path / "s", answer) as running:
        with running.dial() as endpoint:
            endpoint.sendall(sent)
            read_all(endpoint)
        assert running.counters.exact(counter) == 1
        assert running.ask(wire.StatusRequest()) == STATUS


def test_half_a_frame_is_counted(tmp_path: Path) -> None:
    with serving(tmp_path / "s", answer) as running:
        with running.dial() as endpoint:
            endpoint.sendall(b"\x00\x00")
            endpoint.shutdown(socket.SHUT_WR)
            assert read_all(endpoint) == b""
        assert running.counters.exact(Counter.FRAMES_HALF) == 1


def test_the_slowest_makes_room_for_the_next(tmp_path: Path) -> None:
    with serving(tmp_path / "s", answer) as running, contextlib.ExitStack() as stack:
        slow = [stack.enter_context(running.dial()) for _ in range(3)]
        for endpoint in slow:
            endpoint.sendall(b"\x00")
        assert running.ask(wire.StatusRequest()) == STATUS
        assert running.counters.exact(Counter.CONNECTIONS_EVICTED) >= 1


def test_when_all_are_at_work_the_next_is_turned_away(tmp_path: Path) -> None:
    release = threading.Event()

    def waiting(message: wire.Message) -> wire.Message:
        release.wait(10)
        return STATUS

    limits = ServerLimits(connections=2, answer_s=10)
    frame = wire.encode_message(wire.StatusRequest())
    with serving(tmp_path / "s", waiting, limits) as running, contextlib.ExitStack() as stack:
        busy = [stack.enter_context(running.dial()) for _ in range(2)]
        for endpoint in busy:
            endpoint.sendall(frame)
        while running.counters.exact(Counter.REQUESTS) < 2:
            time.sleep(0.005)
        with running.dial() as refused:
            assert read_all(refused) == b""
        assert running.counters.exact(Counter.CONNECTIONS_REFUSED) == 1
        release.set()
        assert all(endpoint.recv(100) for endpoint in busy)


def problem_over(endpoint: socket.socket) -> wire.Problem:
    head = endpoint.recv(HEAD_BYTES, socket.MSG_WAITALL)
    parsed = parse_head(head)
    problem = wire.decode_message(parsed, endpoint.recv(parsed.payload_bytes, socket.MSG_WAITALL))
    assert isinstance(problem, wire.Problem)
    return problem


def test_memory_that_is_spoken_for_is_not_given_twice(tmp_path: Path) -> None:
    release = threading.Event()

    def waiting(message: wire.Message) -> wire.Message:
        release.wait(10)
        return STATUS

    limits = ServerLimits(memory_bytes=1_500_000, answer_s=10)
    request = wire.encode_message(wire.Invoke(record=bytes(64)))
    with serving(tmp_path / "s", waiting, limits) as running, running.dial() as first, running.dial() as second:
        first.sendall(request)
        while running.counters.exact(Counter.REQUESTS) < 1:
            time.sleep(0.005)
        second.sendall(request)
        assert problem_over(second).code == "wire-busy"
        assert read_all(second) == b""
        release.set()
        assert first.recv(10)


def test_an_answer_that_takes_too_long_is_told(tmp_path: Path) -> None:
    release = threading.Event()

    def waiting(message: wire.Message) -> wire.Message:
        release.wait(10)
        return STATUS

    with serving(tmp_path / "s", waiting) as running:
        with running.dial() as endpoint:
            endpoint.sendall(wire.encode_message(wire.StatusRequest()))
            assert problem_over(endpoint).code == "wire-busy"
        release.set()


def test_a_lane_that_is_full_turns_away_and_others_go_on(tmp_path: Path) -> None:
    release = threading.Event()

    def waiting(message: wire.Message) -> wire.Message:
        if isinstance(message, wire.SessionOpen):
            release.wait(20)
        return STATUS

    slow = Lane.RELEASE.threads + Lane.RELEASE.waiting
    limits = ServerLimits(connections=slow + 20, answer_s=20)
    request = wire.encode_message(wire.SessionOpen(hello=b"x"))
    with serving(tmp_path / "s", waiting, limits) as running, contextlib.ExitStack() as stack:
        waiting_ones = [stack.enter_context(running.dial()) for _ in range(slow)]
        for endpoint in waiting_ones:
            endpoint.sendall(request)
        while running.counters.exact(Counter.REQUESTS) < slow:
            time.sleep(0.005)
        assert running.ask(wire.StatusRequest()) == STATUS
        with running.dial() as late:
            late.sendall(request)
            assert problem_over(late).code == "wire-busy"
        release.set()


def raising(error: Exception) -> Callable[[wire.Message], wire.Message]:
    def handler(message: wire.Message) -> wire.Message:
        raise error

    return handler


@pytest.mark.parametrize(
    ("error", "code", "counter"),
    [
        (PcrgateError(ErrorCode.SESSION_OPEN, "a record was refused"), ErrorCode.SESSION_OPEN, Counter.REFUSALS),
        (WireError(ErrorCode.WIRE_BUSY, "later"), ErrorCode.WIRE_BUSY, Counter.BUSY),
        (KeyError("a secret value"), ErrorCode.INTERNAL, Counter.INTERNAL_ERRORS),
        (MemoryError(), ErrorCode.INTERNAL, Counter.INTERNAL_ERRORS),
    ],
)
def test_what_a_handler_raises_becomes_a_problem(
    error: Exception, code: ErrorCode, counter: Counter, tmp_path: Path
) -> None:
    with serving(tmp_path / "s", raising(error)) as running:
        with pytest.raises(EnclaveRefusedError) as refused:
            running.ask(wire.StatusRequest())
        assert refused.value.code is code
        assert "secret" not in str(refused.value)
        assert running.counters.exact(counter) == 1


def test_a_peer_that_does_not_take_its_answer_is_left(tmp_path: Path) -> None:
    big = wire.ReceiptsAnswer(receipts=tuple(bytes(4000) for _ in range(128)))

    with serving(tmp_path / "s", lambda _: big) as running, running.dial() as endpoint:
        endpoint.sendall(wire.encode_message(wire.ReceiptsRequest(first=0)))
        while not running.counters.exact(Counter.DEADLINES_MISSED):
            time.sleep(0.005)
        assert len(read_all(endpoint)) < 512_000


def test_an_answer_that_is_taken_in_parts_arrives_whole(tmp_path: Path) -> None:
    """The first part goes without a deadline, the rest from where that ended; then the connection goes on."""
    big = wire.ReceiptsAnswer(receipts=tuple(number.to_bytes(2, "big") * 2000 for number in range(128)))
    expected = wire.encode_message(big)
    limits = ServerLimits(write_s=20)
    with serving(tmp_path / "s", lambda _: big, limits) as running, running.dial() as endpoint:
        for _ in range(2):
            endpoint.sendall(wire.encode_message(wire.ReceiptsRequest(first=0)))
            assert endpoint.recv(1, socket.MSG_PEEK), "it has begun to send, and cannot go on"
            received = b""
            while len(received) < len(expected):
                received += endpoint.recv(7919)
            assert received == expected
        assert running.counters.exact(Counter.DEADLINES_MISSED) == 0


def test_a_request_that_comes_byte_by_byte_is_answered(tmp_path: Path) -> None:
    """What came already is taken at once, the rest is waited for: at every place where a frame can be cut."""
    frame = wire.encode_message(wire.ReceiptsRequest(first=1 << 20))
    asked: list[wire.Message] = []

    def noted(message: wire.Message) -> wire.Message:
        asked.append(message)
        return STATUS

    with serving(tmp_path / "s", noted, ServerLimits()) as running, running.dial() as endpoint:
        for cut in range(1, len(frame)):
            endpoint.sendall(frame[:cut])
            time.sleep(0.002)  # usually long enough for the server to meet the cut
            endpoint.sendall(frame[cut:])
            head = parse_head(endpoint.recv(HEAD_BYTES, socket.MSG_WAITALL))
            answered = wire.decode_message(head, endpoint.recv(head.payload_bytes, socket.MSG_WAITALL))
            assert answered == STATUS
        endpoint.sendall(frame * 3)  # and three that came before the first was read
        for _ in range(3):
            head = parse_head(endpoint.recv(HEAD_BYTES, socket.MSG_WAITALL))
            assert endpoint.recv(head.payload_bytes, socket.MSG_WAITALL)
    assert asked == [wire.ReceiptsRequest(first=1 << 20)] * (len(frame) + 2)


def test_half_a_payload_is_counted(tmp_path: Path) -> None:
    frame = wire.encode_message(wire.ReceiptsRequest(first=1 << 20))
    for cut in (HEAD_BYTES, HEAD_BYTES + 1):
        with serving(tmp_path / f"s{cut}", answer) as running:
            with running.dial() as endpoint:
                endpoint.sendall(frame[:cut])
                endpoint.shutdown(socket.SHUT_WR)
                assert read_all(endpoint) == b""
            assert running.counters.exact(Counter.FRAMES_HALF) == 1
            assert running.counters.exact(Counter.REQUESTS) == 0


def test_every_request_has_a_lane_and_an_answer() -> None:
    assert {kind for kind in FrameType if kind < 0x20} == set(LANE_OF)
    assert encode_frame(FrameType.STATUS, b"")


def test_a_link_tells_what_came_instead(tmp_path: Path) -> None:
    with serving(tmp_path / "s", lambda _: wire.DrainAnswer()) as running:
        with pytest.raises(WireError) as refused:
            running.ask(wire.StatusRequest())
        assert refused.value.code is ErrorCode.WIRE_MESSAGE
    with pytest.raises(WireError) as unreachable, serving(tmp_path / "t", answer) as running:
        running.path = tmp_path / "absent"
        running.ask(wire.StatusRequest())
    assert unreachable.value.code is ErrorCode.WIRE_LINK
