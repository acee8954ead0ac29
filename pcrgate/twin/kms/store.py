"""Keep records: in memory, or in a directory that survives a kill between any two writes.

A directory holds two files. ``kms.lock`` is locked by the twin that uses the directory. ``kms.journal`` has one line a
commit: CRC-32 of the rest in hex, a space, and a JSON array of changes. A commit is one ``write`` followed by
``fsync``, so that it is there as a whole or not at all; a torn last line was never acknowledged and is dropped.
Opening rewrites the journal without what was overwritten: to a temporary file, synced, renamed, directory synced.
"""

import fcntl
import json
import os
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from pcrgate.errors import ErrorCode, UsageError
from pcrgate.twin.private_files import sync_folder

STATE_VERSION: Final = 1
"""Version of the journal's lines; another one is refused, never guessed."""

FILE_MODE: Final = 0o600
"""The journal holds key material: owner only."""

DIRECTORY_MODE: Final = 0o700
"""Same, for the directories we make: the store's and the one it stands in."""

JOURNAL: Final = "kms.journal"
LOCK: Final = "kms.lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Put or delete one record.

    Attributes:
        kind: ``key`` or ``alias``.
        name: the ARN.
        value: the record as a JSON object, or None to delete it.
    """

    kind: str
    name: str
    value: Mapping[str, Any] | None


class Store(Protocol):
    """Keep records across commits."""

    def load(self) -> Iterable[Change]:
        """Return every record as it was last committed."""
        ...

    def commit(self, changes: Sequence[Change]) -> None:
        """Make all changes permanent together; when this returns they survive."""
        ...

    def close(self) -> None:
        """Let go of files and locks."""
        ...


class MemoryStore:
    """Keep nothing beyond the process; the keyring holds the records."""

    def load(self) -> Iterable[Change]:
        """Return nothing: a new twin has no keys."""
        return ()

    def commit(self, changes: Sequence[Change]) -> None:
        """Accept the changes."""

    def close(self) -> None:
        """Do nothing."""


class DirectoryStore:
    """Keep records in a directory, alone.

    Raises:
        UsageError: ``twin-state-locked`` when another twin uses it, ``twin-state-corrupt``, ``twin-state-version``,
            or ``usage-file`` when it cannot be read or written.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        try:
            for made in (directory.parent, directory):  # a mode does not count for parents
                made.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
            self._lock = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        except OSError as error:
            raise _unusable(error) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise UsageError(
                ErrorCode.TWIN_STATE_LOCKED, "another twin uses the state directory, expected one at a time"
            ) from None
        try:
            self._records = self._read()
            self._journal = self._rewrite()
        except OSError as error:
            os.close(self._lock)
            raise _unusable(error) from error
        except UsageError:
            os.close(self._lock)
            raise

    def load(self) -> Iterable[Change]:
        """Return every record of the journal."""
        return [Change(kind=kind, name=name, value=value) for (kind, name), value in self._records.items()]

    def commit(self, changes: Sequence[Change]) -> None:
        """Append one line and sync it.

        Raises:
            UsageError: ``usage-file`` when the disk refuses; nothing was acknowledged then.
        """
        try:
            length = os.fstat(self._journal).st_size
            try:
                _write_all(self._journal, _line(changes))
                os.fsync(self._journal)
            except OSError:
                os.ftruncate(self._journal, length)  # half a line must not stand before the next one
                raise
        except OSError as error:
            raise _unusable(error) from error

    def close(self) -> None:
        """Close the journal and give the lock back."""
        os.close(self._journal)
        os.close(self._lock)

    def _read(self) -> dict[tuple[str, str], Mapping[str, Any]]:
        path = self._directory / JOURNAL
        records: dict[tuple[str, str], Mapping[str, Any]] = {}
        if not path.exists():
            return records
        lines = path.read_bytes().split(b"\n")
        lines.pop()  # empty after the last newline, or a line that was cut off before it was acknowledged
        for number, line in enumerate(lines, start=1):
            try:
                changes = _parse_line(line)
            except (ValueError, KeyError, TypeError) as error:
                raise UsageError(
                    ErrorCode.TWIN_STATE_CORRUPT, f"line {number} of the journal is damaged, expected its checksum"
                ) from error
            for change in changes:
                if change.value is None:
                    records.pop((change.kind, change.name), None)
                else:
                    records[change.kind, change.name] = change.value
        return records

    def _rewrite(self) -> int:
        path = self._directory / JOURNAL
        temporary = path.with_suffix(".tmp")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, FILE_MODE)
        _write_all(descriptor, _line([Change(kind=k, name=n, value=v) for (k, n), v in self._records.items()]))
        os.fsync(descriptor)
        temporary.rename(path)
        sync_folder(self._directory)
        return descriptor


def _unusable(error: OSError) -> UsageError:
    reason = error.strerror or "unknown reason"
    return UsageError(ErrorCode.USAGE_FILE, f"the state directory cannot be used ({reason.lower()})")


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _line(changes: Sequence[Change]) -> bytes:
    body = {
        "version": STATE_VERSION,
        "changes": [{"kind": change.kind, "name": change.name, "value": change.value} for change in changes],
    }
    text = json.dumps(body, separators=(",", ":")).encode("ascii")
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _parse_line(line: bytes) -> list[Change]:
    checksum, separator, text = line[:8], line[8:9], line[9:]
    if separator != b" " or checksum != b"%08x" % zlib.crc32(text):
        raise ValueError("checksum")
    body = json.loads(text)
    if body["version"] != STATE_VERSION:
        raise UsageError(
            ErrorCode.TWIN_STATE_VERSION, f"the state has another version, expected version {STATE_VERSION}"
        )
    return [Change(kind=one["kind"], name=one["name"], value=one["value"]) for one in body["changes"]]
