"""Lay out for the enclave what publishers put: the current manifest, and sealed files by their header's digest."""

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from pcrgate.errors import ErrorCode, UsageError
from pcrgate.units import Sha384
from service.artifact_store import ArtifactStore, store_failed
from service.state_store import StateStore


class Shelf:
    """Give the broker what it hands out; the broker's ``BlobStore`` is one of these.

    Attributes:
        manifest: file with the current signed manifest; absent before the first one.
    """

    def __init__(self, directory: Path, state: StateStore, artifacts: ArtifactStore) -> None:
        """Make the directory, and lay out the manifest that is current.

        Args:
            directory: for the manifest, and for copies of what lies in a bucket.
            state: knows both.
            artifacts: has the sealed files.

        Raises:
            ServiceError: ``service-store``.
        """
        self.manifest: Final = directory / "manifest.cose"
        self._copies: Final = directory / "copies"
        self._state: Final = state
        self._artifacts: Final = artifacts
        try:
            self._copies.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise store_failed("the data directory cannot be used") from error
        self.put_manifest()

    def put_manifest(self) -> None:
        """Lay out the current manifest, if there is one.

        Raises:
            ServiceError: ``service-store``.
        """
        current = self._state.manifest()
        if current is not None:
            self._write(self.manifest, [current.signed])

    def find(self, digest: Sha384) -> Path:
        """Return the sealed file whose header has this digest; one from a bucket is copied here first.

        Raises:
            UsageError: ``usage-blob`` when there is none.
            ServiceError: ``service-store``.
        """
        artifact = self._state.artifact_by_header(digest)
        if artifact is None:
            raise UsageError(ErrorCode.USAGE_BLOB, f"no sealed file {digest.hex()[:16]}, expected it in the store")
        local = self._artifacts.local_file(artifact.digest)
        if local is not None:
            return local
        copy = self._copies / artifact.digest.hex()
        if not copy.is_file():
            self._write(copy, self._artifacts.read(artifact.digest))
        return copy

    def _write(self, path: Path, pieces: Iterable[bytes]) -> None:
        """Have the file appear whole, by one rename."""
        try:
            with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".new-", delete=False) as file:
                try:
                    file.writelines(pieces)
                    file.flush()
                    os.fsync(file.fileno())
                    Path(file.name).rename(path)
                except BaseException:
                    Path(file.name).unlink(missing_ok=True)
                    raise
        except OSError as error:
            raise store_failed("the data directory cannot be written") from error
