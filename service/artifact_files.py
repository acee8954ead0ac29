"""Keep sealed files in a directory: parts are appended and synced, a finished file appears by one rename."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pcrgate.units import Sha384
from service.artifact_store import (
    READ_BYTES,
    Upload,
    digests_named,
    no_such_artifact,
    require_offset,
    store_failed,
    wrong_digest,
)

PART_BYTES: Final = 1 << 20
"""Length of a part, 1 MiB: synced one by one, so a crash costs a publisher at most this much."""

_DIRECTORY_MODE: Final = 0o700
_FILE_MODE: Final = 0o600


class FileArtifactStore:
    """Keep files below one directory: ``incoming/`` while they arrive, ``blobs/`` when they are whole.

    Attributes:
        part_bytes: 1 MiB.
    """

    def __init__(self, directory: Path) -> None:
        """Make the two directories if they are not there.

        Raises:
            ServiceError: ``service-store`` when that cannot be done.
        """
        self.part_bytes = PART_BYTES
        self._incoming: Final = directory / "incoming"
        self._blobs: Final = directory / "blobs"
        with _as_store_failure():
            for folder in (directory, self._incoming, self._blobs):
                folder.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)

    def upload(self, digest: Sha384) -> Upload:
        """Return how far the upload of a file has come.

        Raises:
            ServiceError: ``service-store``.
        """
        with _as_store_failure():
            if (size := _size(self._blobs / digest.hex())) is not None:
                return Upload(received_bytes=size, complete=True)
            return Upload(received_bytes=_size(self._incoming / digest.hex()) or 0, complete=False)

    def append(self, digest: Sha384, offset: int, part: bytes) -> None:
        """Write the part and have the disk confirm it.

        Raises:
            ServiceError: ``service-upload-offset``, ``service-store``.
        """
        require_offset(self.upload(digest), offset, self.part_bytes)
        with _as_store_failure():
            path = self._incoming / digest.hex()
            is_new = not path.exists()
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, _FILE_MODE)
            with os.fdopen(descriptor, "r+b", buffering=0) as file:
                try:
                    file.seek(offset)
                    file.write(part)
                    os.fsync(descriptor)
                except OSError:
                    file.truncate(offset)  # half a part must not count as received
                    raise
            if is_new:
                _sync_directory(self._incoming)

    def finish(self, digest: Sha384) -> int:
        """Read everything once more, compare the digest, rename.

        Raises:
            ServiceError: ``service-digest``, ``service-store``.
        """
        path = self._incoming / digest.hex()
        with _as_store_failure():
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha384").digest()
                size = file.tell()
            if found != digest.digest:
                path.unlink()
                raise wrong_digest(digest)
            path.rename(self._blobs / digest.hex())
            _sync_directory(self._blobs)
            _sync_directory(self._incoming)
        return size

    def discard(self, digest: Sha384) -> None:
        """Remove what has arrived of a file that is not whole.

        Raises:
            ServiceError: ``service-store``.
        """
        with _as_store_failure():
            (self._incoming / digest.hex()).unlink(missing_ok=True)

    def unfinished(self, before_ms: int) -> list[Sha384]:
        """Return the files that have not grown since a time.

        Raises:
            ServiceError: ``service-store``.
        """
        with _as_store_failure():
            return digests_named(
                path.name for path in self._incoming.iterdir() if path.stat().st_mtime_ns < before_ms * 1_000_000
            )

    def read(self, digest: Sha384, offset: int = 0) -> Iterator[bytes]:
        """Yield a whole file from an offset on.

        Raises:
            ServiceError: ``service-not-found``, ``service-store``.
        """
        with _as_store_failure():
            try:
                file = (self._blobs / digest.hex()).open("rb")
            except FileNotFoundError:
                raise no_such_artifact(digest) from None
        with file:
            file.seek(offset)
            while True:
                with _as_store_failure():
                    piece = file.read(READ_BYTES)
                if not piece:
                    return
                yield piece

    def local_file(self, digest: Sha384) -> Path | None:
        """Return the file when it is whole."""
        path = self._blobs / digest.hex()
        return path if path.is_file() else None


@contextmanager
def _as_store_failure() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise store_failed(f"the directory answers {error.strerror or 'an error'}".lower()) from error


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
