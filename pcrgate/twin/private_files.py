"""Write a twin's own files so that a kill leaves the whole file or the one before, and keep a second twin out."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pcrgate.errors import ErrorCode, UsageError

PRIVATE_MODE: Final = 0o600
"""Of what only the owner may read."""

_LOCK: Final = "twin-lock"


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
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def held_alone(folder: Path) -> Iterator[None]:
    """Hold a folder, which is made if it is missing, against every other twin.

    Raises:
        UsageError: ``twin-state-locked`` when another holds it, ``usage-file`` when it cannot be used.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, PRIVATE_MODE)
    except OSError as error:
        reason = (error.strerror or "no reason given").lower()
        raise UsageError(ErrorCode.USAGE_FILE, f"the state directory cannot be used: {reason}") from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UsageError(
                ErrorCode.TWIN_STATE_LOCKED, "another twin uses the state directory, expected one at a time"
            ) from None
        yield
    finally:
        os.close(lock)
