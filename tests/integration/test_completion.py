"""Shell completion as shells do it: bash with the installed function, zsh and fish by their protocol."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    kept = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_PROCESS")}
    return subprocess.run(
        command,
        env={"PATH": path, "HOME": os.devnull, **kept, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_bash_completes_groups_commands_options_and_values() -> None:
    lines = {
        "pcrgate po": "policy",
        "pcrgate policy pr": "prove",
        "pcrgate policy rollover adv": "advance",
        "pcrgate agent validate --tok": "--token-file",
        "pcrgate policy lint --kind res": "resource-control",
    }
    asked = "\n".join(f"t {line}" for line in lines)
    script = f"""
        eval "$(_PCRGATE_COMPLETE=source_bash pcrgate)"
        complete -p pcrgate
        t() {{ COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _pcrgate_completion pcrgate; echo "${{COMPREPLY[*]}}"; }}
        {asked}
    """
    done = run("bash", "-euc", script)
    assert done.returncode == 0, done.stderr
    first, *found = done.stdout.splitlines()
    assert first == "complete -o default -F _pcrgate_completion pcrgate"
    assert found == list(lines.values())
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("shell", "more", "expected"),
    [
        ("zsh", {}, '"prove"'),
        ("fish", {"_TYPER_COMPLETE_FISH_ACTION": "get-args"}, "prove\t"),
    ],
)
def test_other_shells_are_answered(shell: str, more: dict[str, str], expected: str) -> None:
    typed = {"_PCRGATE_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_ARGS": "pcrgate policy pro", **more}
    done = run("pcrgate", **typed)
    assert done.returncode == 0, done.stderr
    assert expected in done.stdout
    assert f"complete_{shell}" in run("pcrgate", _PCRGATE_COMPLETE=f"source_{shell}").stdout


def test_completion_is_silent_where_an_extra_is_missing() -> None:
    """The command itself says which one to install; between two keys nobody reads that."""
    code = "import sys; sys.modules['httpx'] = None; from pcrgate.cli.main import main; main(sys.argv[1:])"
    told = run(sys.executable, "-c", code, "agent", "attest")
    assert told.returncode == 2
    assert told.stderr.startswith("refused: usage-extra: ")
    for typed, found in (("agent at", ""), ("age", "agent")):
        count = str(len(typed.split()))
        asked = {"COMP_WORDS": f"pcrgate {typed}", "COMP_CWORD": count, "_PCRGATE_COMPLETE": "complete_bash"}
        done = run(sys.executable, "-c", code, **asked)
        assert (done.returncode, done.stdout.strip(), done.stderr) == (0, found, "")
