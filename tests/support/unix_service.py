"""Run the parent's process on Unix sockets: the composition of production, but for the addresses and credentials."""

import asyncio
import json
import socket
import sys
from pathlib import Path
from typing import Any

from pcrgate.wire.messages import CredentialsAnswer
from service.addresses import UnixAddress
from service.credentials import FixedCredentials
from service.process import Places, serve
from service.relay import Upstream
from service.settings import ServiceSettings

NOTHING: dict[str, Any] = {
    "host": "127.0.0.1",
    "port": 9,
    "credentials": {"access_key_id": "A", "secret_access_key": "s", "session_token": None, "expires_at_s": 1},
}
"""A relay to nobody and credentials that open nothing, for who gives no file."""


def places(folder: Path, enclave: Path, upstream: Path | None = None) -> Places:
    """Return places in a folder; a file may say which KMS there is, and credentials for it."""
    told: dict[str, Any] = NOTHING if upstream is None else json.loads(upstream.read_text())
    return Places(
        enclave=UnixAddress(path=enclave),
        broker=UnixAddress(path=folder / "broker.sock"),
        relay=UnixAddress(path=folder / "relay.sock"),
        upstream=Upstream(host=told["host"], port=told["port"]),
        credentials=FixedCredentials(answer=CredentialsAnswer(**told["credentials"])),
    )


def main(folder: str, enclave: str, upstream: str = "", descriptor: str = "") -> None:
    """Serve until told to end, on an inherited socket if there is one."""
    made = places(Path(folder), Path(enclave), Path(upstream) if upstream else None)
    listening = [socket.socket(fileno=int(descriptor))] if descriptor else None
    asyncio.run(serve(ServiceSettings.read(), made, listening=listening))


if __name__ == "__main__":
    main(*sys.argv[1:])
