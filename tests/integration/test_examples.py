"""The examples do what their README says: each line of it is run, those with a service against a real one; the agent also
from the built wheel in an empty environment."""

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from kms_policies.rendering import Template
from service.state_store import Role
from tests.architecture.sources import ROOT
from tests.attacks.test_enclave_leaks import booted
from tests.integration.test_twin_plugin import build_wheel
from tests.support.client_stage import ClientStage, open_client_stage
from tests.support.enclave_stage import AGENT as AGENT_KEY
from tests.support.enclave_stage import PUBLISHER
from tests.support.recordings import load_index

EXAMPLES = ROOT / "examples"
ALONE_BLOCK, WITH_SERVICE = re.findall(r"```bash\n(.*?)```", (EXAMPLES / "README.md").read_text(), re.DOTALL)
ALONE = [re.sub(r"\s+#.*", "", line) for line in ALONE_BLOCK.strip().splitlines()]
AGENT = "python examples/agent.py $options"
AGENT_LINES_MAX = 20
NO_NETWORK = re.compile(
    "Failed to establish a new connection|Name or service not known|Temporary failure in name|timed out"
)

SAYS: dict[str, tuple[str, ...]] = {
    "verify_evidence.py": (
        "signature: by the leaf's key",
        "accepted: PCR0 is release-1",
        "one bit changed: signature-invalid",
        "another image approved: pcr-mismatch",
    ),
    "attested_client.py": (
        "our image: released b'a secret'",
        "another image: AccessDeniedException",
        "the parent by itself: AccessDeniedException",
    ),
    "count_workload.py": ("3",),
    "test_release.py": ("2 passed",),
}


def run(line: str, path: Path | None = None, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run a line as a reader would, with an environment active."""
    first = path or Path(sys.executable).parent
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COVERAGE_RUN"))}
    return subprocess.run(
        ["bash", "-euc", line],
        cwd=cwd,
        env=kept | {"PATH": f"{first}{os.pathsep}{os.environ['PATH']}", "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
    )


def test_every_example_is_in_the_readme() -> None:
    files = {path.name for path in EXAMPLES.glob("*.py")}
    assert {name for line in ALONE for name in re.findall(r"examples/(\w+\.py)", line)} == SAYS.keys()
    assert files == SAYS.keys() | {"agent.py", "async_agent.py"}


@pytest.mark.parametrize("line", ALONE)
def test_without_anything_running(line: str) -> None:
    (name,) = (name for name in SAYS if name in line)
    done = run(line)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [said for said in SAYS[name] if said not in done.stdout] == []


def test_a_real_document_is_walked_through(tmp_path: Path) -> None:
    entry = next((one for one in load_index("attestations") if one["verdict"] == "accept" and not one["debug"]), None)
    if entry is None:
        pytest.skip("the recordings are not on this machine (PCRGATE_RECORDINGS)")
    file = tmp_path / "document"
    file.write_bytes(entry["bytes"])
    done = run(f"python examples/verify_evidence.py {file} --root aws --pcr0 {entry['pcr0']}")
    assert done.returncode == 0, done.stderr
    assert f"authentic: {entry['module_id']}" in done.stdout
    assert "accepted: PCR0 is given" in done.stdout
    refused = run(f"python examples/verify_evidence.py {file} --root {'00' * 32}")
    assert refused.returncode == 1
    assert "NOT PINNED" in refused.stdout
    assert "authentic" not in refused.stdout


@pytest.fixture(scope="module")
def stage() -> Iterator[ClientStage]:
    with open_client_stage() as found:
        yield found


@pytest.fixture
def options(stage: ClientStage, tmp_path: Path) -> str:
    """Return a line that sets the options of an agent."""
    trust(stage, tmp_path / "trust.json", stage.site.stage.measured().hex())
    (tmp_path / "token").write_text(stage.service.tokens[Role.CALLER] + "\n")
    (tmp_path / "key.pem").write_bytes(AGENT_KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    values = {
        "--url": stage.service.url,
        "--token-file": tmp_path / "token",
        "--trust": tmp_path / "trust.json",
        "--agent": "one",
        "--key": tmp_path / "key.pem",
    }
    return 'options="' + " ".join(f"{name} {value}" for name, value in values.items()) + '"'


def trust(stage: ClientStage, path: Path, pcr0: str) -> None:
    publisher = PUBLISHER.public_key().public_bytes_raw().hex()
    policy = {
        "version": 1,
        "roots": [stage.site.stage.twin.pki.root_fingerprint.hex()],
        "pcr0": [pcr0],
        "pcrs": {},
        "regions": [],
        "manifest": {"publisher_keys": [publisher], "floor_epoch": stage.site.stage.manifest.epoch},
    }
    path.write_text(json.dumps(policy))


def test_the_agent_has_twenty_lines() -> None:
    text = (EXAMPLES / "agent.py").read_text()
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith(('"""', "#"))]
    assert len(lines) <= AGENT_LINES_MAX


@pytest.mark.network
def test_the_agents_against_a_service_that_the_readme_starts() -> None:
    assert AGENT in WITH_SERVICE.splitlines()
    with tempfile.TemporaryDirectory(prefix="pcrgate-") as name:  # a short path: sockets lie below it
        done = run(f"export TMPDIR={name}\n{WITH_SERVICE}")
        assert done.returncode == 0, done.stderr
        (facts,) = (json.loads(path.read_text()) for path in Path(name).glob("*/dev.json"))
        assert not Path(facts["folder"]).exists()
    assert re.search(r"^admitted, receipt \d+ [0-9a-f]{16}$", done.stdout, re.MULTILINE)
    assert facts["pcr0"][:12] in done.stdout
    assert "admitted 3 queries\nrefused workload-argument receipt " in done.stdout
    assert re.search(r"^chain of \d+ receipts, verified$", done.stdout, re.MULTILINE)


@pytest.mark.network
def test_an_agent_that_trusts_another_image_sends_nothing(stage: ClientStage, options: str, tmp_path: Path) -> None:
    trust(stage, tmp_path / "trust.json", "ab" * 48)
    sessions = re.findall(r'requests_total\{route="sessions".*', metrics(stage))
    assert len(sessions) == 4
    done = run(f"{options}\n{AGENT}")
    assert done.returncode == 1
    assert "pcr-mismatch" in done.stderr
    assert "admitted" not in done.stdout
    assert re.findall(r'requests_total\{route="sessions".*', metrics(stage)) == sessions


def metrics(stage: ClientStage) -> str:
    with stage.service.client(Role.OPERATOR) as client:
        return client.get("/metrics").text


@pytest.mark.network
def test_receipts_carry_the_hash_that_digest_prints(stage: ClientStage, tmp_path: Path) -> None:
    """Keys and parent share an account here; over two accounts KMS tells no policy, and receipts have none."""
    policy = stage.site.stage.policy(Template.SESSION_KEY, stage.site.stage.measured())
    (tmp_path / "live.json").write_text(policy + "\n")
    printed = run(f"pcrgate policy digest {tmp_path / 'live.json'}").stdout.split()[0]
    with stage.client() as client:
        found = {receipt.claims.observed.policy_hash for receipt in client.receipts()}
    assert {one.hex() for one in found if one is not None} == {printed}


@pytest.mark.network
def test_the_third_workload_runs_in_an_enclave(stage: ClientStage) -> None:
    spec = importlib.util.spec_from_file_location("count_workload", EXAMPLES / "count_workload.py")
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with ExitStack() as stack:
        agent, _ = booted(stage.site.stage, stack, module.WORKLOAD, "count")
        assert agent.invoke("count", b"three short words").inner["result"] == b"3"
        answer = agent.invoke("count", b"\xff")
        assert answer.inner["problem"]["code"] == answer.receipt.claims.observed.code == "workload-request"


def needed_by(name: str, extra: str = "") -> set[str]:
    """Return the names of all that a distribution needs on this machine, itself left out."""
    found: set[str] = set()
    for line in importlib.metadata.requires(name) or ():
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            found |= {canonicalize_name(requirement.name)}.union(
                *(needed_by(requirement.name, inner) for inner in {"", *requirement.extras})
            )
    return found - {name}


def locked_blocks(names: set[str]) -> list[str]:
    """Return what the lock says of these distributions, versions and hashes: older pips take them as constraints never."""
    blocks = re.split(r"^(?=[a-z0-9])", (ROOT / "locks" / "dev.txt").read_text(), flags=re.MULTILINE)
    found = [block for block in blocks if block.partition("==")[0] in names]
    assert len(found) == len(names)
    return found


@pytest.mark.network
def test_the_wheel_alone_runs_the_agent(stage: ClientStage, options: str, tmp_path: Path) -> None:
    """An empty environment, the built wheel, and what its extra names in the versions and hashes of the lock."""
    wheel = build_wheel(tmp_path / "dist")
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=False)
    python = environment / "bin" / "python"
    wanted = tmp_path / "wanted.txt"
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    needed = "".join(locked_blocks(needed_by("pcrgate", "client")))
    wanted.write_text(f"pcrgate[client] @ {wheel.as_uri()} --hash=sha256:{digest}\n{needed}")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-input"]
    locked = ["--require-hashes", "--only-binary", ":all:"]
    installed = subprocess.run(
        [*pip, *locked, "--requirement", str(wanted)], cwd=tmp_path, capture_output=True, text=True, timeout=100
    )
    if installed.returncode != 0 and NO_NETWORK.search(installed.stderr):
        pytest.skip(
            "no package index is reached from this machine, so nothing can be installed in an empty environment"
        )
    assert installed.returncode == 0, installed.stderr
    # Neither checkout nor test environment is on its path; nor is any extra that was not asked for.
    where = (
        "import pcrgate, importlib.util as u; print(pcrgate.__file__, *map(u.find_spec, ('local', 'typer', 'boto3')))"
    )
    found = subprocess.run([str(python), "-I", "-c", where], capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout.split()[1:] == ["None"] * 3
    assert Path(found.stdout.split()[0]).is_relative_to(environment)
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples" / "agent.py").write_text((EXAMPLES / "agent.py").read_text())
    done = run(f"{options}\n{AGENT}", environment / "bin", tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("admitted, receipt ")
