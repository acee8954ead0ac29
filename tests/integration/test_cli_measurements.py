"""``pcrgate measurements`` as a user runs it, with keys that OpenSSL's own format holds."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from pcrgate.cli.main import main
from tests.architecture.sources import ROOT
from tests.unit.kms_policies.rollover_documents import text_document
from tests.unit.kms_policies.template_inputs import PCR0, PCR0_NEXT, PCR1, PCR4, PCR7, PCR12

Run = Callable[..., tuple[int, str, str]]
EXAMPLE = ROOT / "terraform" / "environments" / "example"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def call(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main(["measurements", *words])
        out, err = capsys.readouterr()
        assert isinstance(left.value.code, int)
        return left.value.code, out, err

    return call


@pytest.fixture
def keys(tmp_path: Path) -> tuple[str, str]:
    """Return the files of a private and its public key."""
    key = Ed25519PrivateKey.generate()
    private, public = tmp_path / "key.pem", tmp_path / "key.pub.pem"
    private.write_bytes(pem(key))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return str(private), str(public)


def pem(key: Ed25519PrivateKey, encryption: KeySerializationEncryption | None = None) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption())


def measurements(*entries: dict[str, str]) -> str:
    path = Path("measurements.json")
    listed = [{"expires": "2027-06-01T00:00:00Z"} | one for one in entries]
    path.write_text(json.dumps({"version": "1", "measurements": listed}))
    return str(path)


AT = ("--at", "2026-11-23T12:00:00Z")


def test_sign_and_verify(run: Run, keys: tuple[str, str]) -> None:
    private, public = keys
    file = measurements({"name": "v1", "pcr0": PCR0, "pcr1": PCR1}, {"name": "v2", "pcr0": PCR0_NEXT, "pcr1": PCR1})
    assert run("sign", file, "--key", private)[:2] == (0, f"signed: {file}.sig\n")
    code, out, _ = run("verify", file, "--public-key", public, *AT)
    assert code == 0
    assert all(word in out for word in ("v1", "v2", "pcr1", PCR0, PCR0_NEXT, "2027-06-01T00:00:00Z"))
    code, out, _ = run("verify", file, "--public-key", public, "--as-options", *AT)
    assert (code, out.split()) == (0, ["--pcr0", PCR0, "--pcr0", PCR0_NEXT, "--pcr", f"1={PCR1}"])
    code, out, _ = run("verify", file, "--public-key", public, "--json", *AT)
    assert (code, json.loads(out)["verdict"]) == (0, "verified")
    assert json.loads(out)["measurements"][0]["pcrs"] == {"pcr0": PCR0, "pcr1": PCR1}
    code, out, _ = run("sign", file, "--key", private, "--output", "elsewhere", "--json")
    assert (code, json.loads(out)) == (0, {"verdict": "signed", "signature": "elsewhere"})
    assert run("verify", file, "--public-key", public, "--signature", "elsewhere", *AT)[0] == 0


def test_a_changed_file_is_refused(run: Run, keys: tuple[str, str]) -> None:
    private, public = keys
    file = measurements({"name": "v1", "pcr0": PCR0})
    run("sign", file, "--key", private)
    measurements({"name": "v1", "pcr0": PCR0_NEXT})
    code, out, err = run("verify", file, "--public-key", public, "--as-options", *AT)
    assert (code, out) == (1, "")
    assert err.startswith("refused: measurements-signature: ")


def test_an_end_is_an_end_also_today(run: Run, keys: tuple[str, str]) -> None:
    private, public = keys
    file = measurements({"name": "v1", "pcr0": PCR0, "expires": "2020-01-01T00:00:00Z"})
    run("sign", file, "--key", private)
    code, _, err = run("verify", file, "--public-key", public)
    assert code == 1
    assert err.startswith("refused: measurements-expired: v1 ")


def test_nitrotpm_options(run: Run, keys: tuple[str, str]) -> None:
    private, public = keys
    file = measurements({"name": "v1", "pcr4": PCR4, "pcr7": PCR7, "pcr12": PCR12})
    run("sign", file, "--key", private)
    code, out, _ = run("verify", file, "--public-key", public, "--as-options", *AT)
    assert code == 0
    assert out.split() == [
        word for n, pcr in ((4, PCR4), (7, PCR7), (12, PCR12)) for word in ("--nitrotpm-pcr", f"{n}={pcr}")
    ]


def test_from_a_rollover_document(run: Run) -> None:
    Path("rollover.json").write_text(text_document())
    code, out, _ = run("from-rollover", "rollover.json")
    assert code == 0
    assert [one["name"] for one in json.loads(out)["measurements"]] == ["v1"]


def test_keys_and_options_that_cannot_be_meant(run: Run, keys: tuple[str, str], tmp_path: Path) -> None:
    private, public = keys
    file = measurements({"name": "v1", "pcr0": PCR0})
    run("sign", file, "--key", private)
    other = generate_private_key(SECP256R1())
    (tmp_path / "ec.pem").write_bytes(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    locked = pem(Ed25519PrivateKey.generate(), BestAvailableEncryption(b"word"))
    (tmp_path / "locked.pem").write_bytes(locked)
    for key in ("ec.pem", "locked.pem", file):
        code, _, err = run("sign", file, "--key", key)
        assert (code, err.split(":")[1]) == (2, " measurements-key")
    public_ec = other.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "ec.pub.pem").write_bytes(public_ec)
    for key in ("ec.pub.pem", private, file):
        code, _, err = run("verify", file, "--public-key", key)
        assert (code, err.split(":")[1]) == (2, " measurements-key")
    for words, expected in (
        (("sign", file, "--key", private, "--output", "missing/file"), "usage-file"),
        (("verify", file, "--public-key", public, "--at", "noon"), "usage-arguments"),
        (("verify", file, "--public-key", public, "--at", "2026-11-23T12:00:00"), "usage-arguments"),
        (("verify", file, "--public-key", public, "--json", "--as-options"), "usage-arguments"),
    ):
        code, _, err = run(*words)
        assert (code, err.split(":")[1].strip()) == (2, expected)


def test_the_examples_file_is_signed_by_the_examples_key(run: Run) -> None:
    code, out, _ = run(
        "verify", str(EXAMPLE / "measurements.json"), "--public-key", str(EXAMPLE / "measurements.pub.pem")
    )
    assert code == 0
    assert "no-image-yet" in out
