"""What the enclave is handed: sealed files by their header, from a directory or copied out of a bucket, whole or not."""

import hashlib
from contextlib import closing
from pathlib import Path

import pytest

from pcrgate.errors import ErrorCode, ServiceError, UsageError
from pcrgate.units import Sha384
from service.artifact_files import FileArtifactStore
from service.shelf import Shelf
from service.state_sqlite import SqliteStateStore
from service.state_store import Artifact

HEADER = Sha384(b"h" * 48)


class RemoteStore(FileArtifactStore):
    """Keep files where this machine cannot open them itself, as a bucket does."""

    def local_file(self, digest: Sha384) -> None:
        del digest


@pytest.mark.parametrize("kind", [FileArtifactStore, RemoteStore])
def test_a_sealed_file_is_found_by_its_header(tmp_path: Path, kind: type[FileArtifactStore]) -> None:
    store, content = kind(tmp_path / "files"), b"sealed"
    digest = Sha384(hashlib.sha384(content).digest())
    store.append(digest, 0, content)
    store.finish(digest)
    with closing(SqliteStateStore(tmp_path / "state.db")) as state:
        state.add_artifact(Artifact(digest=digest, header_digest=HEADER, size_bytes=6, created_ms=1))
        shelf = Shelf(tmp_path / "shelf", state, store)
        assert shelf.find(HEADER).read_bytes() == content
        assert shelf.find(HEADER).read_bytes() == content
        with pytest.raises(UsageError) as caught:
            shelf.find(digest)
        assert caught.value.code is ErrorCode.USAGE_BLOB
    assert list((tmp_path / "shelf").rglob(".new-*")) == []


def test_a_copy_that_breaks_off_is_not_left_behind(tmp_path: Path) -> None:
    with closing(SqliteStateStore(tmp_path / "state.db")) as state:
        state.add_artifact(Artifact(digest=HEADER, header_digest=HEADER, size_bytes=6, created_ms=1))
        shelf = Shelf(tmp_path / "shelf", state, RemoteStore(tmp_path / "files"))
        with pytest.raises(ServiceError) as caught:
            shelf.find(HEADER)
    assert caught.value.code is ErrorCode.SERVICE_NOT_FOUND
    assert list((tmp_path / "shelf" / "copies").iterdir()) == []


def test_a_directory_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with closing(SqliteStateStore(tmp_path / "state.db")) as state, pytest.raises(ServiceError) as caught:
        Shelf(tmp_path / "file", state, FileArtifactStore(tmp_path / "files"))
    assert caught.value.code is ErrorCode.SERVICE_STORE
