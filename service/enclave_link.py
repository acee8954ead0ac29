"""Ask the enclave: one request a connection at a time, connections kept for the next, deadlines on both."""

import asyncio
from collections import deque
from typing import Final, TypeVar

from pcrgate.errors import ErrorCode, PcrgateError, WireError
from pcrgate.wire.frames import HEAD_BYTES, parse_head
from pcrgate.wire.messages import Message, Problem, decode_message, encode_message
from pcrgate.wire.problems import code_of
from service.addresses import Address, connect

ANSWER_TIMEOUT_S: Final = 130.0
"""Longest wait for an answer: a little more than the enclave's own deadline."""

KEPT_CONNECTIONS: Final = 32
"""Connections kept open for the next request: half of what an enclave serves at once, and above the usual
``invocations_at_once``, so that load makes no new ones."""

_Answer = TypeVar("_Answer", bound=Message)
_Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class EnclaveRefusedError(PcrgateError):
    """The enclave refused; its problem, and the receipt in it, are kept.

    Attributes:
        problem: what it said.
    """

    def __init__(self, problem: Problem) -> None:
        """Take the problem; a code that is unknown here becomes ``internal``."""
        super().__init__(code_of(problem), problem.detail)
        self.problem: Final = problem


class EnclaveLink:
    """Hold connections to one enclave."""

    def __init__(self, address: Address, *, timeout_s: float = ANSWER_TIMEOUT_S) -> None:
        """Take the address; nothing is dialled yet."""
        self._address: Final = address
        self._timeout_s: Final = timeout_s
        self._kept: Final[deque[_Streams]] = deque()

    async def ask(self, message: Message, expected: type[_Answer]) -> _Answer:
        """Return the enclave's answer.

        Args:
            message: the request.
            expected: the class of its answer.

        Raises:
            EnclaveRefusedError: when the enclave refused.
            WireError: ``wire-link`` when it cannot be reached or is too slow; ``wire-frame`` and ``wire-message``.
        """
        frame = encode_message(message)
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await self._exchange(frame)
        except TimeoutError as error:
            raise WireError(ErrorCode.WIRE_LINK, "the enclave did not answer in time, expected an answer") from error
        except (OSError, asyncio.IncompleteReadError) as error:
            raise WireError(ErrorCode.WIRE_LINK, "the enclave closed the connection, expected an answer") from error
        if isinstance(answer, Problem):
            raise EnclaveRefusedError(answer)
        if not isinstance(answer, expected):
            raise WireError(ErrorCode.WIRE_MESSAGE, f"a {answer.KIND.name.lower()} came, expected another answer")
        return answer

    async def _exchange(self, frame: bytes) -> Message:
        while self._kept:
            streams = self._kept.popleft()
            if streams[0].at_eof():
                streams[1].close()
                continue
            return await self._over(streams, frame)
        return await self._over(await connect(self._address), frame)

    async def _over(self, streams: _Streams, frame: bytes) -> Message:
        reader, writer = streams
        try:
            writer.write(frame)
            await writer.drain()
            head = parse_head(await reader.readexactly(HEAD_BYTES))
            answer = decode_message(head, await reader.readexactly(head.payload_bytes))
        except BaseException:
            writer.close()
            raise
        if len(self._kept) < KEPT_CONNECTIONS and not reader.at_eof():
            self._kept.append(streams)
        else:
            writer.close()
        return answer

    async def close(self) -> None:
        """Close what is kept."""
        while self._kept:
            self._kept.popleft()[1].close()
