"""A kill at any moment of a first start leaves a state directory that the next start takes; one twin at a time."""

import subprocess
import sys
from pathlib import Path

import pytest

from pcrgate.errors import ErrorCode, UsageError
from pcrgate.twin.private_files import held_alone, write_whole
from pcrgate.twin.settings import TwinSettings
from pcrgate.twin.state import open_identity

FILES = ["twin-seed.private", "pki/seed.private", "pki/root.pem", "tls/tls-server.pem", "tls/tls-ca.pem", "twin-starts"]
"""What a first start writes, in its order."""


@pytest.mark.parametrize("written", range(len(FILES) + 1))
def test_a_start_that_was_killed_is_taken_up(tmp_path: Path, written: int) -> None:
    settings = TwinSettings(state_dir=tmp_path)
    first = open_identity(settings, tmp_path)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.p*")) == sorted(FILES[:-1])
    for name in FILES[written:]:
        (tmp_path / name).unlink()
    if written < len(FILES):
        (tmp_path / FILES[written]).with_suffix(".partial").write_bytes(b"half of i")
    again = open_identity(settings, tmp_path)
    assert (again.seed == first.seed) == (written > 0)
    assert (again.pki.root_fingerprint == first.pki.root_fingerprint) == (written > 0)
    assert again.starts == (1 if written == len(FILES) else 0)
    again.tls.server_context()  # raises when key and certificate are not a pair
    assert open_identity(settings, tmp_path).pki.root_fingerprint == again.pki.root_fingerprint


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


def test_a_folder_is_held_by_one(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    with held_alone(folder):
        with pytest.raises(UsageError) as caught, held_alone(folder):
            pass
        assert caught.value.code is ErrorCode.TWIN_STATE_LOCKED
    with held_alone(folder):
        pass
    (tmp_path / "file").touch()
    with pytest.raises(UsageError) as caught, held_alone(tmp_path / "file"):
        pass
    assert caught.value.code is ErrorCode.USAGE_FILE
