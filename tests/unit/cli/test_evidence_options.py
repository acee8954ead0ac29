"""``pcrgate evidence`` on odd options and inputs: who is to blame, the exit code says, and JSON stays whole."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from pcrgate.attestation.text import TEXT_MAX_BYTES
from pcrgate.cli.main import main
from pcrgate.units import FIELD_MAX_BYTES
from tests.unit.attestation.documents import PCR0, PKI, document

ROOT = ("--root-fingerprint", PKI.root_fingerprint.hex())
IMAGE = ("--pcr", f"0={PCR0}")


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "document.bin"
    path.write_bytes(document(public_key=b"k" * FIELD_MAX_BYTES))
    return str(path)


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as left:
        main(["evidence", *words])
    told = capsys.readouterr().err
    assert left.value.code == 0 or told.startswith("refused: ")
    return int(left.value.code or 0), told.removeprefix("refused: ").partition(":")[0]


def in_json(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    with pytest.raises(SystemExit):
        main(["evidence", *words, "--json"])
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    return told


@pytest.mark.parametrize("index", ["000" + "9" * 5000, "9" * 5000, "000", "32", "-0", "+0", "0x0", "\u0660", "", " 0"])
def test_a_register_is_named_by_one_or_two_digits(index: str, file: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("verify", file, *IMAGE, *ROOT, "--recorded", f"--pcr={index}=zero")
    assert refused(capsys, *words) == (2, "usage-pcr-index")


@pytest.mark.parametrize(
    ("at", "code"),
    [
        ("2027-01-15T08:00:00Z", ""),
        ("2027-01-15t08:00:00.000z", ""),
        ("2027-01-15 08:00:00.123456789Z", ""),
        ("2027-01-15T08:05:00.000999999Z", ""),
        ("2027-01-15T08:05:00.001Z", "evidence-too-old"),
        ("2027-01-15T08:05:00.001000000Z", "evidence-too-old"),
        ("2027-01-15", "usage-time"),
        ("2027-W02-5T08:00:00Z", "usage-time"),
        ("20270115T080000Z", "usage-time"),
        ("2027-01-15T08:00Z", "usage-time"),
        ("2027-01-15T08:00:00", "usage-time"),
        ("2027-01-15T08:00:00,5Z", "usage-time"),
        ("2027-01-15T24:00:00Z", "usage-time"),
        ("2027-02-30T08:00:00Z", "usage-time"),
        ("\u0662027-01-15T08:00:00Z", "usage-time"),
        ("2027-01-15T08:00:00Z ", "usage-time"),
        ("0001-01-01T00:00:00+23:59", "usage-time"),
        ("1969-12-31T23:59:59Z", "usage-time"),
        ("1800000000", "usage-time"),
        ("", "usage-time"),
    ],
)
def test_a_time_is_rfc_3339_to_the_millisecond(
    at: str, code: str, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    exit_code, told = refused(capsys, "verify", file, *IMAGE, *ROOT, "--at", at)
    assert (exit_code, told) == ({"": 0, "usage-time": 2}.get(code, 1), code)


def test_a_key_file_longer_than_a_field_is_the_callers_mistake(
    file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = tmp_path / "key"
    key.write_bytes(b"k" * FIELD_MAX_BYTES)
    words = ("verify", file, *IMAGE, *ROOT, "--recorded", "--public-key", str(key))
    assert refused(capsys, *words) == (0, "")
    key.write_bytes(b"k" * (FIELD_MAX_BYTES + 1))
    assert refused(capsys, *words) == (2, "usage-file")
    assert refused(capsys, "record", "--software", "--public-key", str(key)) == (2, "usage-file")
    assert refused(capsys, *words[:-1], str(tmp_path)) == (2, "usage-file")


def test_input_beyond_the_limit_is_a_verdict_with_all_its_keys(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "long"
    path.write_bytes(b"\x84" * (TEXT_MAX_BYTES + 1))
    told = in_json(capsys, "inspect", str(path))
    assert (told["verdict"], told["code"]) == ("rejected", "input-too-large")
    assert told["checks"] == told["not_checked"] == told["warnings"] == []
    assert told["unverified"] is None
    path.write_bytes(b"\x84" * TEXT_MAX_BYTES)
    assert in_json(capsys, "inspect", str(path)).keys() == told.keys()


def test_an_input_that_cannot_be_read_is_no_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (str(tmp_path), str(tmp_path / "missing"), "a\0b"):
        assert refused(capsys, "inspect", name) == (2, "usage-file")
    monkeypatch.setattr(sys, "stdin", None)  # what the interpreter makes of <&-
    assert refused(capsys, "inspect", "-") == (2, "usage-file")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    assert refused(capsys, "inspect", "-") == (1, "input-empty")


def test_a_zero_image_is_named_as_what_it_is(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    for zero, hint in (("zero", "--insecure-allow-debug"), ("00" * 48, "measurement of a build")):
        with pytest.raises(SystemExit) as left:
            main(["evidence", "verify", file, "--pcr", f"0={zero}", "--recorded"])
        assert left.value.code == 2
        assert hint in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["--pcr"], ["unicorn"]])
def test_a_group_without_its_command_says_so_in_a_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["evidence", *words])
    told = capsys.readouterr().err
    assert left.value.code == 2
    assert told.startswith("refused: usage-arguments: ")
    assert "\\n" not in told
