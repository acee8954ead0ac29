"""Run the parent: REST, the broker that the enclave asks, the relay to KMS: one process, which drains on SIGTERM."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import boto3
import uvicorn

from service.addresses import Address
from service.app import create_app
from service.artifact_files import FileArtifactStore
from service.artifact_s3 import S3ArtifactStore
from service.artifact_store import ArtifactStore
from service.broker import Broker
from service.credentials import CredentialsProvider
from service.enclave_link import EnclaveLink
from service.relay import Relay, Upstream
from service.settings import ServiceSettings
from service.shelf import Shelf
from service.state_sqlite import SqliteStateStore
from service.tokens import Tokens, token_key

KEEP_ALIVE_S: Final = 15
"""How long an idle connection of a caller is kept."""

CONNECTIONS_MAX: Final = 1024
"""Most connections of callers; uvicorn answers 503 beyond."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Say where parent and enclave meet, and what the enclave gets there.

    Attributes:
        enclave: where the enclave listens.
        broker: where it asks for manifest, credentials and sealed files.
        relay: where it reaches KMS; None for no relay.
        upstream: what the relay reaches.
        credentials: what the broker hands out.
    """

    enclave: Address
    broker: Address
    relay: Address | None
    upstream: Upstream | None
    credentials: CredentialsProvider


def open_state(settings: ServiceSettings) -> tuple[SqliteStateStore, Tokens]:
    """Return what is remembered, and who may ask; the caller closes the first.

    Raises:
        ServiceError: ``service-store``.
        UsageError: ``service-settings``.
    """
    settings.data_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    state = SqliteStateStore(settings.data_directory / "state.db")
    return state, Tokens(state, token_key(settings.data_directory / "token.key"))


def artifacts_of(settings: ServiceSettings) -> ArtifactStore:
    """Return where sealed files are kept: the bucket of the settings, else the data directory."""
    if settings.bucket is None:
        return FileArtifactStore(settings.data_directory / "artifacts")
    return S3ArtifactStore(boto3.client("s3"), settings.bucket, prefix=settings.bucket_prefix)


async def serve(settings: ServiceSettings, places: Places, *, listening: Sequence[socket.socket] | None = None) -> None:
    """Serve until SIGTERM or SIGINT, then drain.

    Args:
        settings: what the operator set.
        places: where parent and enclave meet.
        listening: bound sockets to serve on, from whoever started the process; None binds the settings' host and port.

    Raises:
        PcrgateError: when it cannot begin.
        OSError: when an address is not to be had.
    """
    state, tokens = open_state(settings)
    with closing(state):
        artifacts = artifacts_of(settings)
        shelf = Shelf(settings.data_directory / "shelf", state, artifacts)
        app = create_app(
            settings, state=state, artifacts=artifacts, tokens=tokens, shelf=shelf, link=EnclaveLink(places.enclave)
        )
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                host=settings.host,
                port=settings.port,
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                ws="none",
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=int(settings.drain_s) + 1,
                limit_concurrency=CONNECTIONS_MAX,
                ssl_certfile=_text(settings.tls_certificate),
                ssl_keyfile=_text(settings.tls_key),
            )
        )
        async with _parent(places, shelf):
            await server.serve(None if listening is None else list(listening))


@asynccontextmanager
async def _parent(places: Places, shelf: Shelf) -> AsyncIterator[None]:
    """Serve the enclave beside REST."""
    broker = Broker(places.broker, manifest=shelf.manifest, blobs=shelf, credentials=places.credentials)
    tasks = [asyncio.create_task(broker.serve())]
    if places.relay is not None and places.upstream is not None:
        tasks.append(asyncio.create_task(Relay(places.relay, places.upstream).serve()))
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
