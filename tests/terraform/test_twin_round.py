"""The whole way against the twin, over two accounts: sign, apply, prove, release to the enclave's process, tamper, roll
over, refuse, destroy."""

import hashlib
import json
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from enclave.configuration import parse_configuration
from pcrgate.attestation.anchors import Roots
from pcrgate.cli.main import main
from pcrgate.client.trust import TrustedPublisher
from pcrgate.client.work import Tensor
from pcrgate.errors import AppraisalError
from pcrgate.twin.clients import boto_client, root_credentials
from pcrgate.twin.server import Twin
from pcrgate.twin.settings import TwinSettings
from pcrgate.units import KeyArn, Sha384
from tests.support.client_stage import ClientStage
from tests.support.enclave_stage import PUBLISHER, WEIGHTS, verifying
from tests.support.terraform import Terraform
from tests.support.twin_stage import make_role
from tests.terraform.filter_patterns import matches
from tests.terraform.provisioned import ProvisionedStage, role_credentials, trust_policy
from tests.terraform.working_copy import WorkingCopy

WORKLOAD_ACCOUNT = "444455556666"
FOLDER = "environments/twin"
CONTEXT = {"class": "weights", "name": "demo", "epoch": "1"}
FLOOR_EPOCH = 3
REFUSED_BY_KMS = "enclave-release"
PLACEHOLDER = Sha384(hashlib.sha384(b"no image measures so").digest())


@pytest.fixture
def twin() -> Iterator[Twin]:
    with Twin(TwinSettings(http_port=0, https_port=0, other_accounts=(WORKLOAD_ACCOUNT,))) as running:
        yield running


class Publisher:
    """Sign measurements files as the pipeline does, and verify them before Terraform reads them."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.file = folder / "measurements.json"
        self._capsys = capsys
        key = Ed25519PrivateKey.generate()
        self._private, self._public = folder / "publisher.pem", folder / "publisher.pub.pem"
        self._private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        self._public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))

    def publish(self, **images: Sha384) -> list[str]:
        """Write and sign the file, verify it, and return the options that approve it for the prover."""
        listed = [{"name": n, "pcr0": pcr0.hex(), "expires": "2099-01-01T00:00:00Z"} for n, pcr0 in images.items()]
        self.file.write_text(json.dumps({"version": "1", "measurements": listed}))
        assert self.command("measurements", "sign", str(self.file), "--key", str(self._private))[0] == 0
        code, out = self.command(
            "measurements", "verify", str(self.file), "--public-key", str(self._public), "--as-options"
        )
        assert code == 0
        return out.split()

    def command(self, *words: str) -> tuple[object, str]:
        with pytest.raises(SystemExit) as left:
            main(words)
        return left.value.code, self._capsys.readouterr().out


def refused(call: Any, *arguments: Any, **parameters: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(*arguments, **parameters)
    code: str = caught.value.response["Error"]["Code"]
    return code


def policy_without_gates(policy: str, administrator: str, parent: str) -> str:
    """Return what an administrator in the wrong hands would put: they and the parent open weights by themselves."""
    opened = json.loads(policy)
    gates = {"DenyReleaseUnlessPCR0", "DenyReleaseByOthers"}
    opened["Statement"] = [one for one in opened["Statement"] if one["Sid"] not in gates]
    opened["Statement"].append(
        {
            "Sid": "Convenience",
            "Effect": "Allow",
            "Principal": {"AWS": [administrator, parent]},
            "Action": "kms:Decrypt",
            "Resource": "*",
        }
    )
    return json.dumps(opened)


def inferred(stage: ClientStage, outputs: Mapping[str, Any]) -> tuple[float, ...]:
    """Return what an agent gets that trusts what Terraform's output says, and nothing else."""
    ones = Tensor(type="float32", shape=(4,), data=struct.pack("<4f", 1, 1, 1, 1))
    with stage.client(trust=trust_policy(outputs)) as client, client.session() as session:
        return struct.unpack("<4f", session.infer("adder", {"x": ones})["y"].data)


def observed_policies(stage: ClientStage, outputs: Mapping[str, Any]) -> set[Sha384 | None]:
    """Return the policy hashes in the enclave's receipts."""
    with stage.client(trust=trust_policy(outputs)) as client:
        return {receipt.claims.observed.policy_hash for receipt in client.receipts()}


@pytest.mark.terraform
@pytest.mark.network
@pytest.mark.slow
@pytest.mark.timeout(500)
def test_the_whole_way(terraform: Terraform, twin: Twin, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    administrators = [make_role(twin, name, "kms:*") for name in ("key-administrator", "break-glass")]
    bootstrap = {account: root_credentials(twin, account) for account in (twin.settings.account, WORKLOAD_ACCOUNT)}
    images = boto_client(twin, "ec2", credentials=bootstrap[WORKLOAD_ACCOUNT]).describe_images(Owners=["amazon"])
    publisher = Publisher(tmp_path, capsys)
    variables = {
        "key_account_id": twin.settings.account,
        "workload_account_id": WORKLOAD_ACCOUNT,
        "credentials": {
            account: {"access_key_id": key.access_key_id, "secret_access_key": key.secret_access_key}
            for account, key in bootstrap.items()
        },
        "administrators": administrators,
        "publisher_principals": [f"arn:aws:iam::{WORKLOAD_ACCOUNT}:role/release-pipeline"],
        "measurements_file": str(publisher.file),
        "manifest_publisher_keys": [PUBLISHER.public_key().public_bytes_raw().hex()],
        "manifest_floor_epoch": FLOOR_EPOCH,
        "development_roots": [twin.pki.root_fingerprint.hex()],
        "ca_bundle": "ca.pem",
        "ami_id": images["Images"][0]["ImageId"],
    }
    told = {name: value for name, value in twin.environment().items() if "ACCESS_KEY" not in name}
    copy = WorkingCopy.make(tmp_path / "copy", terraform, told)
    (copy.root / "terraform" / FOLDER / "round.auto.tfvars.json").write_text(json.dumps(variables))
    declared = [word for arn in administrators for word in ("--administrator", arn)]
    copy.init(FOLDER)

    # 1. The keys first, for a measurement that no image has: the image holds their ARNs, and its measurement is not yet.
    publisher.publish(nobody=PLACEHOLDER)
    copy.run(FOLDER, "apply", "-auto-approve", "-input=false")
    stage = ProvisionedStage(tmp_path, twin, outputs_of(copy.show_json(FOLDER)))

    # 2. The image is measured with the configuration that Terraform put out, approved, applied; nothing is left to change.
    approved = publisher.publish(v1=stage.measured())
    copy.run(FOLDER, "apply", "-auto-approve", "-input=false", "-refresh=false")
    copy.run(FOLDER, "plan", "-input=false", "-detailed-exitcode")

    # 3. Every key of the state is proven, and KMS holds what the state says.
    state = copy.show_json(FOLDER)
    (tmp_path / "state.json").write_text(json.dumps(state))
    code, out = publisher.command("policy", "prove", str(tmp_path / "state.json"), *approved, *declared, "--json")
    assert code == 0
    proven = {one["address"]: one["policy_sha384"] for one in json.loads(out)["policies"]}
    outputs = outputs_of(state)
    keys: dict[str, str] = outputs["key_arns"]
    assert keys.keys() == {"weights", "session", "credentials"}
    administrator = boto_client(twin, "kms", credentials=role_credentials(twin, administrators[0]))
    for name, arn in keys.items():
        live = administrator.get_key_policy(KeyId=arn)["Policy"]
        assert live == outputs["key_policies"][name]
        # One hash: of the output's text, of what was proven, of what KMS holds (ADR 0600).
        address = f'module.deployment.module.key["{name}"].aws_kms_key.this'
        assert proven[address] == hashlib.sha384(live.encode()).hexdigest()
    # Agents and enclave read what the outputs say; the configuration is the one that was measured.
    assert outputs["enclave_configuration"] == stage.configuration.read_text()
    trust = trust_policy(outputs)
    assert (trust.pcr0, list(trust.pcrs), sorted(trust.regions)) == ((stage.measured(),), [], [twin.settings.region])
    assert trust.roots == Roots.pinned(twin.pki.root_fingerprint)
    configuration = parse_configuration(outputs["enclave_configuration"].encode(), folder=tmp_path, production=False)
    assert configuration.pinned_keys == {KeyArn.parse(arn) for arn in keys.values()}
    assert isinstance(trust.manifest, TrustedPublisher)
    assert trust.manifest.keys == configuration.publisher_keys == (verifying(PUBLISHER),)
    assert trust.manifest.floor_epoch == configuration.manifest_floor_epoch == FLOOR_EPOCH

    # 4. The enclave's process is released the weights and makes session keys; who agrees with Terraform is answered.
    patterns: dict[str, str] = outputs["alarm_patterns"]
    twin.audit.clear()
    with stage.boot() as enclave:
        assert enclave.wait("live").failure is None
        with stage.serve(enclave) as served:
            assert inferred(served, outputs) == tuple(1 + weight for weight in WEIGHTS)
            # The keys' account is another one, and KMS tells nobody there a policy: no receipt has a hash of it.
            assert observed_policies(served, outputs) == {None}
    assert alarms(twin, patterns) == set()

    # 5. Parent and publisher by themselves are refused, and so is the enclave with one byte more.
    seal = boto_client(twin, "kms", credentials=role_credentials(twin, outputs["publisher_role_arn"]))
    by_itself = boto_client(twin, "kms", credentials=role_credentials(twin, outputs["parent_role_arn"]))
    blob = seal.encrypt(KeyId=keys["weights"], Plaintext=b"a data key", EncryptionContext=CONTEXT)["CiphertextBlob"]
    unattested = {"KeyId": keys["weights"], "CiphertextBlob": blob, "EncryptionContext": CONTEXT}
    assert refused(by_itself.decrypt, **unattested) == "AccessDeniedException"
    assert refused(seal.decrypt, **unattested) == "AccessDeniedException"
    tampered = stage.tampered()
    assert tampered.pcr0 != stage.measured()
    twin.audit.clear()
    with stage.boot(tampered) as enclave:
        assert enclave.wait("live").failure == "enclave-release"
    assert denied_decrypts(twin) == 1
    assert alarms(twin, patterns) == {"release-denied"}

    # 6. An administrator in the wrong hands opens the policy: the alarms hear of it, and the next plan sees it. The parent
    # is still refused: its role's own policy denies what is not attested.
    twin.audit.clear()
    opened = policy_without_gates(outputs["key_policies"]["weights"], administrators[0], outputs["parent_role_arn"])
    administrator.put_key_policy(KeyId=keys["weights"], PolicyName="default", Policy=opened)
    assert refused(by_itself.decrypt, **unattested) == "AccessDeniedException"
    assert administrator.decrypt(**unattested)["Plaintext"] == b"a data key"
    grant = {"KeyId": keys["weights"], "GranteePrincipal": outputs["parent_role_arn"], "Operations": ["Decrypt"]}
    assert refused(administrator.create_grant, **grant) == "AccessDeniedException"
    assert alarms(twin, patterns) == {"put-key-policy", "release-without-recipient", "create-grant", "release-denied"}

    # 7. Another PCR0 is approved in place of the first: the plan is proven before it is applied, and takes the opened
    # policy back with it. What was live before is refused now, and what was refused is released to.
    approved = publisher.publish(v2=tampered.pcr0)
    copy.run(FOLDER, "plan", "-input=false", "-out=next.plan")
    plan = copy.show_json(FOLDER, "next.plan")
    assert 'module.deployment.module.key["weights"].aws_kms_key.this' in {
        one["address"] for one in plan["resource_drift"]
    }
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    assert publisher.command("policy", "prove", str(tmp_path / "plan.json"), *approved, *declared)[0] == 0
    copy.run(FOLDER, "apply", "-input=false", "next.plan")
    assert refused(administrator.decrypt, **unattested) == "AccessDeniedException"
    twin.audit.clear()
    with stage.boot() as enclave:
        assert enclave.wait("live").failure == "enclave-release"
    assert denied_decrypts(twin) == 1
    following = outputs_of(copy.show_json(FOLDER))
    with stage.boot(tampered) as enclave:
        assert enclave.wait("live").failure is None
        with stage.serve(enclave) as served:
            assert len(inferred(served, following)) == len(WEIGHTS)
            with pytest.raises(AppraisalError):
                inferred(served, outputs)

    # 8. And away: keys wait for their deletion, which the alarms hear of too.
    twin.audit.clear()
    copy.run(FOLDER, "destroy", "-auto-approve", "-input=false", "-refresh=false")
    states = {administrator.describe_key(KeyId=arn)["KeyMetadata"]["KeyState"] for arn in keys.values()}
    assert states == {"PendingDeletion"}
    assert "schedule-key-deletion" in alarms(twin, patterns)


def outputs_of(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the outputs of a state by name."""
    return {name: one["value"] for name, one in state["values"]["outputs"].items()}


def alarms(twin: Twin, patterns: Mapping[str, str]) -> set[str]:
    """Return which alarms the twin's records of KMS calls would raise."""
    return {name for name, pattern in patterns.items() for record in twin.audit.records() if matches(pattern, record)}


def denied_decrypts(twin: Twin) -> int:
    """Return how many Decrypt calls the twin's records say were denied."""
    return sum(
        1
        for record in twin.audit.records()
        if record["eventName"] == "Decrypt" and record.get("errorCode") == "AccessDenied"
    )
