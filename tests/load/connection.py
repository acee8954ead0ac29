"""Send requests over one kept connection each, as lean as can be: the same code speaks with whatever is measured."""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

from pcrgate.client.exchange import Reply, Request

IDLE_MAX_S = 5.0
"""How long a connection may have been idle to be used again: the service closes it after fifteen seconds."""

LIMIT_BYTES = 4 << 20
"""Longest answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """Hold a reply and how long it took, in seconds."""

    reply: Reply
    seconds: float
    headers: dict[str, str] = field(default_factory=dict)


def head_and_body(request: Request, token: str) -> bytes:
    """Return a request as it goes over the wire."""
    body = b"" if request.body is None else json.dumps(dict(request.body), separators=(",", ":")).encode()
    headers = {
        "Host": "127.0.0.1",
        "Authorization": f"Bearer {token}",
        "Accept-Encoding": "identity",
        "Content-Length": str(len(body)),
        **({"Content-Type": "application/json"} if body else {}),
        **request.headers,
    }
    query = "&".join(f"{name}={value}" for name, value in request.query.items())
    target = f"{request.path}?{query}" if query else request.path
    lines = [f"{request.method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Connection:
    """Own one connection; requests go one after the other. One that the service closed while idle is made anew."""

    def __init__(self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._port, self._reader, self._writer = port, reader, writer
        self._used = time.monotonic()

    @classmethod
    async def open(cls, port: int) -> Self:
        return cls(port, *await asyncio.open_connection("127.0.0.1", port, limit=LIMIT_BYTES))

    async def send(self, raw: bytes) -> Timed:
        """Send one request and return its answer."""
        if self._reader.at_eof() or time.monotonic() - self._used > IDLE_MAX_S:
            self._writer.close()
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port, limit=LIMIT_BYTES)
        begun = time.perf_counter()
        self._writer.write(raw)
        head = await self._reader.readuntil(b"\r\n\r\n")
        status_line, *lines = head[:-4].decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        body = await self._reader.readexactly(int(headers.get("content-length", "0")))
        seconds = time.perf_counter() - begun
        self._used = time.monotonic()
        asked = headers.get("retry-after")
        reply = Reply(
            status=int(status_line.split()[1]), body=body, retry_after_s=None if asked is None else float(asked)
        )
        return Timed(reply=reply, seconds=seconds, headers=headers)

    def close(self) -> None:
        self._writer.close()


async def all_sent(port: int, queues: Sequence[Sequence[bytes]]) -> tuple[float, list[list[Timed]]]:
    """Send each queue over a connection of its own, all at the same time; return seconds in all, and the answers."""
    connections = [await Connection.open(port) for _ in queues]

    async def one(connection: Connection, queue: Sequence[bytes]) -> list[Timed]:
        return [await connection.send(raw) for raw in queue]

    begun = time.perf_counter()
    answers = await asyncio.gather(*(one(*pair) for pair in zip(connections, queues, strict=True)))
    seconds = time.perf_counter() - begun
    for connection in connections:
        connection.close()
    return seconds, list(answers)
