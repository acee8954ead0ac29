"""Own the deployment's processes: none sees the terminal's Ctrl-C, and none outlives whoever started it."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from local.measurement import ROOT
from pcrgate.errors import ErrorCode, PcrgateError

START_TIMEOUT_S: Final = 60.0
"""Longest for a process to get ready: two busy cores take ten seconds."""

STOP_TIMEOUT_S: Final = 15.0
"""Longest for a process to end by itself once it is told to."""

TOLD_CHARACTERS: Final = 600
"""How much of what a process printed a refusal quotes."""

_COVERAGE: Final = ("COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START")
_PAUSE_S: Final = 0.02


def kept_environment(*names: str) -> dict[str, str]:
    """Return the variables that a process of ours gets: these, PATH, and those of a coverage run."""
    return {name: os.environ[name] for name in ("PATH", *_COVERAGE, *names) if name in os.environ}


class Child:
    """Own one ``python -m local ...``.

    Attributes:
        name: for messages.
        log: file with what it printed.
    """

    def __init__(
        self,
        name: str,
        words: Sequence[str],
        *,
        folder: Path,
        environment: Mapping[str, str],
        cwd: Path = ROOT,
        pass_fds: Sequence[int] = (),
    ) -> None:
        """Start it.

        Args:
            name: for messages, and of its log.
            words: the command and its options; the command must watch its standard input.
            folder: for the log.
            environment: all of its variables.
            cwd: the checkout that it runs from.
            pass_fds: descriptors that it inherits.
        """
        self.name: Final = name
        self.log: Final = folder / f"{name}.log"
        with self.log.open("wb") as log:
            self._process: Final = subprocess.Popen(
                [sys.executable, "-m", "local", *words],
                cwd=cwd,
                env=dict(environment),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=pass_fds,
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def wait(self, ready: Callable[[], bool], timeout_s: float = START_TIMEOUT_S) -> None:
        """Wait until it is ready.

        Raises:
            PcrgateError: ``local-process`` when it ends before that, or takes too long.
        """
        end = time.monotonic() + timeout_s
        while not ready():
            self.require_running()
            if time.monotonic() > end:
                raise PcrgateError(
                    ErrorCode.LOCAL_PROCESS, f"the {self.name} process is not ready after {timeout_s:.0f} s"
                )
            time.sleep(_PAUSE_S)

    def require_running(self) -> None:
        """See that it runs.

        Raises:
            PcrgateError: ``local-process``.
        """
        code = self._process.poll()
        if code is not None:
            raise PcrgateError(
                ErrorCode.LOCAL_PROCESS, f"the {self.name} process ended with code {code}: {self.told()}"
            )

    def told(self) -> str:
        """Return the end of what it printed, on one line."""
        return " ".join(self.log.read_text(errors="replace").split())[-TOLD_CHARACTERS:] or "it said nothing"

    def tell_to_end(self) -> None:
        """Tell it to end, and do not wait."""
        with suppress(OSError):
            self._process.terminate()

    def stop(self) -> None:
        """End it, whatever it does; stopping twice is fine."""
        self.tell_to_end()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()


def end_with_stdin() -> None:
    """End this process as SIGTERM does when its standard input closes: whoever started it is gone."""

    def watch() -> None:
        with suppress(OSError):
            while os.read(0, 4096):
                pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()


def listens(path: Path) -> bool:
    """Tell whether somebody accepts on a Unix socket: its file is there a moment before its owner listens."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def bound_socket(port: int) -> socket.socket:
    """Return a socket bound to a port of this machine, 0 for any free one.

    Raises:
        PcrgateError: ``usage-port``.
    """
    endpoint = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        endpoint.bind(("127.0.0.1", port))
        endpoint.listen()
    except OSError as error:
        endpoint.close()
        raise PcrgateError(
            ErrorCode.USAGE_PORT, f"port {port} on 127.0.0.1 is in use by another program, expected a free one"
        ) from error
    return endpoint
