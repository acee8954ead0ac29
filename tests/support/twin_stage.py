"""A stage for tests with a twin: an administrator, a publisher, a parent, and a key whose policy names one image."""

import functools
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import pytest
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from kms_policies.inputs import EnclaveMeasurements, KeyPolicyInputs
from kms_policies.rendering import Template, render
from pcrgate.attestation.cbor import decode, encode
from pcrgate.envelope.recipient import RecipientKey, open_ciphertext_for_recipient
from pcrgate.kms.credentials import TemporaryCredentials
from pcrgate.kms.nsm import Nsm
from pcrgate.twin.clients import boto_client, session_credentials
from pcrgate.twin.server import Twin
from pcrgate.units import Sha384

CONTEXT = {"class": "weights", "name": "demo", "epoch": "1"}
PLAINTEXT = b"thirty-two bytes of a data key.."


@functools.cache
def rsa_key(bits: int = 2048, exponent: int = 65537) -> rsa.RSAPrivateKey:
    """Return a private key made once a process: what these tests look at is not the key."""
    return rsa.generate_private_key(exponent, bits)


def spki_der(key: rsa.RSAPrivateKey | None = None) -> bytes:
    """Return the DER SubjectPublicKeyInfo of a key, by default the shared one."""
    return (key or rsa_key()).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def document(nsm: Nsm, public_key: bytes | None) -> bytes:
    """Return an attestation document for a public key, straight from the device."""
    request: Any = {"Attestation": {"public_key": public_key, "user_data": None, "nonce": None}}
    answer: Any = decode(nsm.request(encode(request)))
    found: bytes = answer["Attestation"]["document"]
    return found


def recipient(document: bytes) -> dict[str, Any]:
    """Return the Recipient parameter for a document."""
    return {"AttestationDocument": document, "KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256"}


def opened(ciphertext_for_recipient: bytes, key: rsa.RSAPrivateKey | None = None) -> bytes:
    """Return what the enclave's reader finds in an answer."""
    return open_ciphertext_for_recipient(ciphertext_for_recipient, RecipientKey(key or rsa_key())).reveal()


def refusal(call: Callable[..., object], /, **parameters: object) -> tuple[str, str]:
    """Return code and message of the error that a call must end in."""
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Hold who plays: boto3 KMS clients, and the key.

    Attributes:
        twin: the running twin.
        administrator: manages the key.
        publisher: seals for it.
        parent: calls on behalf of the enclave.
        parent_credentials: the parent's.
        key_arn: the key's ARN.
        ciphertext: :data:`PLAINTEXT`, sealed under :data:`CONTEXT`.
    """

    twin: Twin
    administrator: Any
    publisher: Any
    parent: Any
    parent_credentials: TemporaryCredentials
    key_arn: str
    ciphertext: bytes

    def decrypt(self, **parameters: object) -> dict[str, Any]:
        """Decrypt the ciphertext as the parent; parameters are added or replace what is sent."""
        sent: dict[str, Any] = {
            "KeyId": self.key_arn,
            "CiphertextBlob": self.ciphertext,
            "EncryptionContext": CONTEXT,
            **parameters,
        }
        answer: dict[str, Any] = self.parent.decrypt(**sent)
        return answer


def make_role(twin: Twin, name: str, *actions: str) -> str:
    """Make a role that may do these KMS actions on everything, and return its ARN."""
    iam = root_client(twin, "iam")
    unique = f"{name}-{uuid.uuid4().hex[:12]}"
    arn: str = iam.create_role(RoleName=unique, AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    if actions:
        statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam.put_role_policy(RoleName=unique, PolicyName="kms", PolicyDocument=policy)
    return arn


def assume(twin: Twin, role_arn: str, **parameters: Any) -> TemporaryCredentials:
    """Assume a role."""
    sts = root_client(twin, "sts")
    return session_credentials(sts.assume_role(RoleArn=role_arn, RoleSessionName="session", **parameters))


_ROOT_CLIENTS: WeakKeyDictionary[Twin, dict[str, Any]] = WeakKeyDictionary()


def root_client(twin: Twin, service: str) -> Any:
    """Return the boto3 client of a service for the root user, one a twin."""
    clients = _ROOT_CLIENTS.setdefault(twin, {})
    if service not in clients:
        clients[service] = boto_client(twin, service)
    return clients[service]


def set_stage(twin: Twin, pcr0: Sha384) -> Stage:
    """Make the roles, the key under the shipped template for weights, and one ciphertext."""
    administrator = make_role(twin, "administrator", "kms:CreateKey")
    publisher, parent = make_role(twin, "publisher"), make_role(twin, "parent")
    policy = render(
        Template.MODEL_WEIGHTS_KEY,
        KeyPolicyInputs(
            account=twin.settings.account,
            administrators=(administrator,),
            publishers=(publisher,),
            parents=(parent,),
            measurements=EnclaveMeasurements(pcr0=(pcr0,)),
        ),
    )
    administrator_kms = boto_client(twin, "kms", credentials=assume(twin, administrator))
    publisher_kms = boto_client(twin, "kms", credentials=assume(twin, publisher))
    parent_credentials = assume(twin, parent)
    key_arn: str = administrator_kms.create_key(Policy=policy)["KeyMetadata"]["Arn"]
    sealed = publisher_kms.encrypt(KeyId=key_arn, Plaintext=PLAINTEXT, EncryptionContext=CONTEXT)
    return Stage(
        twin=twin,
        administrator=administrator_kms,
        publisher=publisher_kms,
        parent=boto_client(twin, "kms", credentials=parent_credentials),
        parent_credentials=parent_credentials,
        key_arn=key_arn,
        ciphertext=sealed["CiphertextBlob"],
    )
