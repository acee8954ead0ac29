"""Provision a twin as an account is provisioned: roles, keys under the shipped policies, and whom they release to."""

import json
import secrets
from dataclasses import dataclass
from typing import Any, Final, Protocol

from kms_policies.inputs import EnclaveMeasurements, KeyPolicyInputs
from kms_policies.rendering import Template, render
from pcrgate.kms.credentials import TemporaryCredentials
from pcrgate.manifest.public_keys import VerifyingKey
from pcrgate.twin.clients import boto_client, root_credentials, session_credentials
from pcrgate.twin.server import Twin
from pcrgate.units import SHA384_BYTES, KeyArn, Sha384

NOBODY: Final = Sha384(bytes(SHA384_BYTES - 1) + b"\x01")
"""A measurement that no image has: keys exist before the image that holds their ARNs (docs/terraform.md)."""

FLOOR_EPOCH: Final = 1
"""Least epoch of a manifest on a laptop."""

WEIGHTS_MAX_BYTES: Final = 256 << 20
"""Most memory for weights on a laptop."""

CA_FILE: Final = "ca.pem"
"""Name of the twin's CA beside the measured configuration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provisioned:
    """Name what was provisioned.

    Attributes:
        account: that owns the keys, twelve digits.
        administrator: ARN of the role that may change policies.
        publisher: ARN of the role that seals.
        parent: ARN of the parent's role.
        weights_key: of the class weights.
        session_key: of the class session.
        configuration: the enclave's measured configuration as JSON.
    """

    account: str
    administrator: str
    publisher: str
    parent: str
    weights_key: KeyArn
    session_key: KeyArn
    configuration: str


class Provisioner(Protocol):
    """Provision keys that release to nobody, and then let an image have them."""

    @property
    def means(self) -> str:
        """What does it, for people."""
        ...

    def provision(self) -> Provisioned:
        """Make roles and keys; the keys release to nobody."""
        ...

    def approve(self, pcr0: Sha384) -> str:
        """Let exactly this image have what the keys protect; return the trust policy of agents as JSON."""
        ...


class BotoProvisioner:
    """Provision with the shipped templates through boto3."""

    means: Final = "boto3, with the templates that Terraform would use"

    def __init__(self, twin: Twin, publisher_key: VerifyingKey) -> None:
        """Take a running twin, and whose manifests count."""
        self._twin: Final = twin
        self._publisher_key: Final = publisher_key
        self._made: Provisioned | None = None

    def provision(self) -> Provisioned:
        """Make three roles, and two keys as their administrator would."""
        # KMS makes no key whose maker could not change its policy again: the administrator makes it.
        administrator = make_administrator(self._twin, "kms:CreateKey")
        publisher, parent = make_role(self._twin, "publisher"), make_role(self._twin, "parent")
        kms, roles = role_client(self._twin, administrator), (administrator, publisher, parent)
        weights_key = self._key(kms, Template.MODEL_WEIGHTS_KEY, roles)
        session_key = self._key(kms, Template.SESSION_KEY, roles)
        self._made = Provisioned(
            account=self._twin.settings.account,
            administrator=administrator,
            publisher=publisher,
            parent=parent,
            weights_key=weights_key,
            session_key=session_key,
            configuration=self._configuration(weights_key, session_key),
        )
        return self._made

    def approve(self, pcr0: Sha384) -> str:
        """Put the policies that name this image."""
        made = self._made or self.provision()
        kms = role_client(self._twin, made.administrator)
        roles = (made.administrator, made.publisher, made.parent)
        for key, template in ((made.weights_key, Template.MODEL_WEIGHTS_KEY), (made.session_key, Template.SESSION_KEY)):
            kms.put_key_policy(KeyId=str(key), PolicyName="default", Policy=self._policy(template, roles, pcr0))
        trusted = {
            "version": 1,
            "roots": [self._twin.pki.root_fingerprint.hex()],
            "pcr0": [pcr0.hex()],
            "pcrs": {},
            "regions": [self._twin.settings.region],
            "manifest": {"publisher_keys": [self._publisher_key.public_bytes.hex()], "floor_epoch": FLOOR_EPOCH},
        }
        return json.dumps(trusted)

    def _configuration(self, *keys: KeyArn) -> str:
        measured = {
            "version": 1,
            "publisher_keys": [self._publisher_key.public_bytes.hex()],
            "manifest_floor_epoch": FLOOR_EPOCH,
            "pinned_keys": [str(key) for key in keys],
            "allow_multi_region": False,
            "fips": False,
            "workloads": ["validate", "infer"],
            "weights_max_bytes": WEIGHTS_MAX_BYTES,
            "session_lifetime_s": 3600,
            "ca_bundle": CA_FILE,
            "development_roots": [self._twin.pki.root_fingerprint.hex()],
        }
        return json.dumps(measured)

    def _key(self, kms: Any, template: Template, roles: tuple[str, str, str]) -> KeyArn:
        return KeyArn.parse(kms.create_key(Policy=self._policy(template, roles, NOBODY))["KeyMetadata"]["Arn"])

    def _policy(self, template: Template, roles: tuple[str, str, str], pcr0: Sha384) -> str:
        administrator, publisher, parent = roles
        inputs = KeyPolicyInputs(
            account=self._twin.settings.account,
            administrators=(administrator,),
            publishers=() if template is Template.SESSION_KEY else (publisher,),
            parents=(parent,),
            measurements=EnclaveMeasurements(pcr0=(pcr0,)),
        )
        return render(template, inputs)


def make_role(twin: Twin, name: str) -> str:
    """Make a role that may do nothing by itself, and return its ARN."""
    unique = secrets.token_hex(4)  # moto keeps the roles of a process, whichever twin they were made through
    made = boto_client(twin, "iam").create_role(RoleName=f"{name}-{unique}", AssumeRolePolicyDocument="{}")
    return str(made["Role"]["Arn"])


def make_administrator(twin: Twin, action: str) -> str:
    """Make the administrator's role; making a key needs a word of IAM, as no key policy is there yet."""
    arn = make_role(twin, "administrator")
    statement = {"Effect": "Allow", "Action": action, "Resource": "*"}
    boto_client(twin, "iam").put_role_policy(
        RoleName=arn.rpartition("/")[2],
        PolicyName="make-keys",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
    )
    return arn


def role_credentials(twin: Twin, role_arn: str) -> TemporaryCredentials:
    """Return credentials of a role, in whichever of the twin's accounts it is."""
    sts = boto_client(twin, "sts", credentials=root_credentials(twin, role_arn.split(":")[4]))
    return session_credentials(sts.assume_role(RoleArn=role_arn, RoleSessionName="laptop"))


def role_client(twin: Twin, role_arn: str) -> Any:
    """Return a stock boto3 KMS client of a role."""
    return boto_client(twin, "kms", credentials=role_credentials(twin, role_arn))
