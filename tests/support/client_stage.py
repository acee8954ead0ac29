"""The whole way for clients: a real enclave behind a real service, and what its agents trust."""

import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pcrgate.attestation.anchors import Roots
from pcrgate.client.client import Client
from pcrgate.client.trust import TrustedPublisher, TrustPolicy
from service.state_store import Role
from tests.support.commands import wait_until
from tests.support.enclave_stage import (
    AGENT,
    PUBLISHER,
    EnclaveProcess,
    Site,
    open_site,
    open_stage,
    running,
    verifying,
)
from tests.support.service_stage import ServiceStage, running_service


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientStage:
    """Hold an enclave, its parent and its service."""

    site: Site
    enclave: EnclaveProcess
    service: ServiceStage

    def trust(self, **changes: Any) -> TrustPolicy:
        stage = self.site.stage
        values: dict[str, Any] = {
            "roots": Roots.pinned(stage.twin.pki.root_fingerprint),
            "pcr0": (stage.measured(),),
            "manifest": TrustedPublisher(keys=(verifying(PUBLISHER),), floor_epoch=stage.manifest.epoch),
            **changes,
        }
        return TrustPolicy(**values)

    def client(
        self,
        *,
        trust: TrustPolicy | None = None,
        agent: str = "one",
        key: Ed25519PrivateKey = AGENT,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = lambda _: None,
    ) -> Client:
        """Return a client of agent one that trusts what is right."""
        return Client(
            self.service.url,
            trust=trust or self.trust(),
            agent_id=agent,
            agent_key=key,
            token=self.service.tokens[Role.CALLER],
            transport=transport,
            sleep=sleep,
        )


def listens(path: Path) -> bool:
    """Whether somebody takes connections there; a socket's file is there a moment before that."""
    with socket.socket(socket.AF_UNIX) as endpoint:
        return endpoint.connect_ex(str(path)) == 0


@contextmanager
def open_client_stage(**settings: Any) -> Iterator[ClientStage]:
    """Boot an enclave and serve it until the end of the block."""
    folder = Path(tempfile.mkdtemp(prefix="pcrgate-service-"))
    try:
        with open_stage() as stage, open_site(stage) as site, running(site) as enclave:
            wait_until(lambda: listens(site.socket))
            assert enclave.wait("live").failure is None
            with running_service(folder, link=site.link(), **settings) as service:
                with service.client(Role.PUBLISHER) as publisher:
                    assert (
                        publisher.put(f"/v1/manifests/{stage.manifest.epoch}", content=site.signed).status_code == 201
                    )
                yield ClientStage(site=site, enclave=enclave, service=service)
    finally:
        shutil.rmtree(folder)
