"""``pcrgate manifest`` as a publisher uses it: real files, exit codes, what is printed and what is refused."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from pcrgate.cli.main import main
from pcrgate.cli.manifest_draft import format_draft, format_secret, parse_draft
from pcrgate.cli.new_file import new_file
from pcrgate.errors import ErrorCode, ManifestError, UsageError
from pcrgate.manifest.constraints import OneOf
from pcrgate.manifest.grants import ActionRule, Argument
from pcrgate.manifest.signature import SIGNED_MAX_BYTES, parse_manifest, sign_manifest
from pcrgate.manifest.verification import expected_pcr16, manifest_digest
from tests.unit.envelope.sealed import seal
from tests.unit.manifest.samples import (
    SESSION_KEY,
    digest,
    grant,
    key_arn,
    manifest,
    private_key,
    public_key,
    secret,
    sign_payload,
    signed,
)

AT = ["--at", "2027-01-15T08:00:00Z"]
KEY = ["--publisher-key", public_key("publisher").public_bytes.hex()]


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(["manifest", *words])
    assert isinstance(left.value.code, int)
    return left.value.code


def told(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    capsys.readouterr()
    run(*words, "--json")
    return json.loads(capsys.readouterr().out)


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    """Exit code and error code; nothing but the refusal is printed."""
    capsys.readouterr()
    status = run(*words)
    printed = capsys.readouterr()
    first, code, _ = printed.err.splitlines()[0].split(": ", 2)
    assert (first, printed.out) == ("refused", "")
    assert "Traceback" not in printed.err
    return status, code


def write(name: str, text: str | bytes) -> str:
    Path(name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return name


ACTIONS = json.dumps(
    [
        {
            "action": "database.query",
            "purposes": ["report"],
            "max_uses_per_boot": None,
            "arguments": {
                "table": {"kind": "one-of", "required": True, "values": ["orders"]},
                "rows": {"kind": "integer", "required": True, "minimum": 1, "maximum": 10, "total_per_boot": None},
            },
        }
    ]
)


def test_a_release_from_key_to_verification(capsys: pytest.CaptureFixture[str]) -> None:
    key = told(capsys, "keygen", "--output", "publisher.key")
    assert Path("publisher.key.pub").read_text().strip() == key["public_key"]
    assert stat.S_IMODE(Path("publisher.key").stat().st_mode) == 0o600
    assert run("new", "draft.json", "--epoch", "1", "--session-key", str(SESSION_KEY), "--days", "30") == 0
    assert run("keygen", "--output", "alice.key") == 0
    assert run("add", "agent", "draft.json", "--name", "alice", "--public-key", "alice.key.pub") == 0
    write("actions.json", ACTIONS)
    validate = ["--workload", "validate", "--actions", "actions.json"]
    assert run("add", "grant", "draft.json", "--agent", "alice", *validate, "--max-uses-per-boot", "5") == 0
    assert run("add", "rules", "draft.json", *validate) == 0
    pcrs = ["--pcr", f"0={digest('image')}", "--pcr", f"8={digest('signer')}"]
    assert run("add", "image", "draft.json", "--name", "v1", *pcrs) == 0
    write("entry.json", format_secret(secret()))
    added = told(capsys, "add", "secret", "draft.json", "--entry", "entry.json")
    assert (added["verdict"], added["manifest"]["secrets"][0]["name"]) == ("added", "tiny")
    assert run("add", "session-key", "draft.json", "--key-arn", str(key_arn(4))) == 0

    done = told(capsys, "sign", "draft.json", "--key", "publisher.key", "--output", "manifest.cbor")
    data = Path("manifest.cbor").read_bytes()
    assert done["verdict"] == "signed"
    assert done["digest_sha384"] == manifest_digest(data).hex()
    assert done["pcr16"] == expected_pcr16(manifest_digest(data)).hex()
    assert done["publisher_key_id"] == key["key_id"]
    assert parse_manifest(data).claims() == parse_draft(Path("draft.json").read_bytes())

    checked = told(capsys, "verify", "manifest.cbor", "--publisher-key", "publisher.key.pub")
    assert {**checked, "verdict": "signed", "file": "manifest.cbor"} == done
    assert run("verify", "manifest.cbor", "--publisher-key", key["public_key"]) == 0
    shown = capsys.readouterr().out
    for word in ("verified", done["pcr16"], "database.query", "rows 1 to 10", "5 per boot", "alice", "v1", "tiny"):
        assert word in shown


def test_every_constraint_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    write("manifest.cbor", signed())
    assert run("verify", "manifest.cbor", *KEY, *AT) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for word in (
        "up to 50000",
        "EUR",
        "1000000 in all",
        "begins 'DE'",
        "= False",
        "(optional)",
        "any text",
        "10000 in all",
    ):
        assert word.split()[0] in shown
    assert run("show", "manifest.cbor") == 0
    assert "unverified, anybody may have written it" in capsys.readouterr().out


def test_the_next_epoch_begins_with_the_previous_one(capsys: pytest.CaptureFixture[str]) -> None:
    write("publisher.key", pem("publisher"))
    Path("publisher.key").chmod(0o600)
    assert run("new", "one.json", "--epoch", "5") == 0
    write("entry.json", format_secret(secret()))
    assert run("add", "secret", "one.json", "--entry", "entry.json") == 0
    capsys.readouterr()
    assert run("sign", "one.json", "--key", "publisher.key", "--output", "one.cbor") == 0
    assert "epoch 5 was compared with nothing" in capsys.readouterr().err
    made = told(capsys, "new", "two.json", "--previous", "one.cbor")["manifest"]
    assert (made["epoch"], made["secrets"][0]["name"]) == (6, "tiny")
    assert refused(capsys, "new", "x.json", "--previous", "one.json", "--epoch", "5") == (1, "manifest-rollback")
    sign = ["sign", "two.json", "--key", "publisher.key", "--output", "two.cbor"]
    assert run(*sign, "--previous", "one.cbor") == 0
    assert refused(capsys, *sign, "--previous", "one.cbor") == (2, "usage-file")
    assert refused(capsys, *sign, "--force", "--previous", "two.cbor") == (1, "manifest-rollback")
    assert run(*sign, "--force", "--previous", "one.cbor") == 0
    changed = secret(plaintext_sha384=digest("changed"))
    write("entry.json", format_secret(changed))
    assert refused(capsys, "add", "secret", "two.json", "--entry", "entry.json") == (1, "manifest-duplicate")
    assert run("add", "secret", "two.json", "--entry", "entry.json", "--replace") == 0
    assert refused(capsys, *sign, "--force", "--previous", "one.cbor") == (1, "manifest-rollback")


def test_a_previous_manifest_counts_only_with_a_known_signature(capsys: pytest.CaptureFixture[str]) -> None:
    write("publisher.key", pem("publisher"))
    Path("publisher.key").chmod(0o600)
    draft = parse_draft(format_draft(manifest(secrets=(), agents=(), grants=(), rules=(), images=())).encode())
    assert run("new", "two.json", "--epoch", "9") == 0
    write("other.cbor", sign_manifest(draft, private_key("other")))
    sign = ["sign", "two.json", "--key", "publisher.key", "--output", "two.cbor", "--previous"]
    assert refused(capsys, *sign, "other.cbor") == (1, "manifest-signer")
    data = bytearray(sign_manifest(draft, private_key("publisher")))
    data[-1] ^= 1
    write("forged.cbor", bytes(data))
    assert refused(capsys, *sign, "forged.cbor") == (1, "manifest-signature")
    assert run(*sign, "other.cbor", "--publisher-key", public_key("other").public_bytes.hex()) == 0


@pytest.mark.parametrize(
    ("words", "status", "code"),
    [
        ([*AT], 2, "usage-arguments"),
        ([*KEY, *AT], 0, ""),
        ([*KEY, *AT, "--floor-epoch", "7"], 0, ""),
        ([*KEY, *AT, "--floor-epoch", "8"], 1, "manifest-rollback"),
        ([*KEY, "--at", "2027-03-15T08:00:00Z"], 1, "manifest-expired"),
        ([*KEY, "--at", "2027-01-13T08:00:00Z"], 1, "manifest-not-yet-valid"),
        ([*KEY, "--at", "yesterday"], 2, "usage-time"),
        ([*KEY, "--at", "2027-01-15T08:00:00"], 2, "usage-time"),
        ([*KEY, *AT, "--pinned-key", str(key_arn(1))], 1, "manifest-key-pinned"),
        ([*KEY, *AT, "--pinned-key", "alias/x"], 2, "usage-key-arn"),
        ([*AT, "--publisher-key", public_key("other").public_bytes.hex()], 1, "manifest-signer"),
        ([*AT, "--publisher-key", "missing"], 2, "usage-file"),
        ([*AT, "--publisher-key", "00" * 32], 1, "manifest-public-key"),
        ([*AT, "--publisher-key", "zz" * 32], 2, "usage-hex"),
    ],
)
def test_verify(words: list[str], status: int, code: str, capsys: pytest.CaptureFixture[str]) -> None:
    write("manifest.cbor", signed())
    if status == 0:
        assert run("verify", "manifest.cbor", *words) == 0
    else:
        assert refused(capsys, "verify", "manifest.cbor", *words) == (status, code)
        assert told(capsys, "verify", "manifest.cbor", *words)["code"] == code


@pytest.mark.parametrize("data", [b"", b"\xd2", b"{}", b"\xd2" + bytes(100), b"\x00" * (SIGNED_MAX_BYTES + 1)])
def test_rubbish_is_refused_without_a_traceback(data: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    write("manifest.cbor", data)
    for words in (
        ["verify", "manifest.cbor", *KEY],
        ["show", "manifest.cbor"],
        ["new", "x.json", "--previous", "manifest.cbor"],
    ):
        assert refused(capsys, *words)[0] == 1
    assert not Path("x.json").exists()


def test_a_payload_nobody_trusts_cannot_move_the_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    rule = ActionRule(action="a", arguments={"x": Argument(constraint=OneOf(values=("\x1b[2J\x1b[31mfine",)))})
    context = {**secret().encryption_context, "note": "\x1b[2Jfine\u202e"}
    hostile = manifest(
        secrets=(secret(encryption_context=context),), grants=(grant("alice", "infer", actions=(rule,)),)
    )
    write("hostile.cbor", sign_manifest(hostile, private_key("stranger")))
    capsys.readouterr()
    assert run("show", "hostile.cbor") == 0
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert "\u202e" not in printed
    assert run("show", "hostile.cbor", "--json") == 0
    assert capsys.readouterr().out.isascii()


def pem(name: str) -> bytes:
    return private_key(name).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def test_keys_and_passphrases(capsys: pytest.CaptureFixture[str]) -> None:
    write("passphrase", "correct horse\n")
    write("wrong", "battery staple\n")
    write("empty", "\n")
    made = told(capsys, "keygen", "--output", "locked.key", "--passphrase-file", "passphrase")
    assert b"ENCRYPTED" in Path("locked.key").read_bytes()
    before = Path("locked.key").read_bytes()
    assert refused(capsys, "keygen", "--output", "locked.key") == (2, "usage-file")
    write("half.key.pub", "kept")
    assert refused(capsys, "keygen", "--output", "half.key") == (2, "usage-file")
    assert not Path("half.key").exists()
    assert refused(capsys, "keygen", "--output", "x.key", "--passphrase-file", "empty") == (2, "usage-file")
    assert Path("locked.key").read_bytes() == before
    assert run("new", "draft.json", "--epoch", "1") == 0
    sign = ["sign", "draft.json", "--output", "out.cbor", "--key"]
    assert refused(capsys, *sign, "locked.key") == (2, "usage-file")
    assert refused(capsys, *sign, "locked.key", "--passphrase-file", "wrong") == (2, "usage-file")
    Path("locked.key").chmod(0o640)
    assert refused(capsys, *sign, "locked.key", "--passphrase-file", "passphrase") == (2, "usage-file")
    Path("locked.key").chmod(0o600)
    assert run(*sign, "locked.key", "--passphrase-file", "passphrase") == 0
    assert parse_manifest(Path("out.cbor").read_bytes()).key_id.hex() == made["key_id"]
    other = ec.generate_private_key(ec.SECP256R1())
    write("ec.key", other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    Path("ec.key").chmod(0o600)
    assert refused(capsys, *sign, "ec.key", "--force") == (2, "usage-file")
    assert refused(capsys, *sign, "locked.key.pub", "--force") == (2, "usage-file")
    assert run("keygen", "--output", "shown.key") == 0
    assert capsys.readouterr().out.startswith("public key ")


def test_public_keys_in_every_form(capsys: pytest.CaptureFixture[str]) -> None:
    write("manifest.cbor", signed())
    key = private_key("publisher").public_key()
    write("key.pem", key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    write("key.hex", key.public_bytes_raw().hex() + "\n")
    other = ec.generate_private_key(ec.SECP256R1()).public_key()
    write("ec.pem", other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    write("torn.pem", "-----BEGIN PUBLIC KEY-----\nx\n")
    write("text", "no key")
    for name in ("key.pem", "key.hex"):
        assert run("verify", "manifest.cbor", *AT, "--publisher-key", name) == 0
    verify = ["verify", "manifest.cbor", *AT, "--publisher-key"]
    assert refused(capsys, *verify, "ec.pem") == (1, "manifest-public-key")
    assert refused(capsys, *verify, "torn.pem") == (2, "usage-file")
    assert refused(capsys, *verify, "text") == (2, "usage-file")


def test_signing_refuses_what_an_enclave_would(capsys: pytest.CaptureFixture[str]) -> None:
    write("publisher.key", pem("publisher"))
    Path("publisher.key").chmod(0o600)
    sign = ["sign", "draft.json", "--key", "publisher.key", "--output", "out.cbor"]
    write("draft.json", format_draft(manifest(issued_ms=1, expires_ms=2)))
    assert refused(capsys, *sign) == (1, "manifest-expired")
    arn = str(key_arn(9, multi_region=True))
    assert run("new", "draft.json", "--epoch", "1", "--session-key", arn, "--force") == 0
    assert refused(capsys, *sign) == (1, "manifest-key-pinned")
    assert not Path("out.cbor").exists()
    assert run(*sign, "--pinned-key", arn) == 0


@pytest.mark.parametrize(
    ("words", "status", "code"),
    [
        (["new", "x.json"], 2, "usage-arguments"),
        (["new", "draft.json", "--epoch", "1"], 2, "usage-file"),
        (["new", "x.json", "--epoch", "0"], 1, "manifest-field"),
        (["new", "x.json", "--epoch", "1", "--days", "0"], 2, "usage-time"),
        (["new", "x.json", "--epoch", "1", "--days", "401"], 1, "manifest-limit"),
        (["new", "x.json", "--epoch", "1", "--days", "36501"], 2, "usage-time"),
        (["new", "x.json", "--epoch", "1", "--expires", "soon"], 2, "usage-time"),
        (["new", "x.json", "--epoch", "1", "--session-key", "alias/x"], 2, "usage-key-arn"),
        (["new", "no/x.json", "--epoch", "1"], 2, "usage-file"),
        (["add", "secret", "draft.json"], 2, "usage-arguments"),
        (["add", "secret", "draft.json", "--entry", "a", "--from-ciphertext", "b"], 2, "usage-arguments"),
        (["add", "secret", "draft.json", "--entry", "draft.json"], 1, "manifest-field"),
        (["add", "agent", "missing.json", "--name", "a", "--public-key", "11" * 32], 2, "usage-file"),
        (["add", "agent", "draft.json", "--name", "a b", "--public-key", "11" * 32], 1, "manifest-field"),
        (["add", "grant", "draft.json", "--agent", "a", "--workload", "w", "--actions", "list"], 1, "manifest-reference"),
        (["add", "grant", "draft.json", "--agent", "a", "--workload", "w", "--actions", "draft.json"], 1, "manifest-draft"),
        (["add", "image", "draft.json", "--name", "v", "--pcr", "1=" + "11" * 48], 1, "manifest-field"),
        (["add", "image", "draft.json", "--name", "v", "--pcr", "0"], 2, "usage-pcr-index"),
        (["add", "image", "draft.json", "--name", "v", "--pcr", "x=" + "11" * 48], 2, "usage-pcr-index"),
        (["add", "image", "draft.json", "--name", "v", "--pcr", "0=11"], 2, "usage-digest"),
        (["add", "session-key", "draft.json", "--key-arn", "x"], 2, "usage-key-arn"),
        (["sign", "draft.json", "--key", "missing", "--output", "x"], 2, "usage-file"),
        (["show", "missing"], 2, "usage-file"),
    ],
)  # fmt: skip
def test_mistakes_say_what_to_do(words: list[str], status: int, code: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("new", "draft.json", "--epoch", "1") == 0
    write("list", ACTIONS)
    before = Path("draft.json").read_bytes()
    assert refused(capsys, *words) == (status, code)
    assert Path("draft.json").read_bytes() == before
    assert not Path("x.json").exists()


def test_entries_are_replaced_only_when_that_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("new", "draft.json", "--epoch", "1") == 0
    write("list", ACTIONS)
    write("entry.json", format_secret(secret()))
    for words in (
        ["secret", "draft.json", "--entry", "entry.json"],
        ["agent", "draft.json", "--name", "a", "--public-key", public_key("a").public_bytes.hex()],
        ["grant", "draft.json", "--agent", "a", "--workload", "w", "--actions", "list"],
        ["rules", "draft.json", "--workload", "w", "--actions", "list"],
        ["image", "draft.json", "--name", "v", "--pcr", f"0={digest('x')}"],
    ):
        assert run("add", *words) == 0
        assert refused(capsys, "add", *words) == (1, "manifest-duplicate")
        assert run("add", *words, "--replace") == 0


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "1", "null", "{", '{"version": 1,}', '{"a": 1, "a": 1}', '{"epoch": 1.0}', '{"epoch": NaN}',
        '{"epoch": 1' + "0" * 20 + "}", "[" * 100_000, '{"issued_ms": 1}', '{"issued": 1}', '{"issued": "now"}',
        '{"issued": "2027-01-15T08:00:00"}', '{"agents": 1}', '{"agents": [1]}',
        '{"agents": [{"public_key": 1}]}', '{"agents": [{"public_key": "xy"}]}',
        '{"images": [{"pcrs": {"00": ""}}]}', '{"images": [{"pcrs": {"\u00b2": ""}}]}',
        '{"secrets": [{"expires_ms": 1}]}', "\ufeff{}",
    ],
)  # fmt: skip
def test_drafts_are_strict_json(text: str) -> None:
    with pytest.raises(ManifestError) as refused:
        parse_draft(text.encode())
    assert refused.value.code is ErrorCode.MANIFEST_DRAFT


def test_a_draft_may_say_images_wrong() -> None:
    with pytest.raises(ManifestError) as refused:
        parse_draft(format_draft(manifest()).replace('"pcrs": {', '"pcrs": 1, "x": {').encode())
    assert refused.value.code is ErrorCode.MANIFEST_FIELD


def test_a_file_is_written_whole_or_not_at_all(folder: Path) -> None:
    with pytest.raises(KeyboardInterrupt), new_file("out") as stream:
        stream.write(b"half")
        raise KeyboardInterrupt
    assert list(folder.iterdir()) == []
    with pytest.raises(UsageError, match="exists"), new_file("out") as stream:
        write("out", "somebody else's")
    assert Path("out").read_text() == "somebody else's"
    assert [path.name for path in folder.iterdir()] == ["out"]
    Path("folder").mkdir()
    with pytest.raises(UsageError, match="cannot write"), new_file("folder", force=True) as stream:
        stream.write(b"x")
    assert sorted(path.name for path in folder.iterdir()) == ["folder", "out"]


def test_as_its_own_process() -> None:
    write("manifest.cbor", signed())
    done = subprocess.run(
        [sys.executable, "-m", "pcrgate.cli.main", "manifest", "verify", "-", *KEY, *AT],
        input=Path("manifest.cbor").read_bytes(),
        capture_output=True,
        timeout=60,
        env={**os.environ, "NO_COLOR": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert b"verified" in done.stdout
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pcrgate.cli.main",
            "manifest",
            "verify",
            "manifest.cbor",
            *KEY,
            *AT,
            "--floor-epoch",
            "8",
        ],
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(b"refused: manifest-rollback: the manifest has epoch 7, expected at least 8")


def test_a_manifest_signed_by_nobody_with_a_broken_payload_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    write("manifest.cbor", sign_payload(b"\xa1\x61x\x01", signer="stranger"))
    assert refused(capsys, "show", "manifest.cbor") == (1, "manifest-field")


def test_a_sealed_file_whose_header_is_broken_is_not_described(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("new", "draft.json", "--epoch", "1") == 0
    whole = seal(b"x" * 100, context={"class": "weights", "name": "demo", "epoch": "1"})
    pairs = bytearray(whole)
    pairs[37:39] = b"\xff\xff"  # behind version, suite, message id and the context's length
    describe = ["add", "secret", "draft.json", "--name", "demo", "--epoch", "1", "--format", "onnx", "--key-arn"]
    describe += [str(key_arn(1)), "--plaintext-sha384", str(digest("x")), "--from-ciphertext"]
    assert refused(capsys, *describe, write("sealed", whole)) == (2, "usage-arguments")
    words = ["--workload", "infer"]
    for data, code in (
        (b"", "weights-truncated"),
        (whole[:20], "weights-truncated"),
        (whole[:-1], "weights-truncated"),
        (whole + b"x", "weights-trailing"),
        (bytes(pairs), "weights-header"),
        (whole, "manifest-context"),  # sealed under a key that is not of KMS
    ):
        assert refused(capsys, *describe, write("sealed", data), *words) == (1, code)
