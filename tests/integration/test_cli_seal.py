"""``pcrgate seal`` against the twin: kms:Encrypt is enough, and the stock Encryption SDK opens what it wrote."""

import hashlib
import io
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aws_encryption_sdk import CommitmentPolicy, EncryptionSDKClient
from aws_encryption_sdk.identifiers import Algorithm
from aws_encryption_sdk.key_providers.kms import KMSMasterKey, KMSMasterKeyConfig

from pcrgate.cli.main import main
from pcrgate.cli.manifest_draft import parse_draft, parse_secret
from pcrgate.envelope.weights import open_weights
from pcrgate.envelope.weights_source import MemorySource
from pcrgate.kms.expectation import ReleaseExpectation
from pcrgate.kms.weights_key import SdkHeaderOpener
from pcrgate.manifest.sealed_secret import SealedSecret
from pcrgate.twin.clients import attested_client
from pcrgate.twin.nsm import SoftwareNsm
from pcrgate.twin.server import Twin
from pcrgate.twin.settings import TwinSettings
from pcrgate.units import Sha384
from tests.support.twin_stage import Stage, root_client, set_stage
from tests.unit.manifest.samples import key_arn

pytestmark = pytest.mark.network

PCR0 = Sha384(hashlib.sha384(b"an image").digest())


def safetensors(length: int) -> bytes:
    header = json.dumps({"w": {"dtype": "U8", "shape": [length], "data_offsets": [0, length]}}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(range(256)) * (length // 256) + bytes(length % 256)


@dataclass(frozen=True)
class Publisher:
    stage: Stage
    environment: Mapping[str, str]

    def expectation(self, secret: SealedSecret) -> ReleaseExpectation:
        return ReleaseExpectation(
            operation="Decrypt", key_arn=secret.key_arn, encryption_context=secret.encryption_context
        )

    def attested(self, secret: SealedSecret) -> Any:
        twin = self.stage.twin
        nsm = SoftwareNsm(pki=twin.pki, pcrs={0: PCR0}, clock=twin.clock)
        return attested_client(twin, nsm, self.expectation(secret), credentials=self.stage.parent_credentials)


@pytest.fixture(scope="module")
def one_publisher() -> Iterator[Publisher]:
    from pytest_socket import enable_socket, socket_allow_hosts

    enable_socket()
    socket_allow_hosts(["127.0.0.1", "::1", "localhost"], allow_unix_socket=True)
    with Twin(TwinSettings(http_port=0, https_port=0)) as twin:
        stage = set_stage(twin, PCR0)
        frozen = stage.publisher._request_signer._credentials.get_frozen_credentials()
        variables = {
            **twin.environment(),
            "AWS_ACCESS_KEY_ID": frozen.access_key,
            "AWS_SECRET_ACCESS_KEY": frozen.secret_key,
            "AWS_SESSION_TOKEN": frozen.token,
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        yield Publisher(stage, variables)


@pytest.fixture
def publisher(one_publisher: Publisher, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Publisher:
    monkeypatch.chdir(tmp_path)
    for name, value in {**one_publisher.environment, "HOME": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    return one_publisher


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(list(words))
    assert isinstance(left.value.code, int)
    return left.value.code


def seal(publisher: Publisher, *words: str, file: str = "model.safetensors") -> int:
    common = ["--key-arn", publisher.stage.key_arn, "--name", "tiny", "--epoch", "3", "--workload", "infer"]
    return run("seal", file, *common, "--output", "model.sealed", *words)


@pytest.fixture
def model(tmp_path: Path) -> bytes:
    data = safetensors(5 << 20)
    (tmp_path / "model.safetensors").write_bytes(data)
    return data


def stock() -> EncryptionSDKClient:
    return EncryptionSDKClient(commitment_policy=CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT)


def test_what_is_sealed_opens_with_the_stock_sdk_and_with_our_reader(
    publisher: Publisher, model: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    trail = publisher.stage.twin.audit
    trail.clear()
    assert seal(publisher) == 0
    assert [record["eventName"] for record in trail.records()] == ["Encrypt"]
    printed = capsys.readouterr()
    assert "sealed model.safetensors as model.sealed" in printed.err
    secret = parse_secret(printed.out.encode())
    sealed = Path("model.sealed").read_bytes()
    assert secret.plaintext_bytes == len(model)
    assert secret.plaintext_sha384.digest == hashlib.sha384(model).digest()
    assert dict(secret.encryption_context) == {"class": "weights", "name": "tiny", "epoch": "3"}

    client = publisher.attested(secret)
    key = KMSMasterKey(config=KMSMasterKeyConfig(key_id=str(secret.key_arn), client=client))
    opened, header = stock().decrypt(source=sealed, key_provider=key)
    assert opened == model
    assert header.algorithm is Algorithm.AES_256_GCM_HKDF_SHA512_COMMIT_KEY
    assert header.frame_length == 1 << 20

    buffer = open_weights(
        MemorySource(sealed),
        secret.expectation(),
        opener=SdkHeaderOpener.on_kms(client, secret.key_arn),
        max_plaintext_bytes=len(model),
    )
    assert hashlib.sha384(buffer.view()).digest() == secret.plaintext_sha384.digest
    buffer.wipe()


def test_weights_of_another_sdk_are_described_and_load(
    publisher: Publisher, model: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Sealed elsewhere, with GenerateDataKey, by a principal whose key policy allows it."""
    twin = publisher.stage.twin
    kms = root_client(twin, "kms")
    arn = kms.create_key()["KeyMetadata"]["Arn"]
    context = {"class": "weights", "name": "tiny", "epoch": "3", "origin": "elsewhere"}
    sealed, _ = stock().encrypt(
        source=io.BytesIO(model),
        source_length=len(model),
        key_provider=KMSMasterKey(config=KMSMasterKeyConfig(key_id=arn, client=kms)),
        encryption_context=context,
        algorithm=Algorithm.AES_256_GCM_HKDF_SHA512_COMMIT_KEY,
        frame_length=1 << 16,
    )
    Path("elsewhere.sealed").write_bytes(sealed)
    assert run("manifest", "new", "draft.json", "--epoch", "1") == 0
    words = ["manifest", "add", "secret", "draft.json", "--from-ciphertext", "elsewhere.sealed", "--name", "tiny",
             "--epoch", "3", "--format", "safetensors", "--workload", "infer"]  # fmt: skip
    digest = ["--plaintext-sha384", hashlib.sha384(model).hexdigest()]
    key, more = ["--key-arn", arn], ["--context", "origin=elsewhere"]
    for wrong, code in (
        ([*words, *key, *digest], "manifest-context"),
        ([*words, *key, *digest, "--context", "origin=here"], "manifest-context"),
        ([*words, "--key-arn", publisher.stage.key_arn, *digest, *more], "manifest-context"),
        ([*words, *key, *more], "usage-arguments"),
        ([*words, *key, *more, *digest, "--plaintext", "model.safetensors"], "usage-arguments"),
        ([*words, *key, *more, "--plaintext", "elsewhere.sealed"], "usage-file"),
        ([*words, *key, *more, "--plaintext", "missing"], "usage-file"),
        ([*words, *digest, *more], "usage-arguments"),
    ):
        capsys.readouterr()
        assert run(*wrong) in {1, 2}
        assert capsys.readouterr().err.startswith(f"refused: {code}: ")
    assert run(*words, *key, *more, "--plaintext", "model.safetensors") == 0
    assert run(*words, *key, *more, *digest, "--replace") == 0
    secret = parse_draft(Path("draft.json").read_bytes()).secrets[0]
    assert dict(secret.encryption_context) == context
    client = attested_client(
        twin, SoftwareNsm(pki=twin.pki, pcrs={0: PCR0}, clock=twin.clock), publisher.expectation(secret)
    )
    with open_weights(
        MemorySource(sealed),
        secret.expectation(),
        opener=SdkHeaderOpener.on_kms(client, secret.key_arn),
        max_plaintext_bytes=len(model),
    ) as buffer:
        assert bytes(buffer.view()) == model


def test_the_entry_goes_into_the_draft_and_the_signed_manifest(publisher: Publisher, model: bytes) -> None:
    assert run("manifest", "new", "draft.json", "--epoch", "1") == 0
    assert seal(publisher, "--manifest", "draft.json", "--frame-bytes", str(4 << 20), "--days", "30") == 0
    assert run("manifest", "keygen", "--output", "publisher.key") == 0
    assert run("manifest", "sign", "draft.json", "--key", "publisher.key", "--output", "manifest.cbor") == 0
    words = ["manifest", "verify", "manifest.cbor", "--publisher-key", "publisher.key.pub"]
    assert run(*words, "--pinned-key", publisher.stage.key_arn) == 0
    secret = parse_draft(Path("draft.json").read_bytes()).secrets[0]
    assert secret.plaintext_sha384.digest == hashlib.sha384(model).digest()


def test_a_full_draft_refuses_before_anything_is_sealed(publisher: Publisher, model: bytes) -> None:
    assert run("manifest", "new", "draft.json", "--epoch", "1") == 0
    assert seal(publisher, "--manifest", "draft.json") == 0
    before = Path("model.sealed").read_bytes()
    assert seal(publisher, "--manifest", "draft.json", "--force") == 1
    assert Path("model.sealed").read_bytes() == before
    assert seal(publisher, "--manifest", "draft.json", "--force", "--replace") == 0
    assert Path("model.sealed").read_bytes() != before


def test_credentials_and_json(publisher: Publisher, capsys: pytest.CaptureFixture[str]) -> None:
    Path("password").write_bytes(b"correct horse")
    policy_says_no = ["--class", "credentials"]
    assert seal(publisher, *policy_says_no, file="password") == 1
    assert capsys.readouterr().err.startswith("refused: seal-kms: KMS did not wrap the data key: AccessDeniedException")
    assert not Path("model.sealed").exists()
    assert seal(publisher, "--json", "--format", "safetensors", "--class", "credentials", file="password") == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["verdict"], told["code"]) == ("rejected", "manifest-field")
    arn = root_client(publisher.stage.twin, "kms").create_key()["KeyMetadata"]["Arn"]
    for name, value in publisher.stage.twin.environment().items():
        os.environ[name] = value  # restored by the fixture's monkeypatch
    os.environ.pop("AWS_SESSION_TOKEN")
    words = ["--key-arn", arn, "--name", "db", "--epoch", "1", "--workload", "validate", "--class", "credentials"]
    assert run("seal", "password", *words, "--output", "password.sealed", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["verdict"], told["entry"]["format"]) == ("sealed", "opaque")
    assert told["ciphertext_bytes"] == Path("password.sealed").stat().st_size
    assert b"correct horse" not in Path("password.sealed").read_bytes()


def test_what_is_refused_leaves_nothing(publisher: Publisher, model: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    Path("empty.onnx").write_bytes(b"")
    Path("model.bin").write_bytes(b"x")
    Path("pickle.safetensors").write_bytes(b"\x80\x04\x95 pickled")
    Path("torn.safetensors").write_bytes(model[:-1])
    Path("taken").write_bytes(b"mine")
    mrk = publisher.stage.key_arn.rsplit("/", 1)[0]
    for words, file, status, code in (
        ([], "missing.onnx", 2, "usage-file"),
        ([], ".", 2, "usage-file"),
        ([], "empty.onnx", 1, "seal-source"),
        (["--class", "credentials"], "empty.onnx", 1, "seal-source"),
        ([], "model.bin", 2, "usage-arguments"),
        ([], "pickle.safetensors", 1, "model-file"),
        ([], "torn.safetensors", 1, "model-file"),
        (["--format", "onnx"], "model.safetensors", 1, "model-file"),
        (["--frame-bytes", str((1 << 20) - 1)], "model.safetensors", 2, "usage-kms"),
        (["--frame-bytes", str((4 << 20) + 1)], "model.safetensors", 2, "usage-kms"),
        (["--output", "taken"], "model.safetensors", 2, "usage-file"),
        (["--output", "no-folder/x"], "model.safetensors", 2, "usage-file"),
        (["--context", "name=other"], "model.safetensors", 2, "usage-arguments"),
        (["--context", "nonsense"], "model.safetensors", 2, "usage-arguments"),
        (["--context", "aws:x=y"], "model.safetensors", 1, "manifest-context"),
        (["--epoch", "0"], "model.safetensors", 1, "manifest-field"),
        (["--class", "session"], "model.safetensors", 1, "manifest-field"),
        (["--key-arn", f"{mrk.replace(':key', ':alias')}/x"], "model.safetensors", 2, "usage-key-arn"),
        (["--key-arn", f"{mrk}/00000000-0000-4000-8000-000000000000"], "model.safetensors", 1, "seal-kms"),
        (["--days", "1", "--expires", "2030-01-01T00:00:00Z"], "model.safetensors", 2, "usage-time"),
    ):
        before = sorted(Path().iterdir())
        assert seal(publisher, *words, file=file) == status, (words, file)
        said = capsys.readouterr()
        assert said.err.startswith(f"refused: {code}: "), said.err
        assert "Traceback" not in said.err
        assert said.out == ""
        assert sorted(Path().iterdir()) == before
    assert Path("taken").read_bytes() == b"mine"
    assert seal(publisher, "--output", "taken", "--force") == 0


def test_no_credentials_and_no_endpoint(
    publisher: Publisher, model: bytes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    assert seal(publisher) == 1
    assert capsys.readouterr().err.startswith(
        "refused: seal-kms: KMS did not wrap the data key: EndpointConnectionError"
    )
    monkeypatch.setenv("AWS_PROFILE", "no-such-profile")
    assert seal(publisher) == 2
    assert capsys.readouterr().err.startswith("refused: usage-arguments: no KMS client: ProfileNotFound")


def test_an_interrupt_leaves_no_half_file(publisher: Publisher, tmp_path: Path) -> None:
    """A file that is only being written counts as interrupted at any time: here while KMS is waited for."""
    listener = socket.create_server(("127.0.0.1", 0))
    Path("model.safetensors").write_bytes(safetensors(1 << 20))
    variables = {**os.environ, "AWS_ENDPOINT_URL_KMS": f"http://127.0.0.1:{listener.getsockname()[1]}"}
    words = ["--key-arn", publisher.stage.key_arn, "--name", "tiny", "--epoch", "3", "--workload", "infer"]
    with (
        subprocess.Popen(
            [sys.executable, "-m", "pcrgate.cli.main", "seal", "model.safetensors", *words, "--output", "model.sealed"],
            env=variables,
            stderr=subprocess.PIPE,
        ) as process,
        listener,
    ):
        connection, _ = listener.accept()
        with connection:
            assert [path for path in Path().iterdir() if path.suffix == ".partial"]
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 130
    assert sorted(Path().iterdir()) == [Path("model.safetensors")]


def test_a_full_disk_leaves_nothing(publisher: Publisher, model: bytes) -> None:
    words = ["--key-arn", publisher.stage.key_arn, "--name", "tiny", "--epoch", "3", "--workload", "infer"]
    sealing = [
        sys.executable,
        "-m",
        "pcrgate.cli.main",
        "seal",
        "model.safetensors",
        *words,
        "--output",
        "model.sealed",
    ]
    done = subprocess.run(
        ["sh", "-c", 'ulimit -f 2048; exec "$@"', "sh", *sealing], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert done.stderr.startswith("refused: usage-file: cannot write model.sealed: file too large")
    assert list(Path().iterdir()) == [Path("model.safetensors")]


def test_the_commands_of_the_manual_work_as_printed(publisher: Publisher, model: bytes) -> None:
    text = (Path(__file__).parents[2] / "docs" / "manifest.md").read_text()
    Path("actions.json").write_text(text.split("```json\n")[1].split("```")[0])
    arns = {"WEIGHTS-KEY": publisher.stage.key_arn, "SESSION-KEY": str(key_arn(3))}
    for name, arn in arns.items():
        text = text.replace(f"arn:aws:kms:REGION:ACCOUNT:key/{name}", arn)
    commands = [shlex.split(line) for line in text.replace("\\\n", "").splitlines() if line.startswith("    pcrgate ")]
    assert len(commands) == 11
    for command in commands:
        assert run(*command[1:]) == 0, command
