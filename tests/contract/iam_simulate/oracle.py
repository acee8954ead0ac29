"""The independent simulator as a process: installed from its lock file into ``build/``, fed JSON lines, never imported."""

import hashlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).parent
FILES: Final = ("package.json", "package-lock.json", "simulate.mjs")
BUILD: Final = HERE.parents[2] / "build"
INSTALL_TIMEOUT_S: Final = 90
RUN_TIMEOUT_S: Final = 90


class OracleUnavailableError(Exception):
    """Node or npm is not here, or the package cannot be installed: the test says so and is skipped."""


def install() -> Path:
    """Install the simulator once for its lock file, and return the folder it stands in.

    Raises:
        OracleUnavailableError: without node and npm, or when ``npm ci`` fails.
    """
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise OracleUnavailableError("node and npm are not installed")
    digest = hashlib.sha256(b"".join((HERE / name).read_bytes() for name in FILES)).hexdigest()
    home = BUILD / f"iam-simulate-{digest[:16]}"
    if home.is_dir():
        return home
    BUILD.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BUILD, prefix="iam-simulate-") as folder:
        fresh = Path(folder) / "oracle"
        fresh.mkdir()
        for name in FILES:
            shutil.copy(HERE / name, fresh / name)
        command = ("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline")
        try:
            done = subprocess.run(
                command, cwd=fresh, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired:
            raise OracleUnavailableError(f"npm ci took longer than {INSTALL_TIMEOUT_S} s") from None
        if done.returncode != 0:
            raise OracleUnavailableError(f"npm ci failed: {done.stderr.strip()[-300:]}")
        try:
            fresh.replace(home)
        except OSError:
            if not home.is_dir():
                raise
    return home


def ask(home: Path, cases: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the simulator's answers, one a case, in order."""
    lines = "".join(json.dumps(case) + "\n" for case in cases)
    done = subprocess.run(
        ("node", "simulate.mjs"),
        cwd=home,
        input=lines,
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT_S,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]
