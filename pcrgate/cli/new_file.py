"""Write files whole or not at all: whatever ends the command, no half file stays under the name."""

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from pcrgate.cli.text import printable
from pcrgate.errors import ErrorCode, UsageError


@contextlib.contextmanager
def new_file(name: str, *, force: bool = False, mode: int = 0o666) -> Iterator[BinaryIO]:
    """Give a file that gets its name when the block ends well, and is removed when it does not.

    Args:
        name: the file's.
        force: whether another file of that name may be replaced.
        mode: permissions, less the umask.

    Raises:
        UsageError: ``usage-file`` when the name is taken or the file cannot be written.
    """
    target = Path(name)
    require_free(name, force=force)
    partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
    try:
        descriptor = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode)
    except OSError as error:
        raise cannot_write(name, error) from error
    try:
        with os.fdopen(descriptor, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        require_free(name, force=force)
        partial.replace(target)
    except OSError as error:
        raise cannot_write(name, error) from error
    finally:
        partial.unlink(missing_ok=True)


def write_file(name: str, data: bytes, *, force: bool = False, mode: int = 0o666) -> None:
    """Write a file whole.

    Raises:
        UsageError: ``usage-file``.
    """
    with new_file(name, force=force, mode=mode) as stream:
        stream.write(data)


def require_free(name: str, *, force: bool) -> None:
    """Refuse a name that is taken, unless it may be replaced.

    Raises:
        UsageError: ``usage-file``.
    """
    if not force and os.path.lexists(name):
        raise UsageError(ErrorCode.USAGE_FILE, f"{printable(name)} exists, expected another name or --force")


def cannot_write(name: str, error: OSError) -> UsageError:
    """Return the refusal of a file that cannot be written."""
    reason = (error.strerror or "no reason given").lower()
    return UsageError(ErrorCode.USAGE_FILE, f"cannot write {printable(name)}: {reason}")
