"""A parent's service on a loopback port, with real stores in a folder of its own, and a token for each role."""

import io
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from service.addresses import UnixAddress
from service.app import create_app
from service.artifact_files import FileArtifactStore
from service.artifact_store import ArtifactStore
from service.enclave_desk import Link
from service.enclave_link import EnclaveLink
from service.log_lines import logger
from service.settings import ServiceSettings
from service.shelf import Shelf
from service.state_sqlite import SqliteStateStore
from service.state_store import Role, StateStore
from service.tokens import Tokens, token_key

START_TIMEOUT_S = 20.0
GENEROUS = {"rate_per_s": 10_000.0, "rate_burst": 10_000}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceStage:
    """Hold a running service.

    Attributes:
        url: where it answers.
        port: its port on 127.0.0.1.
        tokens: one a role, ready for the header.
        maker: makes and checks tokens.
        state: what it remembers.
        artifacts: sealed files.
        shelf: what its broker would hand out.
        log: everything that it has logged.
        app: the application.
    """

    url: str
    port: int
    tokens: dict[Role, str]
    maker: Tokens
    state: StateStore
    artifacts: ArtifactStore
    shelf: Shelf
    log: io.StringIO
    app: Any

    def client(
        self, role: Role | None = Role.CALLER, *, authorization: str | None = None, **options: Any
    ) -> httpx.Client:
        """Return a client with the token of a role, or with a header of its own."""
        value = authorization if role is None else f"Bearer {self.tokens[role]}"
        headers = {} if value is None else {"Authorization": value}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30, trust_env=False, **options)


@contextmanager
def running_service(
    folder: Path,
    *,
    link: Link | None = None,
    artifacts: ArtifactStore | None = None,
    clock: Callable[[], float] = time.monotonic,
    **changes: Any,
) -> Iterator[ServiceStage]:
    """Run a service until the end of the block.

    Args:
        folder: for its stores; a second service over the same folder finds what the first one left.
        link: to an enclave; to a socket where nobody listens when None.
        artifacts: where sealed files are kept; in the folder when None.
        clock: seconds, for rates.
        changes: settings other than generous ones.
    """
    settings = ServiceSettings.model_validate({"data_directory": folder, **GENEROUS, **changes})
    files = artifacts or FileArtifactStore(folder / "artifacts")
    with closing(SqliteStateStore(folder / "state.db")) as state:
        tokens = Tokens(state, token_key(folder / "token.key"))
        shelf = Shelf(folder / "shelf", state, files)
        out = io.StringIO()
        app = create_app(
            settings,
            state=state,
            artifacts=files,
            tokens=tokens,
            shelf=shelf,
            link=link or EnclaveLink(UnixAddress(path=folder / "nobody.sock"), timeout_s=5),
            log=logger(out),
            clock=clock,
        )
        made = {role: tokens.make(role, f"test-{role.value}", now_ms=1) for role in Role}
        with serving(app) as port:
            yield ServiceStage(
                url=f"http://127.0.0.1:{port}", port=port, tokens=made, maker=tokens, state=state, artifacts=files,
                shelf=shelf, log=out, app=app,
            )  # fmt: skip


@contextmanager
def serving(app: Any) -> Iterator[int]:
    """Serve an application in a thread of its own and yield the port."""
    endpoint = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    endpoint.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, ws="none", timeout_keep_alive=5))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [endpoint]}, name="service", daemon=True)
    thread.start()
    end = time.monotonic() + START_TIMEOUT_S
    while not server.started:
        assert thread.is_alive()
        assert time.monotonic() < end
        time.sleep(0.01)
    try:
        yield endpoint.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(START_TIMEOUT_S)
        endpoint.close()
        assert not thread.is_alive()
