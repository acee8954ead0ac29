"""The enclave's process on what Terraform made: its keys and roles, its measured configuration, its trust policy."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from local.measurement import MEASURED, copy_checkout, measure
from pcrgate.client.trust import TrustPolicy
from pcrgate.manifest.grants import ActionRule, Grant
from pcrgate.manifest.release import Agent, Manifest
from pcrgate.twin.clients import boto_client, root_credentials, session_credentials
from pcrgate.twin.server import Twin
from pcrgate.units import KeyArn, Sha384
from service.state_store import Role
from tests.support.client_stage import ClientStage
from tests.support.enclave_stage import (
    AGENT,
    MODEL,
    EnclaveProcess,
    EnclaveStage,
    now_ms,
    open_site,
    running,
    verifying,
)
from tests.support.service_stage import running_service


class ProvisionedStage(EnclaveStage):
    """Own a sealed model, and a manifest, under keys that Terraform made; nothing of the policies is made here."""

    def __init__(self, folder: Path, twin: Twin, outputs: Mapping[str, Any]) -> None:
        """Take Terraform's outputs; the configuration is written byte by byte as it is put out."""
        self.folder = folder
        self.twin = twin
        self.publisher_role, self.parent_role = outputs["publisher_role_arn"], outputs["parent_role_arn"]
        self.publisher = boto_client(twin, "kms", credentials=role_credentials(twin, self.publisher_role))
        self.parent_credentials = role_credentials(twin, self.parent_role)
        self.weights_key, self.session_key = (
            KeyArn.parse(outputs["key_arns"][name]) for name in ("weights", "session")
        )
        (folder / "ca.pem").write_bytes(twin.ca_path.read_bytes())
        self.configuration = folder / "enclave.json"
        self.configuration.write_text(outputs["enclave_configuration"])
        self.blobs = folder / "blobs"
        self.blobs.mkdir()
        self.expires_ms = now_ms() + 3_600_000
        self.model = self.seal("adder", MODEL, epoch=3)
        grant = Grant(agent="one", workload="infer", actions=(ActionRule(action="adder"),), expires_ms=self.expires_ms)
        self.manifest = Manifest(
            epoch=7,
            issued_ms=now_ms() - 1000,
            expires_ms=self.expires_ms,
            secrets=(self.model.secret,),
            session_key_arn=self.session_key,
            agents=(Agent(name="one", public_key=verifying(AGENT)),),
            grants=(grant,),
        )

    def tampered(self) -> "TamperedEnclave":
        """Return a copy of the enclave with one byte more."""
        return TamperedEnclave(self)

    @contextmanager
    def boot(self, enclave: "TamperedEnclave | None" = None) -> Iterator[EnclaveProcess]:
        """Run the enclave's process, this checkout's or a copy's, beside a parent with the parent's role."""
        command = () if enclave is None else enclave.command
        with open_site(self) as site, running(site, command=command) as process:
            yield process

    @contextmanager
    def serve(self, enclave: EnclaveProcess) -> Iterator[ClientStage]:
        """Put the service in front of a live enclave."""
        with ExitStack() as stack:
            folder = self.folder / f"service-{enclave.process.pid}"
            folder.mkdir()
            service = stack.enter_context(running_service(folder, link=enclave.site.link()))
            publisher = stack.enter_context(service.client(Role.PUBLISHER))
            answer = publisher.put(f"/v1/manifests/{self.manifest.epoch}", content=enclave.site.signed)
            assert answer.status_code == 201
            yield ClientStage(site=enclave.site, enclave=enclave, service=service)


class TamperedEnclave:
    """Own a copy of the checkout in which one measured file has one byte more; all else is the same."""

    def __init__(self, stage: ProvisionedStage) -> None:
        """Copy, and append the byte."""
        self.root = copy_checkout(stage.folder / "tampered")
        assert all((self.root / name).exists() for name in MEASURED)
        with (self.root / "enclave" / "boot.py").open("ab") as file:
            file.write(b"#")
        self.pcr0: Sha384 = measure(stage.configuration, stage.folder / "ca.pem", root=self.root)
        # The environment may not say where modules lie, so the process steps into the copy before it loads any.
        enter = f"import os, runpy; os.chdir({str(self.root)!r}); runpy.run_module('local', {{}}, '__main__', True)"
        self.command = (sys.executable, "-c", enter)


def role_credentials(twin: Twin, arn: str) -> Any:
    """Return credentials of a role, in whichever of the twin's accounts it is."""
    account = arn.split(":")[4]
    sts = boto_client(twin, "sts", credentials=root_credentials(twin, account))
    return session_credentials(sts.assume_role(RoleArn=arn, RoleSessionName="round"))


def trust_policy(outputs: Mapping[str, Any]) -> TrustPolicy:
    """Return what agents read of Terraform's outputs."""
    return TrustPolicy.parse(outputs["agent_trust_policy"].encode())
