"""A kill at any moment of a first start leaves a state directory that the next start takes; one twin at a time."""

import subprocess
import sys
from pathlib import Path

import pytest

from pcrgate.errors import ErrorCode, UsageError
from pcrgate.twin.kms.store import DirectoryStore
from pcrgate.twin.private_files import write_whole
from pcrgate.twin.server import Twin
from pcrgate.twin.settings import TwinSettings
from pcrgate.twin.state import open_identity

RENAMES = 6
"""Files that a first start puts in their places: two seeds, a root, key and certificate, a CA, the count of starts."""

KILLED = """
import os, sys
from pathlib import Path
from pcrgate.twin.settings import TwinSettings
from pcrgate.twin.state import open_identity

def dies_at(left, folder):
    def hook(event, arguments):
        nonlocal left
        if event == "os.rename" and str(arguments[1]).startswith(folder):  # coverage renames its data too
            if not left:
                os._exit(9)
            left -= 1
    return hook

for number in range(int(sys.argv[2]) + 1):
    if not os.fork():
        folder = Path(sys.argv[1]) / str(number)
        sys.addaudithook(dies_at(number, str(folder)))
        open_identity(TwinSettings(state_dir=folder), folder)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.wait()[1]))
"""
"""Starts as many times as there are files, and once more: the first dies before the first file has its name, and so on."""


def test_a_first_start_that_is_killed_at_any_file_is_taken_up(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path), str(RENAMES)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["9"] * RENAMES + ["0"]
    for number in range(RENAMES + 1):
        folder = tmp_path / str(number)
        names = {path.name for path in folder.rglob("*.private")}
        again = open_identity(TwinSettings(state_dir=folder), folder)
        again.tls.server_context()  # raises when key and certificate are not a pair
        assert again.starts == (1 if number == RENAMES else 0)
        assert (number > 0) == ("twin-seed.private" in names)
        third = open_identity(TwinSettings(state_dir=folder), folder)
        assert (third.seed, third.starts) == (again.seed, again.starts + 1)
        assert third.pki.root_fingerprint == again.pki.root_fingerprint
        assert third.tls.ca_path.read_bytes() == again.tls.ca_path.read_bytes()


def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "kept.private"
    write_whole(path, b"before")
    assert path.stat().st_mode & 0o777 == 0o600
    program = (
        "import resource, sys; from pathlib import Path; from pcrgate.twin.private_files import write_whole\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4, 4))\n"
        "try: write_whole(Path(sys.argv[1]), b'much longer')\n"
        "except OSError: print('refused')\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    assert (done.stdout, path.read_bytes()) == ("refused\n", b"before")


def test_a_second_twin_makes_and_reads_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    settings = TwinSettings(state_dir=folder, http_port=0, https_port=None)
    first = DirectoryStore(folder / "kms")
    with pytest.raises(UsageError) as caught:
        Twin(settings)
    assert caught.value.code is ErrorCode.TWIN_STATE_LOCKED
    assert [path.name for path in folder.iterdir()] == ["kms"]
    assert folder.stat().st_mode & 0o777 == 0o700
    first.close()
    (folder / "twin-seed.private").write_text("nonsense")
    with pytest.raises(UsageError) as caught:
        Twin(settings)
    assert caught.value.code is ErrorCode.USAGE_FILE
    DirectoryStore(folder / "kms").close()  # the lock of the one that did not start is given back


def test_a_state_directory_that_is_none_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError) as caught:
        Twin(TwinSettings(state_dir=tmp_path / "file"))
    assert caught.value.code is ErrorCode.USAGE_FILE
