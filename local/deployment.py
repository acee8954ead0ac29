"""Compose the laptop's deployment: provisioned keys, the parent as a process, enclaves as processes, a publisher."""

import asyncio
import hashlib
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from socket import socket
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from local.interruption import uninterrupted
from local.measurement import ROOT, measure
from local.parent_process import ParentPlan, settings_of
from local.processes import Child, bound_socket, kept_environment, listens
from local.provision import CA_FILE, Provisioned, Provisioner, role_client
from local.publishing import AGENT, LaptopPublisher, Sealed
from pcrgate.client.client import Client
from pcrgate.client.publisher import Publisher
from pcrgate.client.trust import TrustPolicy
from pcrgate.errors import ErrorCode, PcrgateError
from pcrgate.twin.clients import root_credentials
from pcrgate.twin.server import Twin
from pcrgate.units import Sha384
from pcrgate.wire.messages import Message, StatusAnswer, StatusRequest
from service.addresses import UnixAddress
from service.enclave_link import EnclaveLink
from service.process import open_state
from service.state_store import Role

STATUS_TIMEOUT_S: Final = 20.0
"""Longest for an enclave to say in which phase it is."""

_ENDED: Final = ("live", "failed")
_Answer = TypeVar("_Answer", bound=Message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Enclave:
    """Hold one enclave's process.

    Attributes:
        child: the process.
        socket: where it listens.
    """

    child: Child
    socket: Path

    def wait_listening(self) -> None:
        """Wait until it takes connections.

        Raises:
            PcrgateError: ``local-process``.
        """
        self.child.wait(lambda: listens(self.socket))

    def wait(self) -> StatusAnswer:
        """Return its status once it is live or has failed.

        Raises:
            PcrgateError: ``local-process``.
        """
        self.wait_listening()
        found: list[StatusAnswer] = []

        def ended() -> bool:
            found.append(ask(self.socket, StatusRequest(), StatusAnswer))
            return found[-1].phase in _ENDED

        self.child.wait(ended)
        return found[-1]

    def require_live(self) -> None:
        """Wait until it is live.

        Raises:
            PcrgateError: ``local-process`` when it failed to boot.
        """
        status = self.wait()
        if status.failure is not None:
            raise PcrgateError(ErrorCode.LOCAL_PROCESS, f"the enclave failed to boot: {status.failure}")


def ask(path: Path, message: Message, expected: type[_Answer]) -> _Answer:
    """Return an enclave's answer, over a connection of its own."""

    async def asked() -> _Answer:
        link = EnclaveLink(UnixAddress(path=path), timeout_s=STATUS_TIMEOUT_S)
        try:
            return await link.ask(message, expected)
        finally:
            await link.close()

    return asyncio.run(asked())


class Deployment:
    """Own everything around one twin. A context manager that ends what it started, the newest first.

    Attributes:
        folder: where everything lies.
        twin: the running twin.
        checkout: what enclaves are measured and run from.
        publisher: who seals and signs.
        provisioned: what the keys and roles are.
        configuration: the enclave's measured configuration.
        trust_file: the trust policy of agents, once an image was approved.
        url: of the service, once the parent runs.
    """

    def __init__(
        self,
        folder: Path,
        twin: Twin,
        provisioner: Provisioner,
        publisher: LaptopPublisher,
        *,
        checkout: Path = ROOT,
    ) -> None:
        """Provision; nothing is started yet."""
        self.checkout: Final = checkout
        self.folder: Final = folder
        self.twin: Final = twin
        self.publisher: Final = publisher
        self._provisioner: Final = provisioner
        self._stack: Final = ExitStack()
        self.provisioned: Final[Provisioned] = provisioner.provision()
        self.configuration: Final = folder / "enclave.json"
        self.configuration.write_text(self.provisioned.configuration)
        self.ca_file: Final = folder / CA_FILE
        self.ca_file.write_bytes(twin.ca_path.read_bytes())
        self.trust_file: Final = folder / "trust.json"
        self.key_file: Final = folder / "agent.pem"
        pem = publisher.agent_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        write_private(self.key_file, pem)
        self._parent_folder: Final = folder / "parent"
        self._children: Final[list[Child]] = []
        self._parent: Child | None = None
        self._tokens: dict[Role, str] = {}
        self.url = ""

    def measured(self, root: Path | None = None) -> Sha384:
        """Return what PCR0 an enclave of a checkout has, by default the deployment's."""
        return measure(self.configuration, self.ca_file, root=root or self.checkout)

    def approve(self, pcr0: Sha384) -> None:
        """Let this image have what the keys protect, and say so to agents."""
        self.trust_file.write_text(self._provisioner.approve(pcr0))

    def seal(
        self, name: str, plaintext: bytes, *, epoch: int, progress: Callable[[int, int], None] | None = None
    ) -> Sealed:
        """Seal a model as the publisher's role."""
        kms = role_client(self.twin, self.provisioned.publisher)
        return self.publisher.seal(kms, self.provisioned, name, plaintext, epoch=epoch, progress=progress)

    def start_parent(self, port: int = 0) -> None:
        """Start the parent's process.

        Args:
            port: of the service, 0 for any free one.

        Raises:
            PcrgateError: ``usage-port``.
        """
        with closing(bound_socket(port)) as endpoint:
            self._start_parent(endpoint)

    def _start_parent(self, endpoint: socket) -> None:
        address, bootstrap = urlsplit(self.twin.https_url), root_credentials(self.twin, self._parent_account())
        ParentPlan(
            twin_host=address.hostname or "",
            twin_port=address.port or 0,
            ca_file=str(self.ca_file),
            region=self.twin.settings.region,
            role_arn=self.provisioned.parent,
            access_key_id=bootstrap.access_key_id,
            secret_access_key=bootstrap.secret_access_key,
        ).write(self._parent_folder)
        state, tokens = open_state(settings_of(self._parent_folder))
        with closing(state):
            for role in Role:
                self._tokens[role] = tokens.make(role, f"laptop-{role.value}", now_ms=self.publisher.made_ms)
                write_private(self.token_file(role), self._tokens[role].encode() + b"\n")
        words = ("parent", "--folder", self._parent_folder, "--enclave", self.enclave_socket, "--fd", endpoint.fileno())
        self._parent = self._started(
            "parent",
            [str(word) for word in words],
            environment=kept_environment("HOME", "TMPDIR"),
            pass_fds=(endpoint.fileno(),),
        )
        self.url = f"http://127.0.0.1:{endpoint.getsockname()[1]}"

    def _parent_account(self) -> str:
        return self.provisioned.parent.split(":")[4]

    @property
    def sealed_file(self) -> Path:
        """The sealed model that was published last, as its publisher has it."""
        return self.folder / "model.sealed"

    @property
    def enclave_socket(self) -> Path:
        """Where the service looks for the enclave."""
        return self.folder / "enclave.sock"

    def token(self, role: Role) -> str:
        """Return the token of a role."""
        return self._tokens[role]

    def token_file(self, role: Role) -> Path:
        """Return the file of a role's token."""
        return self.folder / f"{role.value}.token"

    def publish(self, sealed: Sealed, *, epoch: int, progress: Callable[[int], None] = lambda _: None) -> bytes:
        """Put a sealed model and the manifest that names it where enclaves find them; return the signed manifest."""
        if self._parent is not None:
            self._parent.wait(lambda: listens(self._parent_folder / "broker.sock"))
        self.sealed_file.write_bytes(sealed.message)
        signed = self.publisher.manifest(self.provisioned, sealed, epoch=epoch)
        with Publisher(self.url, token=self._tokens[Role.PUBLISHER]) as publisher:
            with self.sealed_file.open("rb") as file:
                publisher.put_artifact(file, progress=progress)
            publisher.put_manifest(signed)
        return signed

    def start_enclave(self, name: str = "enclave", *, root: Path | None = None) -> Enclave:
        """Start an enclave's process beside the parent.

        Args:
            name: of its socket and log; the service speaks with the one that is called enclave.
            root: the checkout that it runs, and is measured, from; the deployment's when None.
        """
        path = self.folder / f"{name}.sock"
        path.unlink(missing_ok=True)
        options = {
            "--config": self.configuration,
            "--pki": self.twin.pki_dir,
            "--socket": path,
            "--broker": self._parent_folder / "broker.sock",
            "--relay": self._parent_folder / "relay.sock",
        }
        words = ["enclave", "--end-with-stdin", *(str(part) for pair in options.items() for part in pair)]
        child = self._started(name, words, environment=kept_environment(), cwd=root or self.checkout)
        return Enclave(child=child, socket=path)

    def stored_file(self) -> Path:
        """Return where the parent keeps the sealed model that was published last."""
        digest = hashlib.sha384(self.sealed_file.read_bytes()).hexdigest()
        return settings_of(self._parent_folder).data_directory / "artifacts" / "blobs" / digest

    def client(self) -> Client:
        """Return the agent's client, which trusts what the trust policy's file says."""
        return Client(
            self.url,
            trust=TrustPolicy.read(self.trust_file),
            agent_id=AGENT,
            agent_key=self.publisher.agent_key,
            token=self._tokens[Role.CALLER],
        )

    def require_running(self) -> None:
        """See that every process still runs.

        Raises:
            PcrgateError: ``local-process``.
        """
        for child in self._children:
            child.require_running()

    def close(self) -> None:
        """End what was started."""
        self._stack.close()

    def _started(self, name: str, words: Sequence[str], **options: Any) -> Child:
        with uninterrupted():  # a process that is not remembered would still write where everything is removed
            child = Child(name, words, folder=self.folder, **options)
            self._children.append(child)
            self._stack.callback(child.stop)
        return child


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner reads."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
