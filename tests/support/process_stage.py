"""The whole way as processes: twin, service with broker and relay, enclave; each can be ended and started again."""

import dataclasses
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from local.publishing import Sealed
from pcrgate.attestation.anchors import Roots
from pcrgate.client.client import Client
from pcrgate.client.trust import TrustedPublisher, TrustPolicy
from pcrgate.manifest.grants import ActionRule, Grant
from pcrgate.manifest.release import Agent, Manifest
from pcrgate.units import Sha384
from service.process import open_state
from service.settings import ServiceSettings
from service.state_store import Role
from tests.support.client_stage import listens
from tests.support.commands import wait_until
from tests.support.enclave_stage import (
    AGENT,
    PUBLISHER,
    ROOT,
    EnclaveProcess,
    EnclaveStage,
    Site,
    open_site,
    open_stage,
    verifying,
)
from tests.support.service_stage import GENEROUS

AGENTS = 8
"""Agents beside ``one``: an agent may have 64 sessions, so together they have 512."""


def agent_key(number: int) -> Ed25519PrivateKey:
    """Return the key of agent ``load-NUMBER``."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"load agent %d" % number).digest())


def manifest_for_many(stage: EnclaveStage, model: Sealed | None = None) -> Manifest:
    """Return the stage's manifest with more agents, and queries that are not counted."""
    base = stage.manifest

    def uncounted(grant: Grant) -> Grant:
        return replace(grant, actions=tuple(replace(rule, max_uses_per_boot=None) for rule in grant.actions))

    grants = [uncounted(grant) for grant in base.grants]
    of_one = [grant for grant in grants if grant.agent == "one"]
    names = [f"load-{number}" for number in range(AGENTS)]
    return replace(
        base,
        secrets=base.secrets if model is None else (model.secret,),
        agents=(
            *base.agents,
            *(Agent(name=name, public_key=verifying(agent_key(number))) for number, name in enumerate(names)),
        ),
        grants=(*grants, *(replace(grant, agent=name) for name in names for grant in of_one)),
        rules=tuple(replace(rule, actions=_uncounted(rule.actions)) for rule in base.rules),
    )


def _uncounted(rules: tuple[ActionRule, ...]) -> tuple[ActionRule, ...]:
    return tuple(replace(rule, max_uses_per_boot=None) for rule in rules)


@dataclass(slots=True, kw_only=True)
class ProcessStage:
    """Hold the processes.

    Attributes:
        site: of the enclave; its own parent serves nobody, the service's broker and relay do.
        folder: data and sockets of the service.
        endpoint: on which the service listens, from process to process.
        environment: of the service.
        pcr0: the measurement of the checkout when everything began.
        tokens: one a role.
    """

    site: Site
    folder: Path
    endpoint: socket.socket
    environment: dict[str, str]
    pcr0: Sha384
    tokens: dict[Role, str]
    service: subprocess.Popen[bytes] | None = field(default=None)
    enclave: EnclaveProcess | None = field(default=None)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.endpoint.getsockname()[1]}"

    def start_service(self) -> None:
        """Start the service and wait until it answers."""
        for name in ("broker.sock", "relay.sock"):
            (self.folder / name).unlink(missing_ok=True)
        words = (self.folder, self.site.socket, self.folder / "upstream.json", self.endpoint.fileno())
        with (self.folder / "service.log").open("ab") as log:
            self.service = subprocess.Popen(
                [sys.executable, "-m", "tests.support.unix_service", *(str(word) for word in words)],
                cwd=ROOT,
                env=self.environment,
                stderr=log,
                pass_fds=(self.endpoint.fileno(),),
            )
        started = self.service

        def answers() -> bool:
            assert started.poll() is None, (self.folder / "service.log").read_text()[-2000:]
            with suppress(httpx.TransportError):
                return httpx.get(f"{self.url}/healthz", trust_env=False, timeout=1).status_code == 200
            return False

        wait_until(answers)

    def publish(self, sealed: Sealed) -> None:
        """Put the sealed model and the manifest where the enclave finds them."""
        with self.http(Role.PUBLISHER) as http:
            digest = hashlib.sha384(sealed.message).hexdigest()
            assert http.put(f"/v1/artifacts/{digest}", content=sealed.message).status_code == 201
            epoch = self.site.stage.manifest.epoch
            assert http.put(f"/v1/manifests/{epoch}", content=self.site.signed).status_code == 201

    def start_enclave(self) -> None:
        """Start an enclave and wait until it is live; the one before must have ended."""
        self.site.socket.unlink(missing_ok=True)
        places = {f"--{name}": self.folder / f"{name}.sock" for name in ("broker", "relay")}
        self.enclave = EnclaveProcess(self.site, places=places)
        wait_until(lambda: listens(self.site.socket))
        failure = self.enclave.wait("live").failure
        assert failure is None, failure

    def kill_service(self) -> None:
        """Kill the service without warning."""
        assert self.service is not None
        self.service.kill()
        self.service.wait(30)

    def kill_enclave(self) -> None:
        """Kill the enclave without warning."""
        assert self.enclave is not None
        self.enclave.process.kill()
        self.enclave.process.communicate(timeout=30)

    def http(self, role: Role = Role.CALLER) -> httpx.Client:
        """Return a plain client with the token of a role."""
        headers = {"Authorization": f"Bearer {self.tokens[role]}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30, trust_env=False)

    def trust(self) -> TrustPolicy:
        stage = self.site.stage
        return TrustPolicy(
            roots=Roots.pinned(stage.twin.pki.root_fingerprint),
            pcr0=(self.pcr0,),
            manifest=TrustedPublisher(keys=(verifying(PUBLISHER),), floor_epoch=stage.manifest.epoch),
        )

    def client(self, name: str = "one", key: Ed25519PrivateKey = AGENT, **options: Any) -> Client:
        """Return a client of an agent."""
        token = self.tokens[Role.CALLER]
        return Client(self.url, trust=self.trust(), agent_id=name, agent_key=key, token=token, **options)

    def state_folder(self) -> Path:
        return Path(self.environment["PCRGATE_SERVICE_DATA_DIRECTORY"])

    def close(self) -> None:
        """End what still runs."""
        if self.enclave is not None and self.enclave.process.poll() is None:
            self.enclave.stop()
        if self.service is not None and self.service.poll() is None:
            self.service.send_signal(signal.SIGTERM)
            self.service.wait(60)


@contextmanager
def open_process_stage(*, model: bytes | None = None, start: bool = True, **settings: Any) -> Iterator[ProcessStage]:
    """Run all processes until the end of the block.

    Args:
        model: ONNX model to seal instead of the stage's.
        start: whether the enclave is started, and waited for.
        settings: of the service, other than generous ones.
    """
    folder = Path(tempfile.mkdtemp(prefix="pcrgate-processes-"))
    try:
        with open_stage() as stage, closing(socket.socket()) as endpoint:
            sealed = stage.model if model is None else stage.seal("adder", model, epoch=9)
            with open_site(stage, manifest=manifest_for_many(stage, sealed)) as site:
                endpoint.bind(("127.0.0.1", 0))
                endpoint.set_inheritable(True)
                told = {"data_directory": folder / "data", **GENEROUS, **settings}
                environment = {
                    **os.environ,
                    **{f"PCRGATE_SERVICE_{name.upper()}": str(value) for name, value in told.items()},
                }
                upstream = stage.upstream()
                credentials = dataclasses.asdict(stage.credentials())
                (folder / "upstream.json").write_text(
                    json.dumps({"host": upstream.host, "port": upstream.port, "credentials": credentials})
                )
                state, tokens = open_state(ServiceSettings.model_validate(told))
                with closing(state):
                    made = {role: tokens.make(role, f"test-{role.value}", now_ms=1) for role in Role}
                with closing(
                    ProcessStage(
                        site=site, folder=folder, endpoint=endpoint, environment=environment, pcr0=stage.measured(),
                        tokens=made,
                    )
                ) as found:  # fmt: skip
                    found.start_service()
                    found.publish(sealed)
                    if start:
                        found.start_enclave()
                    yield found
    finally:
        shutil.rmtree(folder)
