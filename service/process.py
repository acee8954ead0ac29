"""Run the parent: REST, the broker that the enclave asks, the relay to KMS: one process, which drains on SIGTERM."""

import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import boto3
import uvicorn

from pcrgate.errors import ErrorCode, UsageError
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

BACKLOG: Final = 2048
"""Connections that may wait to be accepted; uvicorn's own number."""


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
    with _as_usage(ErrorCode.SERVICE_SETTINGS, "the data directory cannot be made"):
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
        UsageError: ``usage-port`` or ``service-settings`` when it cannot begin.
        ServiceError: ``service-store``.
    """
    state, tokens = open_state(settings)
    with closing(state):
        artifacts = artifacts_of(settings)
        shelf = Shelf(settings.data_directory / "shelf", state, artifacts)
        app = create_app(
            settings, state=state, artifacts=artifacts, tokens=tokens, shelf=shelf, link=EnclaveLink(places.enclave)
        )
        config = uvicorn.Config(
            app,
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
        with _as_usage(ErrorCode.SERVICE_SETTINGS, "tls_certificate and tls_key cannot be used"):
            config.load()
        endpoints = [_bound(settings)] if listening is None else list(listening)
        try:
            async with _parent(places, shelf):
                await uvicorn.Server(config).serve(endpoints)
        finally:
            for endpoint in endpoints:
                endpoint.close()


@asynccontextmanager
async def _parent(places: Places, shelf: Shelf) -> AsyncIterator[None]:
    """Serve the enclave beside REST.

    Raises:
        UsageError: ``usage-port``.
    """
    broker = Broker(places.broker, manifest=shelf.manifest, blobs=shelf, credentials=places.credentials)
    async with AsyncExitStack() as stack:
        with _as_usage(ErrorCode.USAGE_PORT, "the enclave's way to its parent cannot be listened on"):
            await stack.enter_async_context(await broker.start())
        if places.relay is not None and places.upstream is not None:
            with _as_usage(ErrorCode.USAGE_PORT, "the enclave's way to KMS cannot be listened on"):
                await stack.enter_async_context(await Relay(places.relay, places.upstream).start())
        yield


def _bound(settings: ServiceSettings) -> socket.socket:
    """Return the socket of REST.

    Raises:
        UsageError: ``usage-port``.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with _as_usage(ErrorCode.USAGE_PORT, f"port {settings.port} on {settings.host} cannot be listened on"):
        return socket.create_server((settings.host, settings.port), family=family, backlog=BACKLOG)


@contextmanager
def _as_usage(code: ErrorCode, fact: str) -> Iterator[None]:
    """Raise what the system refuses as a UsageError."""
    try:
        yield
    except OSError as error:
        # Python says in its own words what it was about to do; the fact says it in ours.
        why = (error.strerror or type(error).__name__).partition(" (while ")[0].lower()
        raise UsageError(code, f"{fact} ({why}), expected one that can be") from error


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
