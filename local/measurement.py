"""Measure the enclave as a laptop runs it: PCR0 is a digest of its files, its configuration and its CA.

A Nitro Enclave's PCR0 is the digest of its image. Here the image is the checkout: change one byte of what the enclave
would hold, and PCR0 is another.
"""

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pcrgate.units import Sha384

ROOT: Final = Path(__file__).resolve().parents[1]
"""The checkout."""

MEASURED: Final = (
    "enclave",
    "pcrgate/__init__.py",
    "pcrgate/attestation",
    "pcrgate/envelope",
    "pcrgate/errors.py",
    "pcrgate/kms",
    "pcrgate/manifest",
    "pcrgate/receipts",
    "pcrgate/units.py",
    "pcrgate/wire",
)
"""What an image would hold, folders with all their Python files."""

LABEL: Final = b"pcrgate laptop measurement v1"


BESIDE: Final = ("pcrgate", "kms_policies", "local", "service")
"""What a laptop's enclave loads beside what is measured: the software NSM, and this very code."""


def copy_checkout(target: Path, root: Path = ROOT) -> Path:
    """Copy what a laptop's enclave runs from, and return the target: it stays the same whatever is edited meanwhile."""
    for name in sorted({*BESIDE, *(name.partition("/")[0] for name in MEASURED)}):
        shutil.copytree(root / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
    return target


def measured_files(root: Path = ROOT) -> Iterator[Path]:
    """Yield every measured file of a checkout, in order of its path."""
    found: list[Path] = []
    for name in MEASURED:
        path = root / name
        found += [path] if path.is_file() else path.rglob("*.py")
    yield from sorted(found)


def measure(configuration: Path, ca_bundle: Path | None, *, root: Path = ROOT) -> Sha384:
    """Return what PCR0 is for a checkout, a configuration and a CA bundle.

    Args:
        configuration: the measured configuration's file.
        ca_bundle: the CAs for KMS's certificate, None when the configuration names none.
        root: the checkout.
    """
    whole = hashlib.sha384(LABEL)
    for path in measured_files(root):
        _add(whole, path.relative_to(root).as_posix(), path)
    _add(whole, "configuration", configuration)
    if ca_bundle is not None:
        _add(whole, "ca-bundle", ca_bundle)
    return Sha384(whole.digest())


def _add(whole: "hashlib._Hash", name: str, path: Path) -> None:
    encoded = name.encode()
    whole.update(len(encoded).to_bytes(4, "big") + encoded + hashlib.sha384(path.read_bytes()).digest())
