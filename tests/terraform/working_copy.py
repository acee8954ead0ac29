"""A working copy of the Terraform tree in a temporary folder: tests write nothing into the checkout."""

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local.terraform import copy_configuration
from tests.support.terraform import Terraform

OFFLINE_PROVIDER = """
provider "aws" {
  region                      = "eu-central-1"
  access_key                  = "AKIAOFFLINE000000000"
  secret_key                  = "not-a-secret"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}
"""
"""The real provider, configured so that a plan of new resources asks nobody anything."""

TIMEOUT_S = 280


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkingCopy:
    """Run Terraform in a copy of ``terraform/`` with the templates beside it.

    Attributes:
        root: the folder that stands for the checkout.
        terraform: binary and provider mirror.
        environment: further environment variables of every run.
    """

    root: Path
    terraform: Terraform
    environment: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def make(cls, root: Path, terraform: Terraform, environment: Mapping[str, str] | None = None) -> "WorkingCopy":
        """Copy what Terraform reads, without what it left behind."""
        copy_configuration(root)
        return cls(root=root, terraform=terraform, environment=environment or {})

    def run(self, folder: str, *words: str, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Run one command in a folder below ``terraform/`` and compare its exit code, unless that is None."""
        home = self.root / "home"
        home.mkdir(exist_ok=True)
        done = subprocess.run(
            [str(self.terraform.binary), f"-chdir={self.root / 'terraform' / folder}", *words],
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(home),
                "TF_IN_AUTOMATION": "1",
                "TF_CLI_ARGS_init": f"-plugin-dir={self.terraform.plugin_dir}",
                "CHECKPOINT_DISABLE": "1",
                "AWS_EC2_METADATA_DISABLED": "true",
                **self.environment,
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT_S,
        )
        assert code is None or done.returncode == code, done.stdout + done.stderr
        return done

    def init(self, folder: str) -> None:
        """Initialise a folder from the mirror; no registry is asked."""
        self.run(folder, "init", "-no-color", "-input=false")

    def show_json(self, folder: str, *plan: str) -> dict[str, Any]:
        """Return ``terraform show -json`` of a plan file, or of the state."""
        found: dict[str, Any] = json.loads(self.run(folder, "show", "-json", *plan).stdout)
        return found
