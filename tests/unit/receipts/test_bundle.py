"""Bundles: read strictly, and judged by the command line with reference values of one's own."""

import json
from pathlib import Path

import cbor2
import pytest

from pcrgate.attestation.cbor import encode
from pcrgate.cli.main import main
from pcrgate.errors import ErrorCode
from pcrgate.receipts import bundle as bundle_module
from pcrgate.receipts.bundle import BUNDLE_MAX_BYTES, parse_bundle
from tests.unit.attestation.documents import PCR0, PKI
from tests.unit.envelope.session_stage import refusal
from tests.unit.receipts.receipt_stage import Book, sha384


def test_a_bundle_comes_back() -> None:
    book = Book(2)
    parsed = parse_bundle(book.bundle())
    assert parsed.receipts == tuple(book.receipts)
    assert parsed.encode() == book.bundle() or parsed.identity == book.keys.statement.encode()


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "other"},
        {"version": 2},
        {"version": True},
        {"receipts": []},
        {"receipts": ["text"]},
        {"receipts": b"x"},
        {"document": "x"},
        {"identity": None},
        {"more": 1},
    ],
)
def test_other_files_are_refused(change: dict[str, object]) -> None:
    value = cbor2.loads(Book(1).bundle())
    value.update(change)
    assert refusal(lambda: parse_bundle(encode(value))) is ErrorCode.RECEIPT_BUNDLE


@pytest.mark.parametrize("data", [b"", b"\x80", b"{}", Book(1).bundle()[:-1]])
def test_other_bytes_are_refused(data: bytes) -> None:
    assert refusal(lambda: parse_bundle(data)) is ErrorCode.RECEIPT_BUNDLE


def test_the_length_of_a_bundle(monkeypatch: pytest.MonkeyPatch) -> None:
    assert BUNDLE_MAX_BYTES == 32 << 20
    data = Book(1).bundle()
    monkeypatch.setattr(bundle_module, "BUNDLE_MAX_BYTES", len(data))
    assert parse_bundle(data).receipts
    monkeypatch.setattr(bundle_module, "BUNDLE_MAX_BYTES", len(data) - 1)
    assert refusal(lambda: parse_bundle(data)) is ErrorCode.RECEIPT_BUNDLE


# --- pcrgate receipt --------------------------------------------------------------------------------------------------


@pytest.fixture
def book() -> Book:
    made = Book(2)
    made.issued.append(made.refuse("request 2"))
    return made


class Run:
    """Run the command line in this process."""

    def __init__(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.file = tmp_path / "receipts.bundle"
        self.capsys = capsys

    def __call__(self, data: bytes, *words: str, command: str = "verify", pinned: bool = True) -> tuple[int, str, str]:
        self.file.write_bytes(data)
        options = ["--pcr", f"0={PCR0}", "--root-fingerprint", PKI.root_fingerprint.hex()] if pinned else []
        with pytest.raises(SystemExit) as left:
            main(["receipt", command, str(self.file), *options, *words])
        out, err = self.capsys.readouterr()
        return int(left.value.code or 0), out, err


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    return Run(tmp_path, capsys)


def test_a_whole_chain_is_accepted(book: Book, run: Run) -> None:
    code, out, err = run(book.bundle())
    assert (code, err) == (0, "")
    assert "accepted: 3" in out
    assert "refused (session-hello)" in out
    assert "that the enclave still runs is not said" in out


def test_json_has_the_three_labels(book: Book, run: Run) -> None:
    code, out, _ = run(book.bundle(), "--json")
    found = json.loads(out)
    assert (code, found["verdict"], len(found["receipts"]), found["missing"]) == (0, "accepted", 3, [])
    first = found["receipts"][0]
    assert set(first) == {"digest", "attested", "observed", "host_claimed"}
    assert first["attested"]["secret_epochs"] == {"weights": 3}
    assert first["observed"]["request_digest"] == sha384(b"request 0").hex()
    assert found["evidence"]["matched"] == {"0": "--pcr 0 (1)"}


def test_a_gap_is_refused_or_listed(book: Book, run: Run) -> None:
    left = [book.receipts[0], book.receipts[2]]
    code, _, err = run(book.bundle(left))
    assert code == 1
    assert err.startswith("refused: receipt-gap: ")
    code, out, _ = run(book.bundle(left), "--partial")
    assert code == 0
    assert "missing: receipts 2 to 2" in out
    assert json.loads(run(book.bundle(left), "--partial", "--json")[1])["missing"] == [[2, 2]]


def test_one_request_can_be_asked_for(book: Book, run: Run) -> None:
    code, out, _ = run(book.bundle(), "--request-digest", sha384(b"request 1").hex(), "--json")
    assert (code, [r["observed"]["sequence"] for r in json.loads(out)["receipts"]]) == (0, [2])
    code, _, err = run(book.bundle(), "--request-digest", sha384(b"nothing").hex())
    assert code == 1
    assert err.startswith("refused: receipt-mismatch: ")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"user_data": bytes(48)}, "user-data-mismatch"),
        ({"user_data": None}, "user-data-mismatch"),
        ({"public_key": None}, "public-key-mismatch"),
        ({"public_key": b"another key"}, "public-key-mismatch"),
    ],
)
def test_evidence_that_does_not_commit_to_the_keys_is_refused(
    book: Book, run: Run, changes: dict[str, bytes | None], expected: str
) -> None:
    code, _, err = run(book.bundle(committed=changes))
    assert code == 1
    assert err.startswith(f"refused: {expected}: ")


def test_another_image_or_root_is_refused(book: Book, run: Run) -> None:
    root = ["--root-fingerprint", PKI.root_fingerprint.hex()]
    code, _, err = run(book.bundle(), "--pcr", f"0={'ab' * 48}", *root, pinned=False)
    assert (code, err.split(":")[1]) == (1, " pcr-mismatch")
    code, _, err = run(book.bundle(), "--pcr", f"0={PCR0}", pinned=False)
    assert (code, err.split(":")[1]) == (1, " root-unpinned")
    assert run(book.bundle(), *root, pinned=False)[0] == 2


def test_receipts_of_another_boot_are_refused(book: Book, run: Run) -> None:
    code, _, err = run(book.bundle(Book(1).receipts))
    assert code == 1
    assert err.startswith("refused: receipt-signature: ")


def test_show_says_that_nothing_is_checked(book: Book, run: Run) -> None:
    forged = Book(1).receipts
    code, out, _ = run(book.bundle(forged), command="show", pinned=False)
    assert code == 0
    assert out.startswith("unverified")
    found = json.loads(run(book.bundle(forged), "--json", command="show", pinned=False)[1])
    assert found["verdict"] == "unverified"
    assert found["unverified_receipts"][0]["observed"]["sequence"] == 1
