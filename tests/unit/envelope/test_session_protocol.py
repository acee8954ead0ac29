"""docs/protocol.md says what the code does: labels, limits, claims."""

import re
from pathlib import Path

from pcrgate.envelope import session, session_fields, session_labels, session_messages, session_waiting, session_window
from pcrgate.envelope.hpke import HpkeSuite
from pcrgate.envelope.session_limits import BYTES_MAX, RECORDS_MAX
from pcrgate.receipts import wire
from tests.unit.envelope.session_stage import Stage

DOCS = Path(__file__).resolve().parents[3] / "docs"
TEXT = (DOCS / "protocol.md").read_text(encoding="utf-8")
CDDL = (DOCS / "receipts.cddl").read_text(encoding="utf-8")


def section(title: str) -> str:
    return TEXT.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_labels_are_the_same() -> None:
    told = set(re.findall(r"^\| `(pcrgate/[a-z0-9/-]+)` \|", section("Fields and labels"), re.MULTILINE))
    used = {value.decode() for name, value in vars(session_labels).items() if name.isupper()}
    assert told == used
    assert len(used) == 17


def test_numbers_are_the_same() -> None:
    assert f"above {session_fields.MESSAGE_MAX_BYTES} bytes" in section("Fields and labels")
    assert f"wrapped blob 1 to {session_messages.BLOB_MAX_BYTES}" in section("Fields and labels").replace("\n", " ")
    assert f"last {session_waiting.NONCE_LIFE_MS // 1000}\nseconds" in section("Handshake")
    assert f"waits {session_waiting.WAITING_LIFE_MS // 1000} seconds" in section("Handshake")
    records = section("Records")
    assert f"or {session_window.REPLAY_WINDOW_RECORDS} or more behind" in records
    assert f"{session.HEADER_BYTES}-byte header" in records
    assert (session.RECORD_MAX_BYTES, RECORDS_MAX, BYTES_MAX) == (16 << 20, 2**24, 2**38)
    assert {"16 MiB", "2^24", "2^38"} <= set(re.findall(r"16 MiB|2\^\d+", records))
    assert [f"0x{suite.kem_id:04X}" for suite in HpkeSuite] == re.findall(r"^\| (0x\w+) \|", TEXT, re.MULTILINE)


def test_claims_are_the_same_in_code_document_and_grammar() -> None:
    used = {value for name, value in vars(wire).items() if name.isupper() and isinstance(value, int)}
    used = {value for value in used if value < -65_536} | {2, 6, 265, 268}
    told = {int(key) for key in re.findall(r"[|,] (-?\d+)(?= \|)", section("Receipts"))}
    assert told == used
    grammar = re.sub(r";.*", "", CDDL)
    assert {int(key) for key in re.findall(r"(-?\d+):", grammar)} - {1, 16} == used
    assert wire.PROFILE in TEXT
    assert wire.PROFILE in CDDL


def test_the_context_is_the_one_kms_sees() -> None:
    boot = Stage().boot()
    boot.establish()
    assert re.findall(r"(\w+) = <|(class) = session", section("Handshake")) == [
        ("", "class"), ("session", ""), ("agent", ""), ("manifest", ""),
    ]  # fmt: skip
    assert list(boot.stage.kms.calls[0][1]) == ["class", "session", "agent", "manifest"]
