"""The whole way against the twin, over two accounts: sign, apply, prove, release, tamper, roll over, refuse, destroy."""

import dataclasses
import hashlib
import json
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
from pcrgate.client.trust import TrustedPublisher, TrustPolicy
from pcrgate.kms.credentials import TemporaryCredentials
from pcrgate.kms.expectation import ReleaseExpectation
from pcrgate.twin.clients import attested_client, boto_client, root_credentials, session_credentials
from pcrgate.twin.nsm import SoftwareNsm
from pcrgate.twin.server import Twin
from pcrgate.twin.settings import TwinSettings
from pcrgate.units import KeyArn, Sha384
from tests.support.terraform import Terraform
from tests.support.twin_stage import make_role
from tests.terraform.filter_patterns import matches
from tests.terraform.working_copy import WorkingCopy

WORKLOAD_ACCOUNT = "444455556666"
FOLDER = "environments/twin"
CONTEXT = {"class": "weights", "name": "demo", "epoch": "1"}
SESSION_CONTEXT = {"class": "session", "session": "s-1"}
PUBLISHER_KEY = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
"""Spec: RFC 8032, 7.1, test 1."""

IMAGE, NEXT_IMAGE = (Sha384(hashlib.sha384(text).digest()) for text in (b"image one", b"image two"))


@pytest.fixture
def twin() -> Iterator[Twin]:
    with Twin(TwinSettings(http_port=0, https_port=0, other_accounts=(WORKLOAD_ACCOUNT,))) as running:
        yield running


def role_credentials(twin: Twin, arn: str) -> TemporaryCredentials:
    account = arn.split(":")[4]
    sts = boto_client(twin, "sts", credentials=root_credentials(twin, account))
    return session_credentials(sts.assume_role(RoleArn=arn, RoleSessionName="round"))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Enclave:
    """Stand where the enclave's process will: an NSM of one image, and the attested client with the parent's credentials."""

    twin: Twin
    image: Sha384
    keys: Mapping[str, str]
    parent: TemporaryCredentials

    def client(self) -> Any:
        nsm = SoftwareNsm(pki=self.twin.pki, pcrs={0: self.image}, clock=self.twin.clock)
        weights = ReleaseExpectation(
            operation="Decrypt", key_arn=KeyArn.parse(self.keys["weights"]), encryption_context=CONTEXT
        )
        session = ReleaseExpectation(
            operation="GenerateDataKey", key_arn=KeyArn.parse(self.keys["session"]), encryption_context=SESSION_CONTEXT
        )
        return attested_client(self.twin, nsm, weights, session, credentials=self.parent)

    def open_weights(self, blob: bytes) -> bytes:
        answer = self.client().decrypt(KeyId=self.keys["weights"], CiphertextBlob=blob, EncryptionContext=CONTEXT)
        plaintext: bytes = answer["Plaintext"]
        return plaintext

    def session_key(self) -> bytes:
        answer = self.client().generate_data_key(
            KeyId=self.keys["session"], KeySpec="AES_256", EncryptionContext=SESSION_CONTEXT
        )
        key: bytes = answer["Plaintext"]
        return key


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


@pytest.mark.terraform
@pytest.mark.network
@pytest.mark.slow
@pytest.mark.timeout(400)
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
        "manifest_publisher_keys": [PUBLISHER_KEY],
        "manifest_floor_epoch": 3,
        "development_roots": [twin.pki.root_fingerprint.hex()],
        "ami_id": images["Images"][0]["ImageId"],
    }
    told = {name: value for name, value in twin.environment().items() if "ACCESS_KEY" not in name}
    copy = WorkingCopy.make(tmp_path / "copy", terraform, told)
    (copy.root / "terraform" / FOLDER / "round.auto.tfvars.json").write_text(json.dumps(variables))
    declared = [word for arn in administrators for word in ("--administrator", arn)]
    copy.init(FOLDER)

    # Apply, and nothing is left to change.
    approved = publisher.publish(v1=IMAGE)
    copy.run(FOLDER, "apply", "-auto-approve", "-input=false")
    copy.run(FOLDER, "plan", "-input=false", "-detailed-exitcode")

    # Every key of the state is proven, and KMS holds what the state says.
    state = copy.show_json(FOLDER)
    (tmp_path / "state.json").write_text(json.dumps(state))
    assert publisher.command("policy", "prove", str(tmp_path / "state.json"), *approved, *declared)[0] == 0
    outputs = {name: one["value"] for name, one in state["values"]["outputs"].items()}
    keys: dict[str, str] = outputs["key_arns"]
    assert keys.keys() == {"weights", "session", "credentials"}
    administrator = boto_client(twin, "kms", credentials=role_credentials(twin, administrators[0]))
    for name, arn in keys.items():
        live = administrator.get_key_policy(KeyId=arn)["Policy"]
        assert json.loads(live) == json.loads(outputs["key_policies"][name])
    # Agents and enclave read what the outputs say.
    trust = TrustPolicy.parse(outputs["agent_trust_policy"].encode())
    assert (trust.pcr0, list(trust.pcrs), sorted(trust.regions)) == ((IMAGE,), [], [twin.settings.region])
    assert trust.roots == Roots.pinned(twin.pki.root_fingerprint)
    configuration = parse_configuration(outputs["enclave_configuration"].encode(), folder=tmp_path, production=False)
    assert configuration.pinned_keys == {KeyArn.parse(arn) for arn in keys.values()}
    assert configuration.development_roots == (twin.pki.root_fingerprint,)
    assert isinstance(trust.manifest, TrustedPublisher)
    assert (trust.manifest.keys, trust.manifest.floor_epoch) == (configuration.publisher_keys, 3)

    # The publisher seals; the enclave opens, and makes session keys; the parent by itself does neither.
    seal = boto_client(twin, "kms", credentials=role_credentials(twin, outputs["publisher_role_arn"]))
    blob = seal.encrypt(KeyId=keys["weights"], Plaintext=b"sealed weights' key", EncryptionContext=CONTEXT)[
        "CiphertextBlob"
    ]
    parent = role_credentials(twin, outputs["parent_role_arn"])
    by_itself = boto_client(twin, "kms", credentials=parent)
    unattested = {"KeyId": keys["weights"], "CiphertextBlob": blob, "EncryptionContext": CONTEXT}
    first = Enclave(twin=twin, image=IMAGE, keys=keys, parent=parent)
    following = dataclasses.replace(first, image=NEXT_IMAGE)
    twin.audit.clear()
    assert first.open_weights(blob) == b"sealed weights' key"
    assert len(first.session_key()) == 32
    patterns: dict[str, str] = outputs["alarm_patterns"]
    assert alarms(twin, patterns) == set()
    assert refused(by_itself.decrypt, **unattested) == "AccessDeniedException"
    assert refused(following.open_weights, blob) == "AccessDeniedException"
    assert refused(seal.decrypt, **unattested) == "AccessDeniedException"
    assert alarms(twin, patterns) == {"release-denied"}

    # An administrator in the wrong hands opens the policy: the alarms hear of it, and the next plan sees it. The parent
    # is still refused: its role's own policy denies what is not attested.
    twin.audit.clear()
    opened = policy_without_gates(outputs["key_policies"]["weights"], administrators[0], outputs["parent_role_arn"])
    administrator.put_key_policy(KeyId=keys["weights"], PolicyName="default", Policy=opened)
    assert refused(by_itself.decrypt, **unattested) == "AccessDeniedException"
    assert administrator.decrypt(**unattested)["Plaintext"] == b"sealed weights' key"
    grant = {"KeyId": keys["weights"], "GranteePrincipal": outputs["parent_role_arn"], "Operations": ["Decrypt"]}
    assert refused(administrator.create_grant, **grant) == "AccessDeniedException"
    assert alarms(twin, patterns) == {"put-key-policy", "release-without-recipient", "create-grant", "release-denied"}

    # The next image: the plan is proven before it is applied, and takes the opened policy back with it.
    approved = publisher.publish(v2=NEXT_IMAGE)
    copy.run(FOLDER, "plan", "-input=false", "-out=next.plan")
    plan = copy.show_json(FOLDER, "next.plan")
    assert 'module.deployment.module.key["weights"].aws_kms_key.this' in {
        one["address"] for one in plan["resource_drift"]
    }
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    assert publisher.command("policy", "prove", str(tmp_path / "plan.json"), *approved, *declared)[0] == 0
    copy.run(FOLDER, "apply", "-input=false", "next.plan")
    assert refused(first.open_weights, blob) == "AccessDeniedException"
    assert refused(administrator.decrypt, **unattested) == "AccessDeniedException"
    assert following.open_weights(blob) == b"sealed weights' key"

    # And away: keys wait for their deletion, which the alarms hear of too.
    twin.audit.clear()
    copy.run(FOLDER, "destroy", "-auto-approve", "-input=false", "-refresh=false")
    states = {administrator.describe_key(KeyId=arn)["KeyMetadata"]["KeyState"] for arn in keys.values()}
    assert states == {"PendingDeletion"}
    assert "schedule-key-deletion" in alarms(twin, patterns)


def alarms(twin: Twin, patterns: Mapping[str, str]) -> set[str]:
    """Return which alarms the twin's records of KMS calls would raise."""
    return {name for name, pattern in patterns.items() for record in twin.audit.records() if matches(pattern, record)}
