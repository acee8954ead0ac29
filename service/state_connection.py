"""Hold SQLite's file open twice: one connection that writes, one that reads while the other waits for the disk."""

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pcrgate.errors import ErrorCode, ServiceError

BUSY_TIMEOUT_S: Final = 10.0
"""Longest wait for another process that writes to the file: the command that makes tokens takes a moment."""

_FILE_MODE: Final = 0o600


@dataclass(frozen=True, slots=True, kw_only=True)
class _Words:
    begin: str
    keep: str
    drop: tuple[str, ...]


_WHOLE: Final = _Words(begin="BEGIN IMMEDIATE", keep="COMMIT", drop=("ROLLBACK",))
_PART: Final = _Words(begin="SAVEPOINT one", keep="RELEASE one", drop=("ROLLBACK TO one", "RELEASE one"))


class StateFile:
    """Own both connections. Threads may share it: writers take turns, and readers do."""

    def __init__(self, path: Path) -> None:
        """Open the file, or make it.

        Raises:
            ServiceError: ``service-store``.
        """
        self._lock: Final = threading.RLock()
        self._reading: Final = threading.Lock()
        self._together = False
        with as_store_failure():
            path.touch(mode=_FILE_MODE)
            self.connection: Final = _opened(path)
        try:
            with as_store_failure():
                self.connection.execute("PRAGMA journal_mode = WAL")
                self.connection.execute("PRAGMA synchronous = FULL")
                self._reader: Final = _opened(path)
        except BaseException:
            self.connection.close()
            raise

    def close(self) -> None:
        """Close both."""
        with self._lock, self._reading:
            self._reader.close()
            self.connection.close()

    def one(self, query: str, *parameters: object) -> tuple[Any, ...] | None:
        """Return the first row of what was committed, or None.

        Raises:
            ServiceError: ``service-store``.
        """
        with self._reading, as_store_failure():
            row: tuple[Any, ...] | None = self._reader.execute(query, parameters).fetchone()
        return row

    def all(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Return the rows of what was committed.

        Raises:
            ServiceError: ``service-store``.
        """
        with self._reading, as_store_failure():
            return self._reader.execute(query, parameters).fetchall()

    @contextmanager
    def writing(self, *, single: bool = False) -> Iterator[None]:
        """Hold one transaction: all of the block, or none of it; within :meth:`together` a part of the common one.

        Args:
            single: whether the block has one statement that writes, and nothing after it that can fail: that is all or
                nothing by itself.

        Raises:
            ServiceError: ``service-store``.
        """
        with self._lock, as_store_failure():
            if self._together and single:
                yield
                return
            words = _PART if self._together else _WHOLE
            self.connection.execute(words.begin)
            try:
                yield
                self.connection.execute(words.keep)
            except BaseException:
                for statement in words.drop:
                    self.connection.execute(statement)
                raise

    def together(self, writes: Sequence[Callable[[], object]]) -> list[object]:
        """Carry out writes with one commit, and return what each returned, or the ServiceError that it raised.

        A full disk ends the whole transaction; writes after that would be committed each by itself, and told as failed.

        Raises:
            ServiceError: ``service-store`` when nothing of it is certain to be there.
        """
        ended: list[object] = []
        with self.writing():
            self._together = True
            try:
                for write in writes:
                    try:
                        ended.append(write())
                    except ServiceError as error:
                        if not self.connection.in_transaction:  # a full disk ended it
                            raise
                        ended.append(error)
            finally:
                self._together = False
        return ended


@contextmanager
def as_store_failure() -> Iterator[None]:
    """Raise what SQLite raises as a ServiceError with ``service-store``."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise ServiceError(
            ErrorCode.SERVICE_STORE, f"the state file answers {type(error).__name__}, expected it to work"
        ) from error


def _opened(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
