"""Run a long command of the laptop in a temporary folder of its own, and see what it leaves behind."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.architecture.sources import ROOT

TIMEOUT_S = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """Hold a started command.

    Attributes:
        process: it.
        folder: its temporary folder.
    """

    process: subprocess.Popen[str]
    folder: Path

    def object(self) -> Any:
        """Return the JSON object that it prints, once it has printed it whole."""
        assert self.process.stdout is not None
        lines = []
        for line in self.process.stdout:
            lines.append(line)
            if line == "}\n":
                return json.loads("".join(lines))
        raise AssertionError(self.process.communicate()[1])

    def end(self, number: int) -> tuple[int, str, str]:
        """Send a signal; return exit code, and what else was printed."""
        self.process.send_signal(number)
        return self.ended()

    def ended(self) -> tuple[int, str, str]:
        """Return exit code, and what else was printed."""
        out, err = self.process.communicate(timeout=TIMEOUT_S)
        return self.process.returncode, out, err

    def processes(self) -> list[str]:
        """Return the command lines, and numbers, of the processes it has started that still run."""
        return running_with(str(self.folder))


@contextmanager
def started(*words: str, environment: dict[str, str] | None = None) -> Iterator[Started]:
    """Run ``python -m local WORDS`` with a short temporary folder: sockets have short names."""
    folder = Path(tempfile.mkdtemp(prefix="lt-"))
    process = subprocess.Popen(
        [sys.executable, "-m", "local", *words],
        cwd=ROOT,
        env={**os.environ, **(environment or {}), "TMPDIR": str(folder)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield Started(process=process, folder=folder)
    finally:
        process.kill()
        process.communicate()
        wait_until(lambda: not running_with(str(folder)))
        shutil.rmtree(folder)


def running_with(text: str) -> list[str]:
    """Return the processes on whose command line a text stands."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if text in line:
                    found.append(f"{entry.name} {line}")
    return found


def wait_until(reached: Callable[[], bool], timeout_s: float = TIMEOUT_S) -> None:
    """Wait until something holds."""
    end = time.monotonic() + timeout_s
    while not reached():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def left_behind(folder: Path) -> Sequence[str]:
    """Return what lies in a folder."""
    return sorted(path.name for path in folder.iterdir())
