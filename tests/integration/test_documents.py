"""The hand-written documents: marked blocks run, links lead somewhere, decisions are listed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.sources import ROOT, tracked

RUNS = re.compile(r"<!-- runs -->\n```(bash|python)\n(.*?)```", re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)")


def documents() -> list[str]:
    """Return the tracked Markdown files that people write and read."""
    return [name for name in tracked() if name.endswith(".md") and not name.startswith("tests/")]


BLOCKS = [
    pytest.param(language, code, id=f"{name}:{number}")
    for name in documents()
    for number, (language, code) in enumerate(RUNS.findall((ROOT / name).read_text(encoding="utf-8")), start=1)
]


@pytest.mark.parametrize(("language", "code"), BLOCKS)
def test_marked_blocks_run(language: str, code: str, tmp_path: Path) -> None:
    """Run as a reader would: from the checkout, with the environment active, stopping at the first failure."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = (
        [sys.executable, "-W", "error", "-c", code]
        if language == "python"
        else ["bash", "-euo", "pipefail", "-c", code]
    )
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PATH": path, "TMPDIR": str(tmp_path), "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout


def test_the_readme_has_blocks_that_run() -> None:
    assert len([block for block in BLOCKS if str(block.id).startswith("README.md")]) >= 2


def test_links_lead_somewhere() -> None:
    dead = [
        f"{name}: {target}"
        for name in documents()
        for target in LINK.findall((ROOT / name).read_text(encoding="utf-8"))
        if not (ROOT / name).parent.joinpath(target).exists()
    ]
    assert dead == []


def test_every_decision_is_listed() -> None:
    folder = ROOT / "docs" / "adr"
    listed = set(re.findall(r"\]\((\d{4}-[a-z0-9-]+\.md)\)", (folder / "README.md").read_text()))
    assert listed == {path.name for path in folder.glob("[0-9]*.md")}
