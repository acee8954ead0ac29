"""Fixtures of the Terraform tests."""

from pathlib import Path

import pytest

from tests.support.terraform import MISSING, Terraform, find_terraform
from tests.terraform.working_copy import WorkingCopy


@pytest.fixture(scope="session")
def terraform() -> Terraform:
    """Return Terraform, or skip visibly."""
    found = find_terraform()
    if found is None:
        pytest.skip(MISSING)
    return found


@pytest.fixture
def working_copy(terraform: Terraform, tmp_path: Path) -> WorkingCopy:
    """Return a copy of the tree that nothing was done in yet."""
    return WorkingCopy.make(tmp_path / "copy", terraform)
