"""The pytest plugin in a stranger's project: the built wheel in a fresh environment, and a test file that imports ours."""

import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

PROJECT_TEST = """
import boto3
import pytest

import pcrgate
from pcrgate.kms.expectation import ReleaseExpectation
from pcrgate.units import KeyArn

CONTEXT = {"class": "weights"}


def test_ours_is_the_wheel():
    assert "PREFIX" in pcrgate.__file__


def test_a_release(kms_twin, nsm, attested_kms, monkeypatch):
    for name, value in kms_twin.environment().items():
        monkeypatch.setenv(name, value)
    kms = boto3.client("kms")
    arn = kms.create_key()["KeyMetadata"]["Arn"]
    blob = kms.encrypt(KeyId=arn, Plaintext=b"secret", EncryptionContext=CONTEXT)["CiphertextBlob"]
    expectation = ReleaseExpectation(operation="Decrypt", key_arn=KeyArn.parse(arn), encryption_context=CONTEXT)
    enclave = attested_kms(expectation)
    answer = enclave.decrypt(KeyId=arn, CiphertextBlob=blob, EncryptionContext=CONTEXT)
    assert answer["Plaintext"] == b"secret"
    assert kms_twin.counters.snapshot()["attested"] >= 1
    assert kms_twin.audit.records()[-1]["additionalEventData"]["recipient"]["attestationDocumentModuleId"] == nsm.module_id


@pytest.fixture(scope="session")
def shared():
    return []


@pytest.mark.parametrize("turn", [1, 2])
def test_one_twin_is_shared(kms_twin, shared, turn):
    shared.append(kms_twin)
    assert all(twin is kms_twin for twin in shared)
"""


def build_wheel(folder: Path) -> Path:
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, timeout=100)
    (wheel,) = folder.glob("pcrgate-*.whl")
    return wheel


def install(wheel: Path, environment: Path) -> Path:
    """Install the wheel alone; what it depends on is borrowed from the environment of these tests."""
    venv.create(environment, with_pip=False)
    (site,) = environment.glob("lib/python3*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    (site / "borrowed.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return environment / "bin" / "python"


def run_pytest(python: Path, project: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [
        str(python),
        "-m",
        "pytest",
        "-q",
        "-W",
        "error",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:randomly",
        *options,
    ]
    return subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=100, env={"HOME": str(project)})


def test_a_stranger_uses_the_fixtures_from_the_wheel(tmp_path: Path) -> None:
    python = install(build_wheel(tmp_path / "dist"), tmp_path / "environment")
    project = tmp_path / "project"
    project.mkdir()
    (project / "test_release.py").write_text(PROJECT_TEST.replace("PREFIX", str(tmp_path / "environment")))
    documented = (ROOT / "docs" / "twin.md").read_text(encoding="utf-8").partition("```python\n")[2].partition("```")[0]
    (project / "test_documented.py").write_text(documented)
    (project / "pytest.ini").write_text("[pytest]\nkms_twin_scope = session\n")
    done = run_pytest(python, project)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 passed" in done.stdout

    (project / "pytest.ini").write_text("[pytest]\nkms_twin_scope = sometimes\n")
    done = run_pytest(python, project)
    assert "expected function or session" in done.stdout + done.stderr
    assert done.returncode != 0


@pytest.mark.parametrize("package", ["moto", "boto3", "cryptography"])
def test_the_plugin_alone_imports_nothing_heavy(package: str) -> None:
    code = f"import sys, pcrgate.twin.pytest_plugin; sys.exit({package!r} in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
