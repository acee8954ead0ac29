"""The trusted code: its size has a ceiling, and the Dockerfile copies exactly what the enclave imports."""

import re
import subprocess
import sys

import pytest

from local.measurement import MEASURED, ROOT
from local.trusted_code import LINES_MAX, MODULES_MAX, copy_lines, run, trusted_modules

DOCKERFILE = (ROOT / "enclave" / "Dockerfile").read_text()


def test_the_trusted_code_stays_below_its_ceiling(capsys: pytest.CaptureFixture[str]) -> None:
    modules = trusted_modules()
    assert len(modules) <= MODULES_MAX
    assert sum(module.lines for module in modules) <= LINES_MAX
    assert run(dockerfile=False) == 0
    assert f"{len(modules)} modules" in capsys.readouterr().out
    assert run(dockerfile=True) == 0
    assert capsys.readouterr().out.startswith("COPY ")


def test_the_dockerfile_copies_what_is_imported_and_nothing_else() -> None:
    joined = DOCKERFILE.replace("\\\n", " ")
    copied = [line.split() for line in joined.splitlines() if re.match(r"COPY (enclave|pcrgate)", line)]
    files = sorted(name for _, *names, _ in copied for name in names)
    expected = [module.path for module in trusted_modules()]
    assert files == expected, "renew the lines with: python -m local trusted-code --dockerfile"
    assert all(target == f"/app/{names[0].rpartition('/')[0]}/" for _, *names, target in copied)
    assert all(line in DOCKERFILE for line in copy_lines(trusted_modules()))
    others = [line for line in joined.splitlines() if line.startswith("COPY ") and line.split() not in copied]
    assert [line.split()[1] for line in others] == ["locks/enclave.txt", "--from=packages", "${CONFIGURATION}"]


def test_what_is_imported_is_what_runs_at_start() -> None:
    """The list comes from reading; a fresh process agrees on everything that it loads."""
    code = "import enclave.__main__, sys; print(*(m for m in sys.modules if m.partition('.')[0] in ('enclave', 'pcrgate')))"
    run_ = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    listed = {
        module.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for module in trusted_modules()
    }
    assert set(run_.stdout.split()) <= listed | {"enclave", "pcrgate"}


def test_the_image_is_pinned() -> None:
    assert "ARG BASE_IMAGE\n" in DOCKERFILE
    assert "--require-hashes" in DOCKERFILE
    assert "ADD " not in DOCKERFILE
    lock = (ROOT / "locks" / "enclave.txt").read_text()
    packages = re.findall(r"^([a-z0-9-]+)==", lock, flags=re.MULTILINE)
    assert lock.count("--hash=sha256:") >= len(packages) > 10
    readme = (ROOT / "enclave" / "README.md").read_text()
    assert [name for name in packages if f"`{name}`" not in readme] == []


@pytest.mark.parametrize("image", ["python:3.11-slim", "python:3.11-slim@sha256:00", "python@sha256:" + "g" * 64])
def test_a_base_image_without_its_digest_is_refused(image: str) -> None:
    command = ["bash", "enclave/build.sh", image, "pyproject.toml", "out.eif"]
    refused = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert (refused.returncode, refused.stderr) == (1, "refused: the base image has no digest\n")


def test_the_laptop_measures_everything_that_an_image_holds() -> None:
    covered = [
        module.path
        for module in trusted_modules()
        if not any(module.path == name or module.path.startswith(f"{name}/") for name in MEASURED)
    ]
    assert covered == []
