import json
import signal
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from pcrgate.errors import ErrorCode, UsageError
from pcrgate.twin.kms.record_json import alias_from_json, key_from_json, key_to_json
from pcrgate.twin.kms.store import JOURNAL, LOCK, Change, DirectoryStore, _line
from tests.unit.twin.kms.kit import OTHER_REGION, Twin

WRITER = """
import sys
import zlib
from pathlib import Path
from pcrgate.twin.kms.store import Change, DirectoryStore
store = DirectoryStore(Path(sys.argv[1]))
for number in range(10**9):
    store.commit([Change(kind="key", name=f"key-{number % 50}", value={"number": number, "filler": "x" * 500})])
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
"""

SERVICE_WRITER = """
import sys
from pathlib import Path
from pcrgate.twin.kms.interface import Caller
from pcrgate.twin.kms.service import KmsService
from pcrgate.twin.kms.store import DirectoryStore
service = KmsService(store=DirectoryStore(Path(sys.argv[1])))
caller = Caller(account="111122223333", region="eu-central-1", arn="arn:aws:iam::111122223333:root")
key = service.prepare("CreateKey", {}, caller).execute()["KeyMetadata"]["Arn"]
sys.stdout.write(key + "\\n")
for number in range(10**9):
    tags = [{"TagKey": "number", "TagValue": str(number)}]
    service.prepare("TagResource", {"KeyId": key, "Tags": tags}, caller).execute()
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
"""


def _code(directory: Path) -> ErrorCode:
    with pytest.raises(UsageError) as caught:
        DirectoryStore(directory)
    return caught.value.code


def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    twin = Twin(store=DirectoryStore(tmp_path))
    arn = twin.key(MultiRegion=True, Description="d", Tags=[{"TagKey": "a", "TagValue": "1"}])
    gone = twin.key()
    twin.call("CreateAlias", AliasName="alias/one", TargetKeyId=arn)
    twin.call("CreateAlias", AliasName="alias/two", TargetKeyId=arn)
    twin.call("DeleteAlias", AliasName="alias/two")
    old = twin.call("Encrypt", KeyId=arn, Plaintext=b"old")["CiphertextBlob"]
    twin.call("RotateKeyOnDemand", KeyId=arn)
    twin.call("EnableKeyRotation", KeyId=arn)
    twin.call("ReplicateKey", KeyId=arn, ReplicaRegion=OTHER_REGION)
    twin.call(
        "CreateGrant",
        KeyId=arn,
        GranteePrincipal="arn:aws:iam::111122223333:role/r",
        RetiringPrincipal="arn:aws:iam::111122223333:role/s",
        Operations=["Decrypt"],
        Name="g",
        Constraints={"EncryptionContextEquals": {"a": "b"}},
    )
    twin.call("CreateGrant", KeyId=arn, GranteeServicePrincipal="s3.amazonaws.com", Operations=["Decrypt"])
    signing = twin.key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY", Origin="EXTERNAL")
    twin.call("ScheduleKeyDeletion", KeyId=gone, PendingWindowInDays=7)
    twin.pass_days(7)
    before = {name: twin.service.describe(name) for name in (arn, signing, gone)}
    records = dict(twin.service._resources.keyring._keys)
    twin.service.close()

    again = Twin(store=DirectoryStore(tmp_path))
    again.now_ms = twin.now_ms
    assert again.service._resources.keyring._keys == records
    assert gone not in records
    assert {name: again.service.describe(name) for name in before} == before
    assert before[gone] is None
    assert again.call("Decrypt", CiphertextBlob=old)["Plaintext"] == b"old"
    assert again.call("ListAliases")["Aliases"] == twin.call("ListAliases")["Aliases"]
    again.service.close()


def test_every_acknowledged_write_survives_a_kill(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        acknowledged = [int(writer.stdout.readline()) for _ in range(120)][-1]
        writer.send_signal(signal.SIGKILL)
        rest = writer.stdout.read().splitlines()
    acknowledged = max([acknowledged, *(int(line) for line in rest[:-1])])
    store = DirectoryStore(tmp_path)
    newest = {change.name: change.value["number"] for change in store.load() if change.value is not None}
    store.close()
    assert len(newest) == 50
    assert max(newest.values()) >= acknowledged
    for number in range(acknowledged - 49, acknowledged + 1):
        assert newest[f"key-{number % 50}"] >= number
    assert not list(tmp_path.glob("*.tmp"))


def test_a_killed_kms_keeps_what_it_answered(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", SERVICE_WRITER, str(tmp_path)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        arn = writer.stdout.readline().decode().strip()
        answered = [int(writer.stdout.readline()) for _ in range(40)][-1]
        writer.kill()
    twin = Twin(store=DirectoryStore(tmp_path))
    key = twin.service.describe(arn)
    assert key is not None
    assert int(key.tags["number"]) >= answered
    twin.call("Encrypt", KeyId=arn, Plaintext=b"a")
    twin.service.close()


@pytest.mark.parametrize("cut", [1, 20, 200])
def test_a_line_cut_off_was_never_acknowledged(tmp_path: Path, cut: int) -> None:
    store = DirectoryStore(tmp_path)
    for number in range(3):
        store.commit([Change(kind="key", name=str(number), value={"filler": "x" * 300})])
    store.close()
    journal = tmp_path / JOURNAL
    journal.write_bytes(journal.read_bytes()[:-cut])
    store = DirectoryStore(tmp_path)
    assert [change.name for change in store.load()] == ["0", "1"]
    store.commit([Change(kind="key", name="0", value=None)])
    store.close()
    store = DirectoryStore(tmp_path)
    assert [change.name for change in store.load()] == ["1"]
    store.close()


def test_a_damaged_line_is_refused(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    store.commit([Change(kind="key", name="1", value={"a": 1})])
    store.close()
    journal = tmp_path / JOURNAL
    good = journal.read_bytes()
    for damaged in (
        good.replace(b'"a":1', b'"a":2'),
        b"\n" + good,
        b"0" + good[1:],
        b"zzz\n",
        good[:9] + b"x" + good[9:],
    ):
        journal.write_bytes(damaged)
        assert _code(tmp_path) is ErrorCode.TWIN_STATE_CORRUPT
    journal.write_bytes(good)
    DirectoryStore(tmp_path).close()


def test_a_line_of_the_right_checksum_but_another_form_is_refused(tmp_path: Path) -> None:
    DirectoryStore(tmp_path).close()
    for body, code in (
        ({"version": 2, "changes": []}, ErrorCode.TWIN_STATE_VERSION),
        ({"version": 1}, ErrorCode.TWIN_STATE_CORRUPT),
        ([], ErrorCode.TWIN_STATE_CORRUPT),
    ):
        text = json.dumps(body).encode()
        (tmp_path / JOURNAL).write_bytes(b"%08x %s\n" % (zlib.crc32(text), text))
        assert _code(tmp_path) is code


def test_two_twins_do_not_share_a_directory(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    assert _code(tmp_path) is ErrorCode.TWIN_STATE_LOCKED
    store.close()
    DirectoryStore(tmp_path).close()


def test_only_the_owner_reads_the_files(tmp_path: Path) -> None:
    directory = tmp_path / "state" / "kms"
    store = DirectoryStore(directory)
    store.commit([Change(kind="key", name="1", value={})])
    assert {file.name for file in directory.iterdir()} == {JOURNAL, LOCK}
    assert all(file.stat().st_mode & 0o777 == 0o600 for file in directory.iterdir())
    assert directory.stat().st_mode & 0o777 == 0o700
    store.close()


def test_opening_forgets_what_was_overwritten(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    for number in range(100):
        store.commit([Change(kind="key", name="1", value={"number": number})])
    store.close()
    before = (tmp_path / JOURNAL).stat().st_size
    DirectoryStore(tmp_path).close()
    assert (tmp_path / JOURNAL).stat().st_size < before / 50


def test_a_directory_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert _code(tmp_path / "file") is ErrorCode.USAGE_FILE
    (tmp_path / JOURNAL).mkdir()
    assert _code(tmp_path) is ErrorCode.USAGE_FILE
    (tmp_path / JOURNAL).rmdir()
    DirectoryStore(tmp_path).close()


def test_a_disk_that_refuses_leaves_no_half_line(tmp_path: Path) -> None:
    """A limit on file sizes stands for a full disk; it is set in a process of its own."""
    script = """
import resource, signal, sys
from pathlib import Path
from pcrgate.errors import UsageError
from pcrgate.twin.kms.store import Change, DirectoryStore
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
store = DirectoryStore(Path(sys.argv[1]))
store.commit([Change(kind="key", name="1", value={})])
try:
    store.commit([Change(kind="key", name="2", value={"filler": "x" * 2000})])
except UsageError as error:
    print(error.code.code)
store.commit([Change(kind="key", name="3", value={})])
"""
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout == "usage-file\n"
    store = DirectoryStore(tmp_path)
    assert [change.name for change in store.load()] == ["1", "3"]
    store.close()


def test_a_full_disk_is_an_internal_error_and_changes_nothing(tmp_path: Path) -> None:
    """Over HTTP, as a client sees it; once there is room again the same twin goes on."""
    script = """
import resource, signal, sys
from pathlib import Path
from botocore.config import Config
from botocore.exceptions import ClientError
from pcrgate.twin.clients import boto_client
from pcrgate.twin.kms.store import JOURNAL
from pcrgate.twin.server import Twin
from pcrgate.twin.settings import TwinSettings
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
folder = Path(sys.argv[1])
with Twin(TwinSettings(state_dir=folder, http_port=0, https_port=None)) as twin:
    kms = boto_client(twin, "kms", config=Config(retries={"total_max_attempts": 1}))
    kept = kms.create_key()["KeyMetadata"]["KeyId"]
    full = next(folder.rglob(JOURNAL)).stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (full, resource.RLIM_INFINITY))
    for change in (kms.create_key, lambda: kms.disable_key(KeyId=kept)):
        try:
            change()
        except ClientError as error:
            print(error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"])
    print(len(kms.list_keys()["Keys"]), kms.describe_key(KeyId=kept)["KeyMetadata"]["Enabled"])
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    kms.create_key()
    print(len(kms.list_keys()["Keys"]))
"""
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=False)
    assert (done.stdout.splitlines(), done.returncode) == (
        ["KMSInternalException 500", "KMSInternalException 500", "1 True", "2"],
        0,
    ), done.stderr
    (journal,) = tmp_path.rglob(JOURNAL)
    store = DirectoryStore(journal.parent)
    assert len([change for change in store.load() if change.kind == "key"]) == 2
    store.close()


def test_records_of_another_form_are_refused() -> None:
    twin = Twin()
    arn = twin.key()
    good = key_to_json(twin.service._resources.keyring.require(arn))
    assert key_from_json(json.loads(json.dumps(good))) == twin.service._resources.keyring.require(arn)
    changes: list[dict[str, object]] = [
        {"spec": "NONE"},
        {"policy": 1},
        {"tags": []},
        {"deletion_ms": "soon"},
        {"usage": "x"},
        {"materials": [{}]},
    ]
    for change in changes:
        with pytest.raises((KeyError, ValueError, TypeError)):
            key_from_json(good | change)
    with pytest.raises(KeyError):
        alias_from_json({})


def test_a_journal_of_records_of_another_form_is_refused(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    store.commit([Change(kind="key", name="1", value={"not": "a key"})])
    store.close()
    store = DirectoryStore(tmp_path)
    with pytest.raises(UsageError) as caught:
        Twin(store=store)
    assert caught.value.code is ErrorCode.TWIN_STATE_CORRUPT
    store.close()


def test_the_journal_is_one_line_a_commit() -> None:
    assert _line([Change(kind="key", name="a\nb", value={"x": "\n"})]).count(b"\n") == 1
