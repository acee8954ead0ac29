"""A server of the enclave on a Unix socket, on an event loop of its own: for tests of the server and of its mutants."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from enclave.counters import Counters
from enclave.listener import UnixListener
from enclave.server import Server, ServerLimits
from pcrgate.wire import messages as wire
from service.addresses import UnixAddress
from service.enclave_link import EnclaveLink

SHORT = ServerLimits(connections=3, memory_bytes=3 << 20, idle_s=0.4, frame_s=0.2, answer_s=0.3, write_s=0.3)


@dataclass(slots=True)
class Running:
    """Hold a running server."""

    path: Path
    counters: Counters
    loop: asyncio.AbstractEventLoop

    def dial(self) -> socket.socket:
        endpoint = socket.socket(socket.AF_UNIX)
        endpoint.settimeout(10)
        endpoint.connect(str(self.path))
        return endpoint

    def ask(self, message: wire.Message, expected: Any = wire.StatusAnswer) -> Any:
        link = EnclaveLink(UnixAddress(path=self.path), timeout_s=10)

        async def asked() -> Any:
            try:
                first = await link.ask(message, expected)
                second = await link.ask(message, expected)  # over the kept connection
            finally:
                await link.close()
            assert first == second
            return second

        return asyncio.run_coroutine_threadsafe(asked(), self.loop).result(20)


@contextlib.contextmanager
def serving(
    path: Path, handler: Callable[[wire.Message], wire.Message], limits: ServerLimits = SHORT
) -> Iterator[Running]:
    loop = asyncio.new_event_loop()
    counters = Counters()
    server = Server(UnixListener(path=path), handler, limits=limits, counters=counters)
    ready = threading.Event()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    future = asyncio.run_coroutine_threadsafe(server.serve(ready.set), loop)
    assert ready.wait(10)
    try:
        yield Running(path, counters, loop)
    finally:

        async def ended() -> None:
            others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(ended(), loop).result(10)
        future.cancel()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
