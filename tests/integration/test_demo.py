"""``make demo`` as a person runs it: with Terraform and without, to its end and interrupted; every verdict is real."""

import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from local import __main__ as command
from local import demo_stage, demo_tampering
from pcrgate.errors import ErrorCode
from tests.architecture.sources import ROOT
from tests.support.commands import left_behind, started, wait_until
from tests.support.terraform import MISSING, Terraform, find_terraform

pytestmark = pytest.mark.network

INTERRUPTED = {command.EXIT_INTERRUPTED, -signal.SIGINT}
"""The same to a shell: CPython ends itself by the signal when it came amid code that is executed from text."""

VERDICTS = {
    "seal": ["provisioned", "sealed", "AccessDeniedException"],
    "provision": ["approved", "proven", "second-allow", "root-delegation"],
    "release": ["published", "released", "AccessDeniedException"],
    "attest": [
        "accepted", "accepted", "signature-invalid", "nonce-mismatch", "pcr-mismatch", "debug-evidence",
        "evidence-too-old", "root-unpinned",
    ],
    "work": ["markdown", "python", "makefile", "admitted", "workload-argument", "accepted"],
    "tamper": ["other-pcr0", "AccessDenied", "denied"],
    "hostile parent": ["weights-digest", "weights-frame", "released"],
}  # fmt: skip


@pytest.fixture(scope="module")
def terraform() -> Terraform:
    found = find_terraform()
    if found is None:
        pytest.skip(MISSING)
    return found


@pytest.fixture
def path_without_terraform(tmp_path: Path) -> str:
    """A PATH on which everything is but Terraform."""
    for place in os.environ["PATH"].split(os.pathsep):
        for program in Path(place).glob("*") if Path(place).is_dir() else ():
            link = tmp_path / program.name
            if program.name != "terraform" and not link.is_symlink():
                link.symlink_to(program)
    assert shutil.which("terraform", path=str(tmp_path)) is None
    return str(tmp_path)


def verdicts(told: Any) -> dict[str, list[str]]:
    return {act["name"]: [scene["verdict"] for scene in act["scenes"]] for act in told["acts"]}


@pytest.mark.terraform
@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_whole_story_with_terraform(terraform: Terraform) -> None:
    with started("demo", "--json", timeout_s=380) as demo:
        code, out, err = demo.ended()
        told = json.loads(out)
        assert (code, err, told["ok"], verdicts(told)) == (0, "", True, VERDICTS), out
        assert told["provisioned_by"].startswith("Terraform")
        assert (demo.processes(), left_behind(demo.folder)) == ([], [])


@pytest.mark.timeout(300)
def test_the_whole_story_without_terraform(path_without_terraform: str) -> None:
    with started("demo", environment={"PATH": path_without_terraform}, timeout_s=280) as demo:
        code, out, err = demo.ended()
        assert (code, err) == (0, "")
        lines = out.splitlines()
        assert lines[0].startswith("Provisioned by boto3")
        assert MISSING in " ".join(out.split())
        count = sum(map(len, VERDICTS.values()))
        ending = f"{count} of {count} verdicts as announced"
        assert lines[-1].startswith(f"{ending}, in ")
        assert ending in (ROOT / "README.md").read_text()
        assert "make dev" in out
        assert "\x1b" not in out
        assert max(map(len, lines)) <= 120
        assert (demo.processes(), left_behind(demo.folder)) == ([], [])


@pytest.mark.timeout(300)
def test_an_enclave_of_which_no_byte_is_changed_is_released_to(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo_tampering, "tamper", lambda _path: None)
    assert command.main(["demo", "--json", "--without-terraform"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is False
    assert verdicts(told) == {**VERDICTS, "tamper": ["same-pcr0", "released", "allowed"]}


@pytest.mark.parametrize("moment", ["pcrgate-twin-*", "pcrgate-demo-*/parent.log", "pcrgate-demo-*/tampered.sock"])
def test_ctrl_c_leaves_nothing(moment: str) -> None:
    with started("demo", "--without-terraform") as demo:
        wait_until(lambda: bool(list(demo.folder.glob(moment))) or demo.process.poll() is not None)
        code, _, err = demo.end(signal.SIGINT)
        assert (code in INTERRUPTED, err) == (True, "interrupted\n"), code
        assert (demo.processes(), left_behind(demo.folder)) == ([], [])


@pytest.mark.terraform
def test_ctrl_c_while_terraform_works(terraform: Terraform) -> None:
    with started("demo") as demo:
        wait_until(lambda: any("terraform-provider" in line for line in demo.processes()))
        code, _, err = demo.end(signal.SIGINT)
        assert (code in INTERRUPTED, err) == (True, "interrupted\n"), code
        wait_until(lambda: demo.processes() == [])
        assert left_behind(demo.folder) == []


def test_the_story_ends_where_nothing_could_follow(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    broken = Terraform(binary=Path(shutil.which("false") or sys.executable), plugin_dir=tmp_path)
    monkeypatch.setattr(demo_stage, "find_terraform", lambda: broken)
    assert command.main(["demo"]) == 1
    out = capsys.readouterr().out
    assert "  NO  roles, and keys that release to nobody yet: local-terraform" in out
    assert "terraform init ended with code 1: " in " ".join(out.split())
    assert "0 of 1 verdicts as announced" in out


def test_a_model_that_is_not_installed_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("local.demo_model.PACKAGE", "no_such_package")
    assert command.main(["demo", "--without-terraform"]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"refused: {ErrorCode.LOCAL_MODEL.code}: the package no_such_package is not installed")
    assert "make setup" in err
