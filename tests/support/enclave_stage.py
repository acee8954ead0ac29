"""A stage for tests with a real enclave: twin over TLS, keys under the shipped policies, a sealed model, a manifest, a
parent with relay and broker, and the enclave as a process of its own."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from enclave.boot import Boot, Surroundings
from enclave.configuration import MeasuredConfiguration, load_configuration
from enclave.counters import Counters
from enclave.desk import Desk
from enclave.phases import PhaseMachine
from kms_policies.inputs import EnclaveMeasurements, KeyPolicyInputs
from kms_policies.rendering import Template, render
from local.measurement import measure
from local.parent import LaptopParent
from local.publishing import Sealed, seal_model
from pcrgate.attestation.anchors import Roots
from pcrgate.kms.credentials import TemporaryCredentials
from pcrgate.kms.nsm import Nsm
from pcrgate.kms.relay import UnixDialer
from pcrgate.manifest.constraints import Equals, IntegerRange, MaxAmount, OneOf
from pcrgate.manifest.grants import ActionRule, Argument, Grant, WorkloadRules
from pcrgate.manifest.public_keys import VerifyingKey
from pcrgate.manifest.release import Agent, Manifest
from pcrgate.manifest.signature import sign_manifest
from pcrgate.twin.clients import boto_client
from pcrgate.twin.nsm import SoftwareNsm
from pcrgate.twin.server import Twin
from pcrgate.twin.settings import TwinSettings
from pcrgate.units import KeyArn, Sha384
from pcrgate.wire.messages import CredentialsAnswer, Message, StatusAnswer, StatusRequest
from service.addresses import UnixAddress
from service.blobs import BlobFolder
from service.broker import Broker
from service.credentials import FixedCredentials
from service.enclave_link import EnclaveLink
from service.relay import Relay, Upstream
from tests.support.commands import wait_until
from tests.support.onnx_model import adding_model
from tests.support.twin_stage import assume, make_role

ROOT = Path(__file__).resolve().parents[2]
PUBLISHER = Ed25519PrivateKey.from_private_bytes(b"publisher key for tests, 32 byte")
AGENT = Ed25519PrivateKey.from_private_bytes(b"the key of agent one in tests 32")
OTHER_AGENT = Ed25519PrivateKey.from_private_bytes(b"the key of agent two in tests 32")
WEIGHTS = (1.0, 2.0, 3.0, 0.125)
MODEL = adding_model(WEIGHTS)
PLACEHOLDER = Sha384(bytes([7]) * 48)
COVERAGE = ("COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START")


def verifying(key: Ed25519PrivateKey) -> VerifyingKey:
    return VerifyingKey(key.public_key().public_bytes_raw())


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def grants(expires_ms: int) -> tuple[Grant, ...]:
    """Return what the two agents may do."""
    pay = ActionRule(
        action="payments.transfer",
        arguments={
            "to": Argument(constraint=OneOf(values=("DE00", "DE01"))),
            "amount": Argument(
                constraint=MaxAmount(currency="EUR", max_minor_units=10_000, total_minor_units_per_boot=25_000)
            ),
        },
        purposes=("invoice",),
    )
    query = ActionRule(
        action="database.query",
        arguments={
            "table": Argument(constraint=Equals(value="orders")),
            "rows": Argument(constraint=IntegerRange(minimum=1, maximum=100)),
        },
        purposes=("report",),
        max_uses_per_boot=1000,
    )
    return (
        Grant(agent="one", workload="validate", actions=(pay, query), expires_ms=expires_ms),
        Grant(agent="one", workload="infer", actions=(ActionRule(action="adder"),), expires_ms=expires_ms),
        Grant(agent="two", workload="validate", actions=(query,), expires_ms=expires_ms),
    )


class EnclaveStage:
    """Own a twin, two keys, a sealed model and the folder where everything lies."""

    def __init__(self, folder: Path, twin: Twin) -> None:
        self.folder = folder
        self.twin = twin
        self.administrator_role = make_role(twin, "administrator", "kms:CreateKey")
        self.publisher_role, self.parent_role = make_role(twin, "publisher"), make_role(twin, "parent")
        self.administrator = boto_client(twin, "kms", credentials=assume(twin, self.administrator_role))
        self.publisher = boto_client(twin, "kms", credentials=assume(twin, self.publisher_role))
        self.parent_credentials = assume(twin, self.parent_role)
        self.weights_key = self.make_key(Template.MODEL_WEIGHTS_KEY)
        self.session_key = self.make_key(Template.SESSION_KEY)
        (folder / "ca.pem").write_bytes(twin.ca_path.read_bytes())
        self.blobs = folder / "blobs"
        self.blobs.mkdir()
        self.expires_ms = now_ms() + 3_600_000
        self.model = self.seal("adder", MODEL, epoch=3)
        self.manifest = Manifest(
            epoch=7,
            issued_ms=now_ms() - 1000,
            expires_ms=self.expires_ms,
            secrets=(self.model.secret,),
            session_key_arn=self.session_key,
            agents=(
                Agent(name="one", public_key=verifying(AGENT)),
                Agent(name="two", public_key=verifying(OTHER_AGENT)),
            ),
            grants=grants(self.expires_ms),
            rules=(
                WorkloadRules(
                    workload="validate",
                    actions=tuple(
                        ActionRule(
                            action=name,
                            arguments={
                                key: replace(argument, required=False) for key, argument in rule.arguments.items()
                            },
                            purposes=rule.purposes,
                        )
                        for name, rule in {
                            rule.action: rule for grant in grants(self.expires_ms)[:1] for rule in grant.actions
                        }.items()
                    ),
                ),
            ),
        )
        self.configuration = self.write_configuration("enclave.json")
        self.approve(self.measured())

    def make_key(self, template: Template) -> KeyArn:
        answer = self.administrator.create_key(Policy=self.policy(template, PLACEHOLDER))
        return KeyArn.parse(answer["KeyMetadata"]["Arn"])

    def policy(self, template: Template, *pcr0: Sha384) -> str:
        return render(
            template,
            KeyPolicyInputs(
                account=self.twin.settings.account,
                administrators=(self.administrator_role,),
                publishers=() if template is Template.SESSION_KEY else (self.publisher_role,),
                parents=(self.parent_role,),
                measurements=EnclaveMeasurements(pcr0=pcr0),
            ),
        )

    def approve(self, *pcr0: Sha384) -> None:
        """Let exactly these images have both keys."""
        for key, template in ((self.weights_key, Template.MODEL_WEIGHTS_KEY), (self.session_key, Template.SESSION_KEY)):
            self.administrator.put_key_policy(KeyId=str(key), PolicyName="default", Policy=self.policy(template, *pcr0))

    def seal(self, name: str, plaintext: bytes, *, epoch: int, workloads: tuple[str, ...] = ("infer",)) -> Sealed:
        """Seal weights as a publisher does, and put them where the parent finds them."""
        sealed = seal_model(
            self.publisher, self.weights_key, name, plaintext, epoch=epoch, expires_ms=self.expires_ms,
            workloads=workloads,
        )  # fmt: skip
        (self.blobs / sealed.secret.header_sha384.hex()).write_bytes(sealed.message)
        return sealed

    def write_configuration(self, name: str, **changes: Any) -> Path:
        values = {
            "version": 1,
            "publisher_keys": [PUBLISHER.public_key().public_bytes_raw().hex()],
            "manifest_floor_epoch": 5,
            "pinned_keys": [str(self.weights_key), str(self.session_key)],
            "allow_multi_region": False,
            "fips": False,
            "workloads": ["validate", "infer"],
            "weights_max_bytes": 1 << 26,
            "session_lifetime_s": 3600,
            "ca_bundle": "ca.pem",
            "development_roots": [self.twin.pki.root_fingerprint.hex()],
            **changes,
        }
        path = self.folder / name
        path.write_text(json.dumps(values))
        return path

    def measured(self, configuration: Path | None = None) -> Sha384:
        return measure(configuration or self.configuration, self.folder / "ca.pem")

    def credentials(self, found: TemporaryCredentials | None = None) -> CredentialsAnswer:
        used = found or self.parent_credentials
        return CredentialsAnswer(
            access_key_id=used.access_key_id,
            secret_access_key=used.secret_access_key,
            session_token=used.session_token,
            expires_at_s=used.expires_at_s,
        )

    def upstream(self) -> Upstream:
        address = urlsplit(self.twin.https_url)
        return Upstream(host=address.hostname or "", port=address.port or 0)


@dataclass(slots=True, kw_only=True)
class Site:
    """Hold one parent and the places of one enclave; the manifest and everything else may be another than the stage's.

    Attributes:
        stage: keys and twin.
        folder: sockets and manifest.
        signed: the manifest's bytes.
        broker: who answers the enclave.
        relay: who carries its bytes to KMS.
    """

    stage: EnclaveStage
    folder: Path
    signed: bytes
    broker: Broker
    relay: Relay
    parent: LaptopParent | None = field(default=None)

    @property
    def socket(self) -> Path:
        return self.folder / "enclave.sock"

    def link(self, timeout_s: float = 30.0) -> EnclaveLink:
        return EnclaveLink(UnixAddress(path=self.socket), timeout_s=timeout_s)

    def surroundings(self, nsm: Nsm | None = None, configuration: Path | None = None) -> Surroundings:
        made = nsm or SoftwareNsm(pki=self.stage.twin.pki, pcrs={0: self.stage.measured(configuration)})
        return Surroundings(
            nsm=made,
            roots=Roots.pinned(self.stage.twin.pki.root_fingerprint),
            broker=UnixDialer(path=self.folder / "broker.sock"),
            relay=UnixDialer(path=self.folder / "relay.sock"),
        )

    def boot(
        self, *, nsm: Nsm | None = None, configuration: Path | None = None, **changes: Any
    ) -> tuple[PhaseMachine, Desk]:
        """Boot in this process, for mutants; the parent and KMS are as real as for a process."""
        phases, counters = PhaseMachine(), Counters()
        desk = Desk(phases, counters)
        loaded: MeasuredConfiguration = load_configuration(configuration or self.stage.configuration, production=False)
        boot = Boot(
            loaded,
            self.surroundings(nsm, configuration),
            phases=phases,
            counters=counters,
            sleep=lambda _: None,
            **changes,
        )
        boot.run(desk)
        return phases, desk


@contextmanager
def open_stage() -> Iterator[EnclaveStage]:
    """Run a twin with HTTPS and set the stage."""
    with (
        tempfile.TemporaryDirectory(prefix="pcrgate-stage-") as folder,
        Twin(TwinSettings(https_port=0, http_port=None)) as twin,
    ):
        yield EnclaveStage(Path(folder), twin)


@contextmanager
def open_site(
    stage: EnclaveStage,
    *,
    manifest: Manifest | None = None,
    signed: bytes | None = None,
    broker: type[Broker] = Broker,
    relay: type[Relay] = Relay,
    credentials: TemporaryCredentials | None = None,
) -> Iterator[Site]:
    """Run a parent, honest unless other classes are given."""
    with tempfile.TemporaryDirectory(prefix="pcrgate-site-") as name:
        folder = Path(name)
        raw = signed or sign_manifest(manifest or stage.manifest, PUBLISHER)
        (folder / "manifest.cbor").write_bytes(raw)
        made_broker = broker(
            UnixAddress(path=folder / "broker.sock"),
            manifest=folder / "manifest.cbor",
            blobs=BlobFolder(folder=stage.blobs),
            credentials=FixedCredentials(answer=stage.credentials(credentials)),
        )
        made_relay = relay(UnixAddress(path=folder / "relay.sock"), stage.upstream())
        site = Site(stage=stage, folder=folder, signed=raw, broker=made_broker, relay=made_relay)
        with LaptopParent(made_broker, made_relay) as parent:
            site.parent = parent
            wait_until(lambda: all((folder / f"{one}.sock").exists() for one in ("broker", "relay")))
            yield site


class EnclaveProcess:
    """Own an enclave process."""

    def __init__(
        self,
        site: Site,
        *,
        configuration: Path | None = None,
        command: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        places: Mapping[str, Path] | None = None,
    ) -> None:
        self.site = site
        self.configuration = configuration or site.stage.configuration
        chosen = {
            "--config": self.configuration,
            "--pki": site.stage.twin.pki_dir,
            "--socket": site.socket,
            "--broker": site.folder / "broker.sock",
            "--relay": site.folder / "relay.sock",
            **(places or {}),
        }
        arguments = [str(part) for pair in chosen.items() for part in pair]
        kept = {name: os.environ[name] for name in ("PATH", *COVERAGE) if name in os.environ}
        self.process = subprocess.Popen(
            [*(command or (sys.executable, "-m", "local")), "enclave", *arguments],
            cwd=ROOT,
            env=kept | dict(environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def ask(self, message: Message, expected: Any, timeout_s: float = 30.0) -> Any:
        """Return the enclave's answer, over a connection of its own."""
        return ask(self.site, message, expected, timeout_s)

    def status(self) -> StatusAnswer:
        answer: StatusAnswer = self.ask(StatusRequest(), StatusAnswer)
        return answer

    def wait(self, *phases: str) -> StatusAnswer:
        """Wait for one of these phases."""
        wait_until(lambda: _listens(self.site.socket) or self.process.poll() is not None)
        assert self.process.poll() is None, self.process.communicate()[1].decode()[-2000:]
        found: list[StatusAnswer] = []

        def reached() -> bool:
            found.append(self.status())
            return found[-1].phase in (*phases, "failed")

        wait_until(reached)
        return found[-1]

    def memory_bytes(self) -> int:
        """Return the resident memory of the process."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in text.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) * 1024

    def stop(self) -> tuple[bytes, bytes]:
        """End the process and return everything it printed."""
        self.process.terminate()
        return self.process.communicate(timeout=30)


@contextmanager
def running(site: Site, **options: Any) -> Iterator[EnclaveProcess]:
    """Run an enclave process until the end of the block."""
    process = EnclaveProcess(site, **options)
    try:
        yield process
    finally:
        if process.process.poll() is None:
            process.stop()


def ask(site: Site, message: Message, expected: Any, timeout_s: float = 30.0) -> Any:
    """Ask the enclave of a site."""
    assert site.parent is not None
    link = site.link(timeout_s)

    async def asked() -> Any:
        try:
            return await link.ask(message, expected)
        finally:
            await link.close()

    return site.parent.run(asked(), timeout_s + 10)


def _listens(path: Path) -> bool:
    """Tell whether somebody accepts: the file of a socket is there a moment before its owner listens."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True
