"""Run the parent's process on Unix sockets: the composition of production, but for the addresses and credentials."""

import asyncio
import sys
from pathlib import Path

from pcrgate.wire.messages import CredentialsAnswer
from service.addresses import UnixAddress
from service.credentials import FixedCredentials
from service.process import Places, serve
from service.relay import Upstream
from service.settings import ServiceSettings


def places(folder: Path, enclave: Path) -> Places:
    """Return places in a folder; the credentials open nothing."""
    answer = CredentialsAnswer(access_key_id="A", secret_access_key="s", session_token=None, expires_at_s=1)
    return Places(
        enclave=UnixAddress(path=enclave),
        broker=UnixAddress(path=folder / "broker.sock"),
        relay=UnixAddress(path=folder / "relay.sock"),
        upstream=Upstream(host="127.0.0.1", port=9),
        credentials=FixedCredentials(answer=answer),
    )


if __name__ == "__main__":
    asyncio.run(serve(ServiceSettings.read(), places(Path(sys.argv[1]), Path(sys.argv[2]))))
