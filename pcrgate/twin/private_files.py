"""Write a twin's own files so that a kill leaves the whole file or the one before."""

import errno
import os
from pathlib import Path
from typing import Final

PRIVATE_MODE: Final = 0o600
"""Of what only the owner may read."""


def write_whole(path: Path, data: bytes, *, mode: int = PRIVATE_MODE) -> None:
    """Write a file beside its place, sync it, put it there, and sync the folder, which is made if it is missing.

    Raises:
        OSError: when the disk refuses, or a link stands there; what was there before is there still.
    """
    if path.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk.

    Raises:
        OSError: when the disk refuses.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
