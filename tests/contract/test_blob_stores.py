"""Every store of sealed files keeps the same contract: files in a directory, and objects in a bucket."""

import hashlib
import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.config import Config

from pcrgate.errors import ErrorCode, ServiceError
from pcrgate.units import Sha384
from service.artifact_files import FileArtifactStore
from service.artifact_s3 import S3ArtifactStore
from service.artifact_store import READ_BYTES, ArtifactStore, Upload
from tests.support.plain_moto import plain_moto

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

Opened = Callable[[], ArtifactStore]
"""Opens the store anew, as another process would."""

NOTHING = Upload(received_bytes=0, complete=False)


def s3_client(url: str) -> "S3Client":
    return boto3.client(
        "s3",
        endpoint_url=url,
        region_name="eu-central-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"max_attempts": 1}, connect_timeout=2, read_timeout=30),
    )


def new_bucket(client: "S3Client") -> str:
    """Make a bucket that no other test uses: all of moto in one process shares its buckets."""
    name = f"sealed-{uuid.uuid4().hex}"
    client.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    return name


@pytest.fixture(params=["files", pytest.param("s3", marks=pytest.mark.network)])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opened]:
    if request.param == "files":
        yield lambda: FileArtifactStore(tmp_path / "store")
        return
    with plain_moto() as moto:
        client = s3_client(moto.url)
        bucket = new_bucket(client)
        yield lambda: S3ArtifactStore(client, bucket)
        client.close()


def named(content: bytes) -> Sha384:
    return Sha384(hashlib.sha384(content).digest())


def put(store: ArtifactStore, content: bytes, *, digest: Sha384 | None = None) -> int:
    name = digest or named(content)
    for offset in range(0, len(content), store.part_bytes):
        store.append(name, offset, content[offset : offset + store.part_bytes])
    return store.finish(name)


def refused_with(call: Callable[[], object]) -> ErrorCode:
    with pytest.raises(ServiceError) as caught:
        call()
    return caught.value.code


def test_a_file_of_several_parts_comes_back(opened: Opened) -> None:
    store = opened()
    content = os.urandom(store.part_bytes) * 2 + b"end"
    assert put(store, content) == len(content)
    assert store.upload(named(content)) == Upload(received_bytes=len(content), complete=True)
    pieces = list(opened().read(named(content)))
    assert b"".join(pieces) == content
    assert max(map(len, pieces)) <= READ_BYTES
    assert b"".join(opened().read(named(content), len(content) - 7)) == content[-7:]
    assert list(opened().read(named(content), len(content))) == []
    local = opened().local_file(named(content))
    assert local is None or local.read_bytes() == content
    assert opened().local_file(named(b"unknown")) is None


def test_an_upload_goes_on_in_another_process(opened: Opened) -> None:
    store = opened()
    content = os.urandom(store.part_bytes) + b"rest"
    name = named(content)
    assert store.upload(name) == NOTHING
    store.append(name, 0, content[: store.part_bytes])
    again = opened()
    assert again.upload(name) == Upload(received_bytes=store.part_bytes, complete=False)
    again.append(name, store.part_bytes, b"rest")
    assert again.finish(name) == len(content)
    assert b"".join(opened().read(name)) == content


def test_what_is_not_whole_is_not_shown(opened: Opened) -> None:
    store = opened()
    name = named(b"never finished")
    store.append(name, 0, b"never")
    assert refused_with(lambda: list(store.read(name))) is ErrorCode.SERVICE_NOT_FOUND
    assert refused_with(lambda: list(store.read(named(b"unknown")))) is ErrorCode.SERVICE_NOT_FOUND


@pytest.mark.parametrize("offset", [0, 4, 5, 6])
def test_nothing_follows_a_part_that_was_short(opened: Opened, offset: int) -> None:
    store = opened()
    name = named(b"five and more")
    store.append(name, 0, b"five.")
    assert refused_with(lambda: store.append(name, offset, b"x")) is ErrorCode.SERVICE_UPLOAD_OFFSET
    assert store.upload(name).received_bytes == 5


def test_a_part_begins_where_the_last_one_ended(opened: Opened) -> None:
    store = opened()
    whole = bytes(store.part_bytes)
    name = named(whole * 2)
    assert refused_with(lambda: store.append(name, store.part_bytes, whole)) is ErrorCode.SERVICE_UPLOAD_OFFSET
    store.append(name, 0, whole)
    assert refused_with(lambda: store.append(name, 0, whole)) is ErrorCode.SERVICE_UPLOAD_OFFSET
    store.append(name, store.part_bytes, whole)
    assert store.finish(name) == 2 * store.part_bytes
    assert refused_with(lambda: store.append(name, 2 * store.part_bytes, b"x")) is ErrorCode.SERVICE_UPLOAD_OFFSET


def test_bytes_with_another_digest_are_dropped(opened: Opened) -> None:
    store = opened()
    name = named(b"what was promised")
    assert refused_with(lambda: put(store, b"what came", digest=name)) is ErrorCode.SERVICE_DIGEST
    assert store.upload(name) == NOTHING
    assert refused_with(lambda: list(store.read(name))) is ErrorCode.SERVICE_NOT_FOUND
    assert put(store, b"what was promised") == 17


def test_an_upload_can_be_dropped_and_a_whole_file_cannot(opened: Opened) -> None:
    store = opened()
    name = named(b"again")
    store.discard(name)
    store.append(name, 0, b"wrong")
    store.discard(name)
    assert store.upload(name) == NOTHING
    put(store, b"again")
    store.discard(name)
    assert b"".join(store.read(name)) == b"again"


def test_uploads_that_stopped_are_found_and_whole_files_are_not(opened: Opened) -> None:
    store = opened()
    begun_ms = time.time_ns() // 1_000_000
    put(store, b"whole")
    stopped = named(b"stopped")
    store.append(stopped, 0, b"sto")
    hour_ms = 3_600_000
    assert opened().unfinished(begun_ms - hour_ms) == []
    assert opened().unfinished(begun_ms + hour_ms) == [stopped]
    store.discard(stopped)
    assert opened().unfinished(begun_ms + hour_ms) == []
    assert b"".join(opened().read(named(b"whole"))) == b"whole"


@pytest.mark.network
def test_what_was_completed_and_never_compared_is_found_and_dropped() -> None:
    with plain_moto() as moto, closing(s3_client(moto.url)) as client:
        bucket = new_bucket(client)
        left = named(b"left")
        for name in (left.hex(), "somebody-elses"):
            client.put_object(Bucket=bucket, Key=f"pcrgate/incoming/{name}", Body=b"left")
        store = S3ArtifactStore(client, bucket)
        now_ms = time.time_ns() // 1_000_000
        assert store.unfinished(now_ms - 3_600_000) == []
        assert store.unfinished(now_ms + 3_600_000) == [left]
        store.discard(left)
        keys = [entry["Key"] for entry in client.list_objects_v2(Bucket=bucket)["Contents"]]
        assert keys == ["pcrgate/incoming/somebody-elses"]


def test_a_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert refused_with(lambda: FileArtifactStore(tmp_path / "file")) is ErrorCode.SERVICE_STORE


def test_a_directory_that_went_away_is_told(tmp_path: Path) -> None:
    store = FileArtifactStore(tmp_path / "store")
    (tmp_path / "store" / "incoming").rmdir()
    assert refused_with(lambda: store.append(named(b"x"), 0, b"x")) is ErrorCode.SERVICE_STORE


def test_files_are_for_their_owner_only(tmp_path: Path) -> None:
    put(FileArtifactStore(tmp_path / "store"), b"sealed")
    modes = {path.stat().st_mode & 0o077 for path in (tmp_path / "store").rglob("*")}
    assert modes == {0}


@pytest.mark.network
def test_a_bucket_that_is_not_there_is_told() -> None:
    with plain_moto() as moto:
        client = s3_client(moto.url)
        store = S3ArtifactStore(client, "absent")
        assert refused_with(lambda: store.append(named(b"x"), 0, b"x")) is ErrorCode.SERVICE_STORE
        client.close()
    assert refused_with(lambda: store.upload(named(b"x"))) is ErrorCode.SERVICE_STORE


@pytest.mark.network
def test_a_bucket_completed_by_a_process_that_was_killed_is_taken_up() -> None:
    """Between S3's own completion and ours lies a moment; the next try ends what the last one began."""
    content = b"all of it"
    with plain_moto() as moto:
        client = s3_client(moto.url)
        bucket = new_bucket(client)
        client.put_object(Bucket=bucket, Key=f"pcrgate/incoming/{named(content).hex()}", Body=content)
        assert S3ArtifactStore(client, bucket).finish(named(content)) == len(content)
        assert b"".join(S3ArtifactStore(client, bucket).read(named(content))) == content
        client.close()
