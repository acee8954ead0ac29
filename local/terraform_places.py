"""Find Terraform and the AWS provider on this machine; without them the laptop provisions through boto3."""

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PROVIDER: Final = "registry.terraform.io/hashicorp/aws"
"""The provider's folder in a filesystem mirror. Spec: Terraform CLI documentation, "filesystem_mirror"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terraform:
    """Hold what it takes to run Terraform without a network.

    Attributes:
        binary: the executable.
        plugin_dir: a filesystem mirror that holds the AWS provider.
    """

    binary: Path
    plugin_dir: Path


def find_terraform() -> Terraform | None:
    """Return Terraform with a provider mirror, or None.

    The mirror is ``$TF_PLUGIN_DIR``, else one of the usual places.
    """
    binary = shutil.which("terraform")
    home = Path.home()
    places = [
        os.environ.get("TF_PLUGIN_DIR"),
        home / ".terraform.d" / "plugins",
        home / ".local" / "share" / "terraform" / "plugins",
        "/usr/local/share/terraform/plugins",
        "/usr/share/terraform/plugins",
        *_add_on_folders(),
    ]
    for place in places:
        if place is None:
            continue
        folder = Path(place)
        mirror = folder.parent if folder.name == "registry.terraform.io" else folder
        if binary is not None and (mirror / PROVIDER).is_dir():
            return Terraform(binary=Path(binary), plugin_dir=mirror)
    return None


def _add_on_folders() -> list[Path]:
    """Return mirrors two levels below the root, where packages outside the distribution are put."""
    tops = [top for top in Path(Path.cwd().anchor).iterdir() if top.name not in {"proc", "sys", "dev", "run", "tmp"}]
    found: list[Path] = []
    for top in tops:
        with suppress(OSError):
            found += sorted(top.glob("*/registry.terraform.io"))
    return found


MISSING: Final = "terraform, or a mirror with its AWS provider (TF_PLUGIN_DIR), is not on this machine"
"""Why Terraform is not used."""
