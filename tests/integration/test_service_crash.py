"""Kill a writer between any two instructions: what it acknowledged is there, what is there is whole."""

import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from pcrgate.units import Sha384
from service.artifact_files import FileArtifactStore
from service.state_sqlite import SqliteStateStore
from service.state_store import ResultState
from tests.architecture.sources import ROOT

ROUNDS = 3


@pytest.mark.parametrize("lines", [3, 22, 41])
def test_nothing_acknowledged_is_lost(tmp_path: Path, lines: int) -> None:
    acknowledged: list[list[str]] = []
    for _ in range(ROUNDS if lines == 41 else 1):
        place = tmp_path / str(len(acknowledged))
        place.mkdir()
        acknowledged += [[str(place), *line] for line in written_until_killed(place, lines)]
    assert len(acknowledged) >= lines
    for place_name, kind, name in acknowledged:
        place = Path(place_name)
        files = FileArtifactStore(place / "files")
        with closing(SqliteStateStore(place / "state.db")) as state:
            if kind == "artifact":
                digest = Sha384.from_hex(name)
                assert len(b"".join(files.read(digest))) == 4104
                assert state.artifact(digest) is not None
            elif kind == "manifest":
                assert state.manifest(int(name)) is not None
            elif kind == "invocation":
                assert state.invocation(name) is not None
            else:
                found = state.invocation(name)
                assert found is not None
                assert found.state is ResultState.DONE
                assert found.result == found.request
                assert state.receipts(bytes(32), after=int(name, 16) - 1, limit=1)[0].receipt == found.request


def written_until_killed(place: Path, lines: int) -> list[list[str]]:
    """Return what a writer acknowledged, in words, before it was killed without warning."""
    command = [sys.executable, "-m", "tests.support.acknowledging_writer", str(place)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as writer:
        assert writer.stdout is not None
        said = [writer.stdout.readline() for _ in range(lines)]
        writer.send_signal(signal.SIGKILL)
        said += writer.stdout.readlines()
    assert writer.returncode == -signal.SIGKILL
    return [line.split() for line in said if line.endswith("\n")]
