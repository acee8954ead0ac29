"""Broker and relay let in so many connections of the enclave's side at once: the next one is closed, the others go on."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from pcrgate.wire.messages import ManifestRequest, encode_message
from service import broker, relay
from service.addresses import UnixAddress, connect
from service.blobs import BlobFolder
from service.broker import Broker
from service.credentials import ChainCredentials
from service.relay import Relay, Upstream

pytestmark = pytest.mark.network

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
ASKED = encode_message(ManifestRequest())


async def served(streams: Streams) -> bool:
    """Ask once, and say whether anything comes back."""
    streams[1].write(ASKED)
    try:
        return bool(await streams[0].read(1))
    except ConnectionError:
        return False


async def third_is_closed(address: UnixAddress, start: Callable[[], Awaitable[asyncio.Server]]) -> None:
    """Fill both places, knock in vain, free one, be served."""
    async with await start():
        held = [await connect(address) for _ in range(2)]
        assert [await served(streams) for streams in held] == [True, True]
        refused = await connect(address)
        assert not await served(refused)
        assert await served(held[1]), "whoever is in goes on"
        held[0][1].close()
        for _ in range(500):  # until its place is free
            again = await connect(address)
            if await served(again):
                break
            again[1].close()
            await asyncio.sleep(0.01)
        else:
            pytest.fail("the place stays taken")
        for streams in (refused, again, held[1]):
            streams[1].close()
        await asyncio.sleep(0.05)  # what was closed is gone


def test_the_broker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker, "CONNECTIONS_MAX", 2)
    (tmp_path / "manifest").write_bytes(b"signed")
    address = UnixAddress(path=tmp_path / "broker.sock")
    made = Broker(
        address, manifest=tmp_path / "manifest", blobs=BlobFolder(folder=tmp_path), credentials=ChainCredentials()
    )
    asyncio.run(third_is_closed(address, made.start))


def test_the_relay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "CONNECTIONS_MAX", 2)
    address = UnixAddress(path=tmp_path / "relay.sock")

    async def run() -> None:
        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while piece := await reader.read(1024):
                writer.write(piece)
                await writer.drain()
            writer.close()

        async with await asyncio.start_server(echo, "127.0.0.1", 0) as upstream:
            port = upstream.sockets[0].getsockname()[1]
            await third_is_closed(address, Relay(address, Upstream(host="127.0.0.1", port=port)).start)

    asyncio.run(run())
