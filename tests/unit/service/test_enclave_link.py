"""The link to an enclave that keeps to nothing: half frames, silence, other answers, connections that it has closed."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from pcrgate.errors import ErrorCode, WireError
from pcrgate.wire.frames import HEAD_BYTES, parse_head
from pcrgate.wire.messages import (
    EvidenceAnswer,
    InvokeAnswer,
    Message,
    Problem,
    StatusAnswer,
    StatusRequest,
    encode_message,
)
from service.addresses import UnixAddress
from service.enclave_link import KEPT_CONNECTIONS, EnclaveLink, EnclaveRefusedError

LIVE = StatusAnswer(phase="live", failure=None, counters={})
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def request_read(reader: asyncio.StreamReader) -> None:
    head = parse_head(await reader.readexactly(HEAD_BYTES))
    await reader.readexactly(head.payload_bytes)


def run_with(path: Path, serve: Serve, work: Callable[[EnclaveLink], Coroutine[Any, Any, None]], **options: Any) -> int:
    """Run an enclave that does as it is told; return how many connections it got."""
    connections = 0

    async def counted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        try:
            await serve(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def run() -> None:
        async with await asyncio.start_unix_server(counted, str(path)):
            link = EnclaveLink(UnixAddress(path=path), **{"timeout_s": 30.0, **options})
            try:
                await work(link)
            finally:
                await link.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for other in others:
            other.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await asyncio.sleep(0.01)  # what was closed is gone

    asyncio.run(run())
    return connections


def answering(*answers: Message, then: bytes = b"") -> Serve:
    """Answer requests on a connection, one after the other, then write some bytes and close."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await request_read(reader)
            writer.write(encode_message(answer))
            await writer.drain()
        if then:
            await request_read(reader)
            writer.write(then)
            await writer.drain()

    return serve


async def refused(link: EnclaveLink, code: ErrorCode) -> None:
    with pytest.raises(WireError) as caught:
        await link.ask(StatusRequest(), StatusAnswer)
    assert caught.value.code is code


def test_a_connection_is_used_again(tmp_path: Path) -> None:
    async def work(link: EnclaveLink) -> None:
        for _ in range(3):
            assert await link.ask(StatusRequest(), StatusAnswer) == LIVE

    assert run_with(tmp_path / "s", answering(LIVE, LIVE, LIVE), work) == 1


def test_a_connection_that_the_enclave_closed_is_not(tmp_path: Path) -> None:
    async def work(link: EnclaveLink) -> None:
        for _ in range(3):
            assert await link.ask(StatusRequest(), StatusAnswer) == LIVE
            await asyncio.sleep(0.05)  # the end of the connection arrives

    assert run_with(tmp_path / "s", answering(LIVE), work) == 3


@pytest.mark.parametrize("cut", [1, HEAD_BYTES, HEAD_BYTES + 1])
def test_a_frame_that_breaks_off_is_the_links_fault_and_the_next_one_is_whole(tmp_path: Path, cut: int) -> None:
    whole = encode_message(LIVE)
    turns = iter([answering(then=whole[:cut]), answering(LIVE)])

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await next(turns)(reader, writer)

    async def work(link: EnclaveLink) -> None:
        await refused(link, ErrorCode.WIRE_LINK)
        assert await link.ask(StatusRequest(), StatusAnswer) == LIVE

    assert run_with(tmp_path / "s", serve, work) == 2


def test_what_is_no_frame_ends_the_connection(tmp_path: Path) -> None:
    async def work(link: EnclaveLink) -> None:
        await refused(link, ErrorCode.WIRE_FRAME)

    run_with(tmp_path / "s", answering(then=b"\xff" * 64), work)


def test_another_answer_than_was_asked_for_is_none(tmp_path: Path) -> None:
    async def work(link: EnclaveLink) -> None:
        await refused(link, ErrorCode.WIRE_MESSAGE)

    run_with(tmp_path / "s", answering(InvokeAnswer(record=b"r", receipt=b"r")), work)
    run_with(tmp_path / "t", answering(EvidenceAnswer(document=b"d", identity=b"i")), work)


def test_silence_has_an_end(tmp_path: Path) -> None:
    async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async def work(link: EnclaveLink) -> None:
        await refused(link, ErrorCode.WIRE_LINK)

    run_with(tmp_path / "s", silent, work, timeout_s=0.05)


def test_nobody_there(tmp_path: Path) -> None:
    asyncio.run(refused(EnclaveLink(UnixAddress(path=tmp_path / "nobody")), ErrorCode.WIRE_LINK))


def test_a_refusal_keeps_its_code_and_one_that_is_unknown_is_internal(tmp_path: Path) -> None:
    problems = (Problem(code="wire-busy", detail="later", receipt=b"r"), Problem(code="of-tomorrow", detail="what"))

    async def work(link: EnclaveLink) -> None:
        for code in (ErrorCode.WIRE_BUSY, ErrorCode.INTERNAL):
            with pytest.raises(EnclaveRefusedError) as caught:
                await link.ask(StatusRequest(), StatusAnswer)
            assert caught.value.code is code
            assert caught.value.problem in problems

    assert run_with(tmp_path / "s", answering(*problems), work) == 1


@pytest.mark.parametrize(("at_once", "again"), [(KEPT_CONNECTIONS, 0), (KEPT_CONNECTIONS + 1, 1)])
def test_so_many_connections_are_kept_and_no_more(tmp_path: Path, at_once: int, again: int) -> None:
    round_is_there = asyncio.Barrier(at_once)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await request_read(reader)
            await round_is_there.wait()  # all of a round, before the first is answered
            writer.write(encode_message(LIVE))

    async def work(link: EnclaveLink) -> None:
        for _ in range(2):
            await asyncio.gather(*(link.ask(StatusRequest(), StatusAnswer) for _ in range(at_once)))

    assert run_with(tmp_path / "s", serve, work) == at_once + again
