"""Provision a twin as an account is provisioned in earnest: by Terraform, from the modules of this checkout."""

import json
import os
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from local.measurement import ROOT
from local.provision import CA_FILE, FLOOR_EPOCH, NOBODY, Provisioned, make_administrator
from local.terraform_places import Terraform
from pcrgate.errors import ErrorCode, PcrgateError
from pcrgate.manifest.public_keys import VerifyingKey
from pcrgate.twin.clients import boto_client, root_credentials
from pcrgate.twin.server import Twin
from pcrgate.units import KeyArn, Sha384

ENVIRONMENT: Final = Path("terraform", "environments", "twin")
"""What is applied."""

NAME: Final = "pcrgate-laptop"
"""Of the deployment; its roles are named after it."""

TARGETS: Final = (
    "module.deployment.module.key",
    "module.deployment.aws_iam_role_policy.publisher",
    "module.deployment.module.host.aws_iam_role_policy.release",
)
"""Keys, roles and their policies. Host, network, bucket and alarms take a laptop too long, and are not used here."""

TIMEOUT_S: Final = 240
STOP_TIMEOUT_S: Final = 3
"""How long Terraform is waited for once it is told to end: its state goes with the folder."""
TOLD_CHARACTERS: Final = 600

_NEVER: Final = "2099-01-01T00:00:00Z"
_NO_AMI: Final = "ami-00000000000000000"


def copy_configuration(target: Path) -> None:
    """Copy what Terraform reads of this checkout, without what an earlier run left behind."""
    left_behind = shutil.ignore_patterns(".terraform", ".terraform.lock.hcl", "*.tfstate*")
    for name in (Path("terraform"), Path("kms_policies", "templates")):
        shutil.copytree(ROOT / name, target / name, ignore=left_behind)


class TerraformProvisioner:
    """Apply the environment for twins, in a copy: nothing is written into the checkout."""

    means: Final = "Terraform, with environments/twin (keys and roles)"

    def __init__(self, twin: Twin, publisher_key: VerifyingKey, terraform: Terraform, folder: Path) -> None:
        """Take a running twin, whose manifests count, and a folder for the copy."""
        self._twin: Final = twin
        self._publisher_key: Final = publisher_key
        self._terraform: Final = terraform
        self._root: Final = folder / "terraform-copy"

    def provision(self) -> Provisioned:
        """Copy, initialise from the mirror, apply for a measurement that no image has.

        Raises:
            PcrgateError: ``local-terraform``.
        """
        copy_configuration(self._root)
        account, administrator = self._twin.settings.account, make_administrator(self._twin, "kms:*")
        self._write_variables(account, administrator)
        self._run_again_once("init", "-input=false", f"-plugin-dir={self._terraform.plugin_dir}")
        self._apply(NOBODY)
        outputs, iam = self._outputs(), boto_client(self._twin, "iam")
        publisher, parent = (
            str(iam.get_role(RoleName=f"{NAME}-{role}")["Role"]["Arn"]) for role in ("publisher", "parent")
        )
        return Provisioned(
            account=account,
            administrator=administrator,
            publisher=publisher,
            parent=parent,
            weights_key=KeyArn.parse(outputs["key_arns"]["weights"]),
            session_key=KeyArn.parse(outputs["key_arns"]["session"]),
            configuration=outputs["enclave_configuration"],
        )

    def approve(self, pcr0: Sha384) -> str:
        """Apply again for this image; return the trust policy that is put out for agents.

        Raises:
            PcrgateError: ``local-terraform``.
        """
        self._apply(pcr0)
        trusted: str = self._outputs()["agent_trust_policy"]
        return trusted

    def _write_variables(self, account: str, administrator: str) -> None:
        key = root_credentials(self._twin)
        variables = {
            "key_account_id": account,
            "workload_account_id": account,
            "credentials": {account: {"access_key_id": key.access_key_id, "secret_access_key": key.secret_access_key}},
            "administrators": [administrator],
            "publisher_principals": [f"arn:aws:iam::{account}:role/release-pipeline"],
            "manifest_publisher_keys": [self._publisher_key.public_bytes.hex()],
            "manifest_floor_epoch": FLOOR_EPOCH,
            "development_roots": [self._twin.pki.root_fingerprint.hex()],
            "ca_bundle": CA_FILE,
            "ami_id": _NO_AMI,
            "name": NAME,
        }
        (self._folder / "laptop.auto.tfvars.json").write_text(json.dumps(variables))

    @property
    def _folder(self) -> Path:
        return self._root / ENVIRONMENT

    def _apply(self, pcr0: Sha384) -> None:
        measurements = [{"name": "laptop", "pcr0": pcr0.hex(), "expires": _NEVER}]
        (self._folder / "measurements.auto.tfvars.json").write_text(json.dumps({"measurements": measurements}))
        self._run_again_once(
            "apply", "-auto-approve", "-input=false", "-refresh=false", *(f"-target={one}" for one in TARGETS)
        )

    def _outputs(self) -> dict[str, Any]:
        return {name: one["value"] for name, one in json.loads(self._run("output", "-json")).items()}

    def _run_again_once(self, command: str, *options: str) -> None:
        """Run what goes on where it ended: on a busy laptop a provider may start too late, or wait too briefly."""
        try:
            self._run(command, *options)
        except PcrgateError:
            self._run(command, *options)

    def _run(self, command: str, *options: str) -> str:
        told = {name: value for name, value in self._twin.environment().items() if "ACCESS_KEY" not in name}
        process = subprocess.Popen(
            [str(self._terraform.binary), f"-chdir={self._folder}", command, "-no-color", *options],
            env={
                "PATH": os.environ.get("PATH", os.defpath),
                "HOME": str(self._root),
                "TMPDIR": str(self._root),
                "TF_IN_AUTOMATION": "1",
                "CHECKPOINT_DISABLE": "1",
                "AWS_EC2_METADATA_DISABLED": "true",
                **told,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # the terminal's Ctrl-C is for us; Terraform and its plugins are ended together
        )
        try:
            out, err = process.communicate(timeout=TIMEOUT_S)
        except BaseException:
            _end_group(process)
            raise
        if process.returncode != 0:
            said = " ".join((err or out).split())[-TOLD_CHARACTERS:]
            raise PcrgateError(
                ErrorCode.LOCAL_TERRAFORM, f"terraform {command} ended with code {process.returncode}: {said}"
            )
        return out


def _end_group(process: "subprocess.Popen[str]") -> None:
    """End Terraform with its plugins: asked first, which lets it write its state."""
    for number in (signal.SIGINT, signal.SIGKILL):
        with suppress(OSError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=STOP_TIMEOUT_S)
            break
    with suppress(OSError):  # a plugin that outlived its master
        os.killpg(process.pid, signal.SIGKILL)
