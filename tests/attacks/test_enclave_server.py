"""H1, H3 and H4 at the enclave's socket: slow and flooding peers, a KMS that hangs, garbage, declared lengths.

Each attack is played against the real enclave process; its mutant is the same server in this process, a check removed.
"""

import contextlib
import itertools
import random
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from enclave import budget
from enclave import server as server_module
from enclave.server import ServerLimits
from pcrgate.attestation import cbor
from pcrgate.twin.modes import Modes
from pcrgate.wire import frames
from pcrgate.wire import messages as wire
from pcrgate.wire.frames import CONTROL_MAX_BYTES, SEALED_MAX_BYTES, FrameType, encode_frame
from tests.attacks.hostile_peer import agent_at, answer_over, code_over, dial, head, served
from tests.attacks.mutants import mutant, succeeds
from tests.support.commands import wait_until
from tests.support.enclave_agent import TestAgent
from tests.support.enclave_stage import EnclaveProcess, Site
from tests.unit.enclave.serving import serving

pytestmark = pytest.mark.network
MEMORY_ALLOWED_BYTES = 96 << 20
"""What a flood may add: the budget of 48 MiB, a copy of it in flight, and what an allocator keeps."""
ROOM = ServerLimits().memory_bytes // ((1 << 20) + SEALED_MAX_BYTES)
"""How many requests of 1 MiB, each with room for its answer, are held at once."""
PATIENT = ServerLimits(idle_s=600, frame_s=600)
"""Nobody is left for being slow, so that on a busy machine only the check in question counts."""
MOMENT_S = 0.5
"""How long a mutant is given to do what it never does."""
STATUS = wire.encode_message(wire.StatusRequest())
Mutation = tuple[ModuleType, str, str]


def at_once(message: wire.Message) -> wire.Message:
    return wire.StatusAnswer(phase="live", failure=None, counters={})


def answers(path: Path, raw: bytes = STATUS, timeout_s: float = 30.0) -> bool:
    """Return whether a status comes back; a refusal, an end and silence are none."""
    with contextlib.suppress(OSError), dial(path, timeout_s) as endpoint:
        endpoint.sendall(raw)
        return isinstance(answer_over(endpoint), wire.StatusAnswer)
    return False


def crowded_out(path: Path) -> bool:
    """Open more half frames than there is room for, and return whether an honest peer finds none."""
    with contextlib.ExitStack() as stack:
        for number in range(150):
            endpoint = stack.enter_context(dial(path))
            with contextlib.suppress(OSError):
                endpoint.sendall(head(FrameType.INVOKE, 1 << 20)[: number % 6])
        return not answers(path)


def test_h1_slow_peers_and_half_frames_make_room_for_honest_ones(
    enclave: EnclaveProcess, site: Site, agent: TestAgent, tmp_path: Path
) -> None:
    assert not crowded_out(site.socket)
    served(agent)
    assert enclave.status().counters["connections_evicted"] >= 64
    with serving(tmp_path / "s", at_once, PATIENT):
        assert not crowded_out(tmp_path / "s")
    with (
        mutant(server_module, "not self._evict(list(self._open))", "True"),
        serving(tmp_path / "t", at_once, PATIENT),
    ):
        assert crowded_out(tmp_path / "t")


DEADLINES: dict[str, tuple[bytes, tuple[str, str]]] = {
    "nothing at all": (b"", ("asyncio.timeout(self._limits.idle_s)", "asyncio.timeout(None)")),
    "half a head": (
        STATUS[:3],
        (
            "asyncio.timeout(self._limits.frame_s):\n                begun",
            "asyncio.timeout(None):\n                begun",
        ),
    ),
    "half a payload": (
        head(FrameType.INVOKE, 100) + bytes(50),
        (
            "asyncio.timeout(self._limits.frame_s):\n                    payload",
            "asyncio.timeout(None):\n                    payload",
        ),
    ),
}


@pytest.mark.parametrize("name", DEADLINES)
def test_h1_whoever_sends_slowly_is_left(name: str, tmp_path: Path) -> None:
    """The deadlines of an image are tens of seconds; here they are short, and the code is the same."""
    raw, (old, new) = DEADLINES[name]
    limits = ServerLimits(idle_s=0.05, frame_s=0.05)

    def held(path: Path, timeout_s: float) -> bool:
        with serving(path, at_once, limits), dial(path, timeout_s) as endpoint:
            endpoint.sendall(raw)
            try:
                return endpoint.recv(1) != b""
            except TimeoutError:
                return True

    assert not held(tmp_path / "s", 30.0)
    with mutant(server_module, old, new):
        assert held(tmp_path / "t", MOMENT_S)


def test_h1_a_kms_that_hangs_holds_up_no_other_request(
    enclave: EnclaveProcess, site: Site, agent: TestAgent, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The parent lets every request for a session key hang; whoever needs no key is answered meanwhile."""
    asked, gate = threading.Semaphore(0), threading.Event()
    honest = Modes.before

    def stalling(modes: Modes, operation: str) -> None:
        if operation == "GenerateDataKey":
            asked.release()
            gate.wait(60)
        honest(modes, operation)

    def held_up(path: Path, ask: Any, timeout_s: float) -> bool:
        """Let one agent wait for KMS, and return whether the status waits too."""
        gate.clear()
        with ThreadPoolExecutor(1) as threads:
            try:
                opening = threads.submit(agent_at(site, ask).open)
                assert asked.acquire(timeout=60)
                found = not answers(path, timeout_s=timeout_s)
                assert not opening.done()
            finally:
                gate.set()
            assert opening.result(60).established is not None
        return found

    desk = site.boot()[1]
    monkeypatch.setattr(Modes, "before", stalling)
    assert not held_up(site.socket, enclave.ask, 30.0)
    served(agent)
    while asked.acquire(blocking=False):  # whatever was asked again meanwhile
        pass
    inline = "await self._lanes.run(LANE_OF[head.kind], lambda: encode_message(self._handler(message)))"
    with (
        mutant(server_module, inline, "encode_message(self._handler(message))"),
        serving(tmp_path / "s", desk.answer, ServerLimits()) as mutated,
    ):

        def ask(message: wire.Message, _: object) -> object:
            with dial(mutated.path) as endpoint:
                endpoint.sendall(wire.encode_message(message))
                return answer_over(endpoint)

        assert held_up(mutated.path, ask, MOMENT_S)


def test_h1_floods_from_several_threads_leave_the_others_working(
    enclave: EnclaveProcess, site: Site, agent: TestAgent
) -> None:
    before = enclave.memory_bytes()
    stop = threading.Event()
    frame = encode_frame(FrameType.INVOKE, random.Random(5).randbytes(100_000))

    def flood() -> None:
        while not stop.is_set():
            with contextlib.suppress(OSError), dial(site.socket) as endpoint:
                endpoint.sendall(frame * 3)

    threads = [threading.Thread(target=flood) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(10):
            served(agent)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert enclave.memory_bytes() < before + MEMORY_ALLOWED_BYTES
    served(agent)


def test_h4_declared_lengths_are_charged_before_memory_is_taken(
    enclave: EnclaveProcess, site: Site, agent: TestAgent, tmp_path: Path
) -> None:
    before = enclave.memory_bytes()
    assert len(holding(site.socket, 120, until=ROOM)) <= ROOM
    served(agent)
    assert enclave.memory_bytes() < before + MEMORY_ALLOWED_BYTES
    with dial(site.socket) as endpoint:
        endpoint.sendall(head(FrameType.INVOKE, 0xFFFFFFFF))
        assert code_over(endpoint) == "wire-frame"
    assert enclave.memory_bytes() < before + MEMORY_ALLOWED_BYTES
    # The same crowd at a server that admits all of them: only the budget makes them go.
    limits = ServerLimits(connections=200, idle_s=600, frame_s=600)
    with serving(tmp_path / "s", at_once, limits):
        assert len(holding(tmp_path / "s", 60, until=ROOM)) == ROOM
    with (
        mutant(server_module, "while not self._budget.fits(size_bytes):", "while False:"),
        mutant(budget, "if not self.fits(size_bytes):", "if False:"),
        serving(tmp_path / "t", at_once, limits),
    ):
        assert len(holding(tmp_path / "t", 60)) == 60


def holding(path: Path, peers: int, *, until: int | None = None) -> list[socket.socket]:
    """Let peers declare 1 MiB each and send some of it; return those whose memory the server still holds.

    ``until`` says how many are waited for to be left; None asks a moment after the last.
    """
    with contextlib.ExitStack() as stack:
        endpoints = [stack.enter_context(dial(path)) for _ in range(peers)]
        for endpoint in endpoints:
            with contextlib.suppress(OSError):
                endpoint.sendall(head(FrameType.INVOKE, 1 << 20) + bytes(10_000))
        assert answers(path)
        if until is not None:
            wait_until(lambda: sum(map(is_open, endpoints)) <= until)
        return [endpoint for endpoint in endpoints if is_open(endpoint)]


def is_open(endpoint: socket.socket) -> bool:
    """Return whether the other side holds a connection on which it has said nothing."""
    endpoint.settimeout(0)
    try:
        return endpoint.recv(1, socket.MSG_PEEK) != b""
    except BlockingIOError:
        return True
    except ConnectionResetError:
        return False


def test_h4_a_length_beyond_its_types_limit_is_refused_before_the_payload(
    enclave: EnclaveProcess, tmp_path: Path
) -> None:
    def refused(path: Path, timeout_s: float) -> bool:
        with dial(path, timeout_s) as endpoint:
            endpoint.sendall(head(FrameType.STATUS, CONTROL_MAX_BYTES + 1))
            try:
                return code_over(endpoint) == "wire-frame"
            except TimeoutError:
                return False  # it waits for all that was declared

    assert refused(enclave.site.socket, 30.0)
    with serving(tmp_path / "s", at_once, ServerLimits()):
        assert refused(tmp_path / "s", 30.0)
        with mutant(frames, "length > PAYLOAD_MAX_BYTES[kind]", "False"):
            assert not refused(tmp_path / "s", MOMENT_S)


def status(payload: bytes, version: int = 1) -> bytes:
    return head(FrameType.STATUS, len(payload), version) + payload


CANONICAL: Mutation = (wire, "canonical = encode(values) == payload", "canonical = True")
NOT_OURS: dict[str, tuple[bytes, str, tuple[Mutation, ...]]] = {
    "a frame of another version": (
        status(b"\xa0", version=2),
        "wire-frame",
        ((frames, "version != FRAME_VERSION", "False"),),
    ),
    "a field too many": (
        status(b"\xa1\x64more\x01"),
        "wire-message",
        ((wire, "values.keys() != fields.keys()", "False"),),
    ),
    "a second encoding": (
        status(b"\xb8\x00"),
        "wire-message",
        (CANONICAL, (cbor, "value < _SHORTEST[info]", "False")),
    ),
    "bytes that follow": (status(b"\xa0\x00"), "wire-message", (CANONICAL, (cbor, "end != len(data)", "False"))),
}


@pytest.mark.parametrize("name", NOT_OURS)
def test_h3_what_is_not_written_as_we_write_it_is_refused(name: str, enclave: EnclaveProcess, tmp_path: Path) -> None:
    raw, code, mutations = NOT_OURS[name]
    with dial(enclave.site.socket) as endpoint:
        endpoint.sendall(raw)
        assert code_over(endpoint) == code
    assert answers(enclave.site.socket)
    with serving(tmp_path / "s", at_once, ServerLimits()) as mutated:
        assert not answers(mutated.path, raw)
        with contextlib.ExitStack() as stack:
            for mutation in mutations:
                assert not answers(mutated.path, raw)
                stack.enter_context(mutant(*mutation))
            assert answers(mutated.path, raw)


def test_h3_nesting_is_bounded_before_it_is_followed(site: Site, agent: TestAgent) -> None:
    deep = b"\x81" * 60_000
    with dial(site.socket) as endpoint:
        endpoint.sendall(head(FrameType.INVOKE, len(deep)) + deep)
        assert code_over(endpoint) == "wire-message"
    served(agent)
    nested = b"\x81" * 20 + b"\x00"
    assert not succeeds(lambda: cbor.decode(nested))
    bound = "        if depth > MAX_DEPTH:\n            _fail("
    with mutant(cbor, bound, bound.replace("depth > MAX_DEPTH", "False")):
        assert succeeds(lambda: cbor.decode(nested))


def garbage(rng: random.Random) -> Iterator[bytes]:
    kinds = [*(int(kind) for kind in FrameType), 0, 0x7E]
    while True:
        payload = rng.randbytes(rng.randrange(60))
        yield head(rng.choice(kinds), len(payload)) + payload if rng.random() < 0.8 else rng.randbytes(40)


def test_h3_garbage_is_refused_and_nothing_else_happens(enclave: EnclaveProcess, site: Site, agent: TestAgent) -> None:
    for raw in itertools.islice(garbage(random.Random(20260)), 400):
        with contextlib.suppress(OSError), dial(site.socket) as endpoint:
            endpoint.sendall(raw)
            endpoint.shutdown(socket.SHUT_WR)
            endpoint.recv(4096)
    served(agent)
    assert enclave.status().counters["internal_errors"] == 0


def test_h3_an_error_that_nobody_foresaw_is_told_and_the_connection_lives_on(tmp_path: Path) -> None:
    """Without that its peer hears nothing, and the error goes elsewhere."""

    def crashing(message: wire.Message) -> wire.Message:
        raise ZeroDivisionError(message.KIND.name)

    def told(path: Path) -> bool:
        with dial(path) as endpoint:
            for _ in range(2):
                endpoint.sendall(STATUS)
                if code_over(endpoint) != "internal":
                    return False
        return True

    with serving(tmp_path / "s", crashing, ServerLimits()):
        assert told(tmp_path / "s")
        with mutant(server_module, "except Exception as error:", "except KeyError as error:"):
            assert not succeeds(lambda: told(tmp_path / "s"))
