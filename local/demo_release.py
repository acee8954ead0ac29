"""Scenes of release: the twin enforces the very policy that was proven, over HTTPS, against the attested client."""

import hashlib
import json
import secrets
from collections.abc import Iterator
from typing import Any, Final

from local.demo_policies import Roles, key_policy
from local.scene import RELEASED, OtherVerdict, Scene
from pcrgate.kms.credentials import TemporaryCredentials
from pcrgate.kms.expectation import ReleaseExpectation
from pcrgate.twin.clients import attested_client, boto_client, session_credentials
from pcrgate.twin.nsm import SoftwareNsm
from pcrgate.twin.server import Twin
from pcrgate.units import KeyArn, Sha384

CONTEXT: Final = {"class": "weights", "name": "demo", "epoch": "1"}
SECRET: Final = hashlib.sha256(b"the demonstration's data key").digest()

MAY_MAKE_KEYS: Final = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "kms:CreateKey", "Resource": "*"}]}
)
"""Making a key needs a word of IAM; no key policy is there yet."""

DENIED: Final = "AccessDeniedException"


class Account:
    """Hold an account of a running twin: three roles, a key under the shipped policy, and one sealed data key."""

    def __init__(self, twin: Twin, image: Sha384) -> None:
        """Make the roles and the key as their administrator would, and seal as the publisher.

        Args:
            twin: a running twin with an HTTPS listener.
            image: PCR0 that the key releases to.
        """
        self.twin: Final = twin
        self.image: Final = image
        iam = boto_client(twin, "iam")
        unique = secrets.token_hex(4)  # moto keeps the roles of a process, whichever twin they were made through
        administrator, publisher, parent = (
            iam.create_role(RoleName=f"{name}-{unique}", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
            for name in ("administrator", "publisher", "parent")
        )
        self.roles: Final = Roles(
            account=twin.settings.account, administrator=administrator, publisher=publisher, parent=parent
        )
        self.policy: Final = key_policy(self.roles, image)
        # KMS makes no key whose maker could not change its policy again: the administrator makes it.
        iam.put_role_policy(RoleName=f"administrator-{unique}", PolicyName="make-keys", PolicyDocument=MAY_MAKE_KEYS)
        administering = boto_client(twin, "kms", credentials=self.session(administrator))
        self.key_arn: Final[str] = administering.create_key(Policy=self.policy)["KeyMetadata"]["Arn"]
        publishing = boto_client(twin, "kms", credentials=self.session(publisher))
        sealed = publishing.encrypt(KeyId=self.key_arn, Plaintext=SECRET, EncryptionContext=CONTEXT)
        self.blob: Final[bytes] = sealed["CiphertextBlob"]
        self._parent: Final = self.session(parent)

    def session(self, role_arn: str) -> TemporaryCredentials:
        """Return credentials of a role."""
        return session_credentials(boto_client(self.twin, "sts").assume_role(RoleArn=role_arn, RoleSessionName="demo"))

    def release_to(self, image: Sha384) -> str:
        """Ask for the sealed data key as an enclave of an image does; return the fact to show.

        Raises:
            ClientError: KMS's refusal.
            OtherVerdict: when something else than the sealed data key came.
        """
        nsm = SoftwareNsm(pki=self.twin.pki, pcrs={0: image}, clock=self.twin.clock)
        expected = ReleaseExpectation(
            operation="Decrypt", key_arn=KeyArn.parse(self.key_arn), encryption_context=CONTEXT
        )
        enclave = attested_client(self.twin, nsm, expected, credentials=self._parent)
        if enclave.decrypt(**self._request())["Plaintext"] != SECRET:
            raise OtherVerdict("wrong-secret", "what came is not what was sealed")
        return f"{len(SECRET)} bytes, encrypted to the enclave's one-time key; opened and compared inside it"

    def release_to_the_parent(self) -> str:
        """Ask for the sealed data key with the parent's own credentials and no recipient.

        Raises:
            ClientError: KMS's refusal.
        """
        answer = boto_client(self.twin, "kms", credentials=self._parent).decrypt(**self._request())
        return f"the parent holds {len(answer['Plaintext'])} bytes of plaintext"

    def _request(self) -> dict[str, Any]:
        return {"KeyId": self.key_arn, "CiphertextBlob": self.blob, "EncryptionContext": CONTEXT}


def release_scenes(account: Account) -> Iterator[Scene]:
    """Yield the scenes in order."""
    other = Sha384(hashlib.sha384(b"another image").digest())
    yield Scene(
        title="an enclave of the approved image",
        expected=RELEASED,
        play=lambda: account.release_to(account.image),
        success=RELEASED,
    )
    yield Scene(
        title="an enclave of another image",
        expected=DENIED,
        play=lambda: account.release_to(other),
        success=RELEASED,
    )
    yield Scene(
        title="the parent itself, without a recipient",
        expected=DENIED,
        play=account.release_to_the_parent,
        success=RELEASED,
    )
