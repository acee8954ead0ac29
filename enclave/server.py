"""Serve many connections at once, each held to deadlines and a memory budget; hostile peers cost only themselves.

Every byte that is kept was charged to the budget before memory for it was reserved. When connections or memory run out,
whoever has been sending for the longest makes room: an honest parent sends a frame at once.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from enclave.budget import MemoryBudget
from enclave.counters import Counter, Counters
from enclave.lanes import LANE_OF, Lanes
from enclave.listener import Listener
from pcrgate.errors import ErrorCode, PcrgateError, WireError
from pcrgate.wire.frames import HEAD_BYTES, PAYLOAD_MAX_BYTES, FrameHead, FrameType, parse_head
from pcrgate.wire.messages import Message, decode_message, encode_message
from pcrgate.wire.problems import problem_of

ANSWER_OF: Final = {kind: FrameType(kind | 0x80) for kind in LANE_OF}
"""The frame type of each answer, to charge for it."""

Handler = Callable[[Message], Message]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLimits:
    """Bound what peers can take.

    Attributes:
        connections: most at once.
        memory_bytes: most for requests and answers in flight, all connections together.
        idle_s: longest silence between requests.
        frame_s: longest from a frame's first byte to its last.
        answer_s: longest wait for an answer; KMS with all its retries takes less.
        write_s: longest for a peer to take an answer.
    """

    connections: int = 64
    memory_bytes: int = 48 << 20
    idle_s: float = 60.0
    frame_s: float = 10.0
    answer_s: float = 120.0
    write_s: float = 10.0


class _PeerLeft(Exception):  # noqa: N818 - no error: a connection that ends between frames is over
    """Say that the peer closed between two frames."""


@dataclass(slots=True, eq=False)
class _Connection:
    """Hold what the server knows of one connection.

    Attributes:
        endpoint: its socket.
        task: what serves it.
        sending_since: when the peer began to be waited for; None while its request is carried out.
        charged_bytes: what the budget holds for its request and answer.
    """

    endpoint: socket.socket
    task: asyncio.Task[None] | None = None
    sending_since: float | None = None
    charged_bytes: int = 0


class Server:
    """Accept, read, carry out, answer."""

    def __init__(self, listener: Listener, handler: Handler, *, limits: ServerLimits, counters: Counters) -> None:
        """Take what is needed; nothing listens yet.

        Args:
            listener: where to listen.
            handler: answers one message; called on a thread, may raise.
            limits: what peers can take.
            counters: what is counted.
        """
        self._listener: Final = listener
        self._handler: Final = handler
        self._limits: Final = limits
        self._counters: Final = counters
        self._budget: Final = MemoryBudget(limits.memory_bytes)
        self._lanes: Final = Lanes()
        self._open: Final[set[_Connection]] = set()

    async def serve(self, listening: Callable[[], None] = lambda: None) -> None:
        """Serve until cancelled.

        Args:
            listening: called once the socket takes connections.

        Raises:
            OSError: when the address is not to be had.
        """
        loop = asyncio.get_running_loop()
        with self._listener.bind() as endpoint:
            listening()
            try:
                while True:
                    accepted, _ = await loop.sock_accept(endpoint)
                    self._admit(accepted)
            finally:
                for connection in list(self._open):
                    if connection.task is not None:
                        connection.task.cancel()
                self._lanes.close()

    def _admit(self, accepted: socket.socket) -> None:
        self._counters.add(Counter.CONNECTIONS)
        accepted.setblocking(False)
        if len(self._open) >= self._limits.connections and not self._evict(list(self._open)):
            self._counters.add(Counter.CONNECTIONS_REFUSED)
            accepted.close()
            return
        connection = _Connection(accepted, sending_since=_now())
        self._open.add(connection)
        connection.task = asyncio.get_running_loop().create_task(self._serve_connection(connection))
        # Not in the task itself: one that is ended before its first step never runs any of its lines.
        connection.task.add_done_callback(lambda _: accepted.close())

    def _evict(self, candidates: Iterable[_Connection]) -> bool:
        """End the connection that has been sending for the longest, and return whether there was one."""
        slowest = min(
            (one for one in candidates if one.sending_since is not None),
            key=lambda one: one.sending_since or 0.0,
            default=None,
        )
        if slowest is None:
            return False
        self._counters.add(Counter.CONNECTIONS_EVICTED)
        self._forget(slowest)
        if slowest.task is not None:
            slowest.task.cancel()
        return True

    def _forget(self, connection: _Connection) -> None:
        self._open.discard(connection)
        connection.sending_since = None
        self._discharge(connection)

    def _discharge(self, connection: _Connection) -> None:
        self._budget.release(connection.charged_bytes)
        connection.charged_bytes = 0

    async def _serve_connection(self, connection: _Connection) -> None:
        try:
            while True:
                await self._serve_request(connection)
        except TimeoutError:  # an OSError too, so it comes first
            self._counters.add(Counter.DEADLINES_MISSED)
        except (_PeerLeft, OSError, asyncio.CancelledError):
            pass  # nobody is left to tell, or the connection made room for another
        except WireError as error:
            self._counters.add(Counter.FRAMES_REFUSED)
            await self._refuse(connection, error)
        finally:
            self._forget(connection)

    async def _serve_request(self, connection: _Connection) -> None:
        """Read one request, carry it out, answer it.

        Raises:
            WireError: when the peer does not keep to the protocol; the connection is over then.
            TimeoutError: when it is too slow.
        """
        # 1. The head: six bytes; the first whenever the peer likes within the idle time, the others soon after.
        connection.sending_since = _now()
        async with asyncio.timeout(self._limits.idle_s):
            begun = await self._first(connection)
        connection.sending_since = _now()
        if len(begun) < HEAD_BYTES:
            async with asyncio.timeout(self._limits.frame_s):
                begun += await self._read(connection, HEAD_BYTES - len(begun))
        head = parse_head(begun)
        if head.kind not in LANE_OF:
            raise WireError(ErrorCode.WIRE_FRAME, f"a {head.kind.name.lower()} came, expected a request of a parent")
        # 2. Room for request and answer, before the first byte of the payload is taken.
        self._charge(connection, head.payload_bytes + PAYLOAD_MAX_BYTES[ANSWER_OF[head.kind]])
        try:
            # 3. The payload, within its deadline; no deadline is set for what is there already.
            payload = _there(connection, head.payload_bytes)
            if len(payload) < head.payload_bytes:
                async with asyncio.timeout(self._limits.frame_s):
                    payload += await self._read(connection, head.payload_bytes - len(payload))
            connection.sending_since = None
            # 4. The answer, carried out in its lane.
            frame = await self._answer(head, payload)
            # 5. The peer takes it, or is left.
            taken = _taken(connection, frame)
            if taken < len(frame):
                async with asyncio.timeout(self._limits.write_s):
                    await asyncio.get_running_loop().sock_sendall(connection.endpoint, memoryview(frame)[taken:])
        finally:
            self._discharge(connection)

    def _charge(self, connection: _Connection, size_bytes: int) -> None:
        """Speak for memory; whoever holds some and has been sending for the longest makes room.

        Raises:
            WireError: ``wire-busy`` when nobody can.
        """
        while not self._budget.fits(size_bytes):
            if not self._evict(one for one in self._open if one.charged_bytes):
                self._counters.add(Counter.BUSY)
                break
        self._budget.charge(size_bytes)
        connection.charged_bytes = size_bytes

    async def _first(self, connection: _Connection) -> bytes:
        """Return one to six bytes of a head; between two frames the peer may leave."""
        begun = await asyncio.get_running_loop().sock_recv(connection.endpoint, HEAD_BYTES)
        if not begun:
            raise _PeerLeft
        return begun

    async def _read(self, connection: _Connection, length: int) -> bytes:
        """Return exactly so many bytes."""
        loop = asyncio.get_running_loop()
        buffer = bytearray(length)
        view, filled = memoryview(buffer), 0
        while filled < length:
            received = await loop.sock_recv_into(connection.endpoint, view[filled:])
            if not received:
                self._counters.add(Counter.FRAMES_HALF)
                raise ConnectionResetError
            filled += received
        return bytes(buffer)

    async def _answer(self, head: FrameHead, payload: bytes) -> bytes:
        """Return the frame that answers a request: its result, or the problem."""
        message = decode_message(head, payload)
        self._counters.add(Counter.REQUESTS)
        try:
            async with asyncio.timeout(self._limits.answer_s):
                return await self._lanes.run(LANE_OF[head.kind], lambda: encode_message(self._handler(message)))
        except TimeoutError:
            self._counters.add(Counter.DEADLINES_MISSED)
            return encode_message(problem_of(_too_slow()))
        except PcrgateError as error:
            self._counters.add(Counter.BUSY if error.code is ErrorCode.WIRE_BUSY else Counter.REFUSALS)
            return encode_message(problem_of(error))
        except Exception as error:  # noqa: BLE001 - whatever a part raises: the connection lives on, nothing of it is told
            self._counters.add(Counter.INTERNAL_ERRORS)
            return encode_message(problem_of(error))

    async def _refuse(self, connection: _Connection, error: WireError) -> None:
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(self._limits.write_s):
                await asyncio.get_running_loop().sock_sendall(connection.endpoint, encode_message(problem_of(error)))


def _there(connection: _Connection, length: int) -> bytes:
    """Return what came already of so many bytes; nothing also at the end, which the next read meets again."""
    try:
        return connection.endpoint.recv(length)
    except BlockingIOError:
        return b""


def _taken(connection: _Connection, frame: bytes) -> int:
    """Return how much of a frame the peer takes at once."""
    try:
        return connection.endpoint.send(frame)
    except BlockingIOError:
        return 0


def _too_slow() -> WireError:
    return WireError(ErrorCode.WIRE_BUSY, "the answer took longer than its deadline, expected it sooner")


def _now() -> float:
    return asyncio.get_running_loop().time()
