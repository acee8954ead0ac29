"""What the wheel holds: the library and the key policies, and nothing that runs from a checkout only."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.architecture.sources import ROOT, tracked


@pytest.fixture(scope="module")
def wheel_files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Build the wheel from this tree with the installed build backend; no network."""
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, timeout=100)
    (wheel,) = Path(out).glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def test_wheel_holds_only_the_library_and_the_key_policies(wheel_files: list[str]) -> None:
    tops = {name.partition("/")[0] for name in wheel_files}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"pcrgate", "kms_policies"}
    assert len(tops) == 3


def test_wheel_holds_every_tracked_file_of_both(wheel_files: list[str]) -> None:
    """Templates and the ``py.typed`` markers too."""
    wanted = {name for name in tracked() if name.startswith(("pcrgate/", "kms_policies/"))}
    assert {"pcrgate/py.typed", "kms_policies/py.typed"} <= wanted
    assert wanted - set(wheel_files) == set()


def test_wheel_has_the_command_and_the_licence(wheel_files: list[str]) -> None:
    names = {name.partition(".dist-info/")[2] for name in wheel_files if ".dist-info/" in name}
    assert {"entry_points.txt", "licenses/LICENSE", "METADATA"} <= names
