"""The Terraform tree as Terraform sees it: formatted, valid, and each module's own tests pass offline."""

import pytest

from tests.architecture.sources import ROOT
from tests.terraform.working_copy import WorkingCopy

pytestmark = pytest.mark.terraform

TESTED = sorted(path.parents[1].name for path in (ROOT / "terraform" / "modules").glob("*/tests/*.tftest.hcl"))


def test_everything_is_formatted(working_copy: WorkingCopy) -> None:
    assert working_copy.run(".", "fmt", "-check", "-recursive", "-diff").stdout == ""


def test_the_example_is_valid_and_with_it_every_module(working_copy: WorkingCopy) -> None:
    working_copy.init("environments/example")
    assert "Success" in working_copy.run("environments/example", "validate", "-no-color").stdout


@pytest.mark.parametrize("name", TESTED)
def test_the_modules_own_tests_pass(working_copy: WorkingCopy, name: str) -> None:
    working_copy.init(f"modules/{name}")
    said = working_copy.run(f"modules/{name}", "test", "-no-color").stdout
    assert "Success!" in said
    assert "0 failed" in said


def test_every_module_is_tested() -> None:
    # deployment puts the others together; the round against the twin tests it.
    modules = {path.name for path in (ROOT / "terraform" / "modules").iterdir()}
    assert modules - {"deployment"} == set(TESTED)
