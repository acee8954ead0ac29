"""What the acts of the demonstration share: one twin, one deployment, one model, what each act left for the next."""

import base64
import hashlib
import json
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from local.demo_model import FileTypeModel
from local.deployment import Deployment
from local.measurement import copy_checkout
from local.provision import BotoProvisioner, Provisioner, role_client
from local.publishing import LaptopPublisher, Sealed
from local.terraform import TerraformProvisioner
from local.terraform_places import find_terraform
from pcrgate.twin.server import Twin
from pcrgate.twin.settings import TwinSettings
from pcrgate.units import Sha384

MODEL: Final = "magika"
"""The model's name in the manifest."""

EPOCH: Final = 2
"""Of model and manifest; a hostile parent will try an older one."""

CONTEXT: Final = {"class": "weights", "name": MODEL, "epoch": str(EPOCH)}
SECRET: Final = hashlib.sha256(b"the demonstration's data key").digest()
DENIED: Final = "AccessDeniedException"


class Stage:
    """Hold what the acts share; each attribute is set by the act that makes it.

    Attributes:
        folder: where everything lies.
        twin: the running twin.
        publisher: who seals and signs.
        model: what is sealed.
        checkout: a copy of this one, which enclaves are measured and run from.
        provisioner: Terraform, or boto3.
    """

    def __init__(self, folder: Path, twin: Twin, stack: ExitStack, *, with_terraform: bool) -> None:
        """Take a running twin; nothing is provisioned yet."""
        self.folder: Final = folder
        self.twin: Final = twin
        self._stack: Final = stack
        self.publisher: Final = LaptopPublisher()
        self.model: Final = FileTypeModel.find()
        self.checkout: Final = copy_checkout(folder / "checkout")
        self.provisioner: Final = self._provisioner(with_terraform=with_terraform)
        self._deployment: Deployment | None = None
        self._sealed: Sealed | None = None
        self.blob = b""

    def _provisioner(self, *, with_terraform: bool) -> Provisioner:
        terraform = find_terraform() if with_terraform else None
        if terraform is None:
            return BotoProvisioner(self.twin, self.publisher.verifying_key)
        return TerraformProvisioner(self.twin, self.publisher.verifying_key, terraform, self.folder)

    def provision(self) -> None:
        """Have roles and keys made."""
        self._deployment = Deployment(self.folder, self.twin, self.provisioner, self.publisher, checkout=self.checkout)
        self._stack.callback(self._deployment.close)

    @property
    def deployment(self) -> Deployment:
        """The deployment; the first act makes it."""
        if self._deployment is None:
            raise RuntimeError("nothing is provisioned yet")
        return self._deployment

    @property
    def sealed(self) -> Sealed:
        """The sealed model; the first act makes it."""
        if self._sealed is None:
            raise RuntimeError("nothing is sealed yet")
        return self._sealed

    @sealed.setter
    def sealed(self, made: Sealed) -> None:
        self._sealed = made

    def publisher_kms(self) -> Any:
        """Return a KMS client of the publisher's role."""
        return role_client(self.twin, self.deployment.provisioned.publisher)

    def parent_kms(self) -> Any:
        """Return a KMS client of the parent's role, as whoever owns the parent has it."""
        return role_client(self.twin, self.deployment.provisioned.parent)

    def key_policy(self) -> str:
        """Return the policy of the weights' key as KMS holds it now."""
        kms = role_client(self.twin, self.deployment.provisioned.administrator)
        text: str = kms.get_key_policy(KeyId=str(self.deployment.provisioned.weights_key))["Policy"]
        return text

    def decrypt_request(self) -> dict[str, Any]:
        """Return a request for what the publisher wrapped."""
        key_arn = str(self.deployment.provisioned.weights_key)
        return {"KeyId": key_arn, "CiphertextBlob": self.blob, "EncryptionContext": CONTEXT}

    def attested_pcr0(self) -> Sha384 | None:
        """Return the PCR0 to which KMS last released, as it recorded; None when it refused, or released in clear."""
        records: list[Any] = [one for one in self.twin.audit.records() if one["eventName"] == "Decrypt"]
        recipient = (records[-1].get("additionalEventData") or {}).get("recipient")
        if records[-1].get("errorCode") or not recipient:
            return None
        return Sha384(base64.b64decode(recipient["attestationDocumentEnclaveImageDigest"]))


@contextmanager
def open_stage(*, with_terraform: bool) -> Iterator[Stage]:
    """Yield a stage; processes and files are gone at the end, however it comes."""
    with (
        tempfile.TemporaryDirectory(prefix="pcrgate-demo-") as name,
        Twin(TwinSettings(http_port=None, https_port=0)) as twin,
        ExitStack() as stack,
    ):
        yield Stage(Path(name), twin, stack, with_terraform=with_terraform)


def pcr0_in(policy: str) -> set[str]:
    """Return the values of PCR0 that a key policy names, hex."""
    found = set()
    for statement in json.loads(policy)["Statement"]:
        for operator in statement.get("Condition", {}).values():
            for key, values in operator.items():
                if key.lower().endswith((":pcr0", ":imagesha384")):
                    found |= {values} if isinstance(values, str) else set(values)
    return found


def shown(value: Sha384) -> str:
    """Return the beginning of a measurement, for people."""
    return f"{value.hex()[:16]}..."
