"""``pcrgate evidence`` as a user runs it: its own process, real files, exit codes, what is printed."""

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.recordings import load_index
from tests.unit.attestation.documents import NOW_MS, PCR0, PKI, document, nsm

ROOT = PKI.root_fingerprint.hex()
AT = "2027-01-15T08:00:00Z"
FULL = document(nonce=b"n" * 20, user_data=b"user", public_key=b"key")


def run(*words: str, data: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "pcrgate.cli.main", "evidence", *words], input=data, capture_output=True, timeout=60
    )


def run_json(*words: str, data: bytes | None = None) -> tuple[int, dict[str, Any]]:
    done = run(*words, "--json", data=data)
    return done.returncode, json.loads(done.stdout)


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "document.bin"
    path.write_bytes(FULL)
    return str(path)


def test_inspect_prints_fields_registers_and_chain(file: str) -> None:
    done = run("inspect", file, "--root-fingerprint", ROOT)
    shown = done.stdout.decode()
    assert done.returncode == 0
    assert done.stderr == b""
    assert PCR0.hex() in shown
    assert "aws.nitro-enclaves" in shown
    assert "authentic" in shown


def test_inspect_in_json_holds_every_field(file: str) -> None:
    code, facts = run_json("inspect", file, "--root-fingerprint", ROOT)
    assert (code, facts["verdict"], facts["code"]) == (0, "authentic", None)
    assert facts["pcrs"]["0"] == PCR0.hex()
    assert facts["nonce_hex"] == (b"n" * 20).hex()
    assert len(facts["chain"]) == 5
    assert {entry["label"] for entry in facts["checks"]} >= {"anchor", "signature", "names"}


def test_a_development_root_is_refused_unless_it_is_named(file: str) -> None:
    code, facts = run_json("inspect", file)
    assert (code, facts["verdict"], facts["code"]) == (1, "rejected", "root-unpinned")
    assert facts["unverified"]["module_id"].startswith("i-")
    assert "pcrs" not in facts


@pytest.mark.parametrize("form", ["raw", "base64", "hex"])
def test_standard_input_in_three_forms(form: str) -> None:
    data = {"raw": FULL, "base64": base64.encodebytes(FULL), "hex": FULL.hex().encode()}[form]
    assert run_json("inspect", "-", "--root-fingerprint", ROOT, data=data)[1]["verdict"] == "authentic"


def test_verify_accepts_what_is_expected(file: str, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_bytes(b"key")
    expectations = ["--pcr", f"0={PCR0}", "--pcr", "3=zero", "--nonce", (b"n" * 20).hex(), "--user-data", b"user".hex()]
    words = ["verify", file, *expectations, "--public-key", str(key), "--root-fingerprint", ROOT, "--at", AT]
    code, facts = run_json(*words)
    assert (code, facts["verdict"], facts["code"]) == (0, "accepted", None)
    assert facts["matched"] == {"0": "--pcr 0 (1)"}
    assert {entry["subject"] for entry in facts["not_checked"]} >= {"PCR1", "PCR8", "region"}
    shown = run(*words).stdout.decode()
    assert "accepted" in shown
    assert "Not checked" in shown


REFUSALS = {
    "pcr-mismatch": ["--pcr", "0=" + "ab" * 48],
    "pcr-not-zero": ["--pcr", f"0={PCR0}", "--pcr", "4=zero"],
    "pcr-absent": ["--pcr", f"0={PCR0}", "--pcr", "16=" + "ab" * 48],
    "nonce-mismatch": ["--pcr", f"0={PCR0}", "--nonce", "00" * 16],
    "user-data-mismatch": ["--pcr", f"0={PCR0}", "--user-data", "00"],
}


@pytest.mark.parametrize("code", REFUSALS)
def test_a_mismatch_names_its_code_first(file: str, code: str) -> None:
    words = ["verify", file, *REFUSALS[code], "--root-fingerprint", ROOT, "--at", AT]
    done = run(*words)
    assert done.returncode == 1
    assert done.stdout == b""
    assert done.stderr.decode().splitlines()[0].startswith(f"refused: {code}: ")
    returncode, facts = run_json(*words)
    assert (returncode, facts["verdict"], facts["code"]) == (1, "rejected", code)
    assert facts["pcrs"]["0"] == PCR0.hex()


@pytest.mark.parametrize(
    ("at", "more", "code"),
    [
        ("2027-01-15T08:05:00Z", [], None),
        ("2027-01-15T09:05:00+01:00", [], None),
        ("2027-01-15T08:05:01Z", [], "evidence-too-old"),
        ("2027-01-15T08:05:01Z", ["--max-age", "301"], None),
        ("2027-01-15T12:00:00Z", [], "certificate-expired"),
        ("2027-01-15T07:00:00Z", [], "certificate-not-yet-valid"),
        (None, ["--recorded"], None),
    ],
)
def test_times(file: str, at: str | None, more: list[str], code: str | None) -> None:
    when = ["--at", at] if at else []
    words = ["verify", file, "--pcr", f"0={PCR0}", "--root-fingerprint", ROOT, *when, *more]
    assert run_json(*words)[1]["code"] == code


def test_without_a_time_the_clock_of_the_machine_counts(file: str) -> None:
    code, facts = run_json("verify", file, "--pcr", f"0={PCR0}", "--root-fingerprint", ROOT)
    assert (code, facts["code"]) in {(1, "certificate-not-yet-valid"), (1, "certificate-expired")}


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--pcr", "1=" + "ab" * 48],
        ["--pcr", "0=" + "00" * 48],
        ["--pcr", "0=zero"],
        ["--pcr", "0=" + "ab" * 47],
        ["--pcr", "0=xyz"],
        ["--pcr", "32=" + "ab" * 48],
        ["--pcr", "nonsense"],
        ["--pcr", f"0={PCR0}", "--pcr", "1=zero", "--pcr", "1=" + "ab" * 48],
        ["--pcr", f"0={PCR0}", "--nonce", "xyz"],
        ["--pcr", f"0={PCR0}", "--at", "yesterday"],
        ["--pcr", f"0={PCR0}", "--at", "2027-01-15T08:00:00"],
        ["--pcr", f"0={PCR0}", "--at", AT, "--recorded"],
        ["--pcr", f"0={PCR0}", "--max-age", "-1"],
        ["--pcr", f"0={PCR0}", "--root-fingerprint", "ab"],
        ["--pcr", f"0={PCR0}", "--kind", "nitrotpm"],
        ["--kind", "nitrotpm", "--insecure-allow-debug"],
        ["--kind", "unicorn"],
        ["--pcr", f"0={PCR0}", "--public-key", "missing.bin"],
        ["--no-such-option"],
    ],
)
def test_usage_is_refused_with_two_before_the_document_counts(file: str, words: list[str]) -> None:
    done = run("verify", file, *words)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(b"refused: usage-")
    assert b"Traceback" not in done.stderr


def test_debug_needs_its_word(tmp_path: Path) -> None:
    path = tmp_path / "debug.bin"
    path.write_bytes(document(nsm(debug=True, pcrs={})))
    common = ["verify", str(path), "--root-fingerprint", ROOT, "--recorded"]
    assert run_json(*common, "--pcr", f"0={PCR0}")[1]["code"] == "debug-evidence"
    for zero in ("zero", "00" * 48):
        code, facts = run_json(*common, "--pcr", f"0={zero}", "--insecure-allow-debug")
        assert (code, facts["verdict"]) == (0, "accepted")
        assert [entry["label"] for entry in facts["warnings"]] == ["debug"]
    assert b"debug" in run(*common, "--pcr", "0=zero", "--insecure-allow-debug").stdout


def test_a_nitrotpm_never_passes_for_an_enclave(tmp_path: Path) -> None:
    path = tmp_path / "tpm.bin"
    path.write_bytes(document(nsm(kind="nitrotpm", pcrs={4: PCR0, 7: PCR0})))
    common = ["verify", str(path), "--root-fingerprint", ROOT, "--recorded"]
    assert run_json(*common, "--pcr", f"0={PCR0}")[1]["code"] == "kind-mismatch"
    words = ["--kind", "nitrotpm", "--pcr", f"4={PCR0}", "--pcr", f"7={PCR0}", "--pcr", "12=zero"]
    assert run_json(*common, *words)[1]["verdict"] == "accepted"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "input-empty"),
        (b"hello world", "input-encoding"),
        (b"\x84\x00\x00\x00\x00", "cose-protected"),
        (b"\xff" * 100_000, "input-too-large"),
    ],
)
def test_rubbish_is_refused_without_a_traceback(data: bytes, code: str) -> None:
    done = run("inspect", "-", data=data)
    assert done.returncode == 1
    assert done.stderr.decode().startswith(f"refused: {code}: ")
    assert b"Traceback" not in done.stderr


def test_record_writes_a_vector_that_verifies(tmp_path: Path) -> None:
    out, folder = tmp_path / "recording.json", tmp_path / "pki"
    words = ["record", "--software", "--pki", str(folder), "--pcr0", PCR0.hex(), "--nonce", "ab" * 20]
    done = run(*words, "--output", str(out))
    assert done.returncode == 0, done.stderr
    vector = json.loads(out.read_text())
    assert vector["expect"] == "accepted"
    assert vector["fields"]["nonce"] == "ab" * 20
    root = vector["fields"]["root"]
    code, facts = run_json(
        "verify", "-", "--pcr", f"0={PCR0}", "--root-fingerprint", root, data=vector["document"].encode()
    )
    assert (code, facts["verdict"]) == (0, "accepted")
    again = run(*words)
    assert json.loads(again.stdout)["fields"]["root"] == root


@pytest.mark.parametrize(
    ("words", "returncode", "code"),
    [
        (["--device", "missing-device"], 1, "nsm-device-missing"),
        (["--pcr0", PCR0.hex()], 2, "usage-arguments"),
        (["--software", "--device", "missing-device"], 2, "usage-arguments"),
        (["--software", "--public-key", ""], 2, "usage-file"),
        (["--software", "--output", "no-such-folder/x.json"], 2, "usage-file"),
        (["--software", "--root-fingerprint", "ab" * 32], 1, "root-unpinned"),
    ],
)
def test_record_says_what_is_wrong(words: list[str], returncode: int, code: str) -> None:
    done = run("record", *words)
    assert done.returncode == returncode
    assert done.stderr.decode().startswith(f"refused: {code}: ")


def test_an_empty_file_name_is_said() -> None:
    done = run("inspect", "")
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(b"refused: usage-file: the name of the file is empty")


ENTRIES = load_index("attestations")


@pytest.mark.skipif(not ENTRIES, reason="no recordings beside this checkout (PCRGATE_RECORDINGS)")
def test_a_real_document_from_end_to_end() -> None:
    entry = next(entry for entry in ENTRIES if entry["verdict"] == "accept" and not entry["debug"])
    code, facts = run_json("verify", "-", "--pcr", f"0={entry['pcr0']}", "--recorded", data=entry["bytes"])
    assert (code, facts["verdict"], facts["region"]) == (0, "accepted", entry["region"])
    forged = next(entry for entry in ENTRIES if entry["reason"] == "forged")
    code, facts = run_json("inspect", "-", data=forged["bytes"])
    assert (code, facts["verdict"], facts["code"]) == (1, "rejected", "signature-invalid")


def test_the_clock_of_the_tests_is_the_time_they_name() -> None:
    assert NOW_MS == 1_800_000_000_000
