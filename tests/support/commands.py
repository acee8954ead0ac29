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
        timeout_s: longest that it may take to end.
    """

    process: subprocess.Popen[str]
    folder: Path
    timeout_s: int

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
        out, err = self.process.communicate(timeout=self.timeout_s)
        return self.process.returncode, out, err

    def processes(self) -> list[str]:
        """Return the numbers and command lines of the processes it has started that still run."""
        return running_with(str(self.folder), but=self.process.pid)


@contextmanager
def started(*words: str, environment: dict[str, str] | None = None, timeout_s: int = TIMEOUT_S) -> Iterator[Started]:
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
        yield Started(process=process, folder=folder, timeout_s=timeout_s)
    finally:
        process.kill()
        process.communicate()
        wait_until(lambda: not running_with(str(folder), but=process.pid))
        shutil.rmtree(folder)


def running_with(text: str, *, but: int = 0) -> list[str]:
    """Return the processes on whose command line, or in whose environment, a text stands; but not one of them."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != but:
            with suppress(OSError):
                line, environment = ((entry / name).read_bytes() for name in ("cmdline", "environ"))
                if text.encode() in line or text.encode() in environment:
                    found.append(f"{entry.name} {line.replace(bytes(1), b' ').decode(errors='replace')}")
    return found


def wait_until(reached: Callable[[], object], timeout_s: float = TIMEOUT_S) -> None:
    """Wait until something holds."""
    end = time.monotonic() + timeout_s
    while not reached():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def left_behind(folder: Path) -> Sequence[str]:
    """Return what lies in a folder."""
    return sorted(path.name for path in folder.iterdir())
