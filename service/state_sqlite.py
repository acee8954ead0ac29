"""Remember in one SQLite file: a write-ahead log that is synced before any call returns."""

from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

from pcrgate.errors import ErrorCode, ServiceError
from pcrgate.units import Sha384
from service.state_connection import StateFile
from service.state_schema import INDEXES, SCHEMA_VERSION, TABLES
from service.state_store import (
    RESULTS_PENDING_MAX,
    Artifact,
    Invocation,
    ReceiptRecord,
    ResultState,
    Role,
    SessionRecord,
    StoredManifest,
    TokenRecord,
)

_INVOCATION: Final = ", ".join(field.name for field in fields(Invocation))
_RECEIPT: Final = ", ".join(field.name for field in fields(ReceiptRecord))


class SqliteStateStore:
    """Hold one file open."""

    def __init__(self, path: Path) -> None:
        """Open the file, or make it.

        Args:
            path: the file; its directory must exist.

        Raises:
            ServiceError: ``service-store`` when it cannot be opened or was written by another version.
        """
        self._file: Final = StateFile(path)
        self._connection: Final = self._file.connection
        try:
            self._prepare()
        except BaseException:
            self._file.close()
            raise

    def _prepare(self) -> None:
        with self._file.writing():
            (version,) = self._connection.execute("PRAGMA user_version").fetchone()
            if version == 0:
                for statement in TABLES:
                    self._connection.execute(statement)
                self._connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            elif version != SCHEMA_VERSION:
                raise ServiceError(
                    ErrorCode.SERVICE_STORE, f"the state is of version {version}, expected {SCHEMA_VERSION}"
                )
            for statement in INDEXES:
                self._connection.execute(statement)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def together(self, writes: Sequence[Callable[[], object]]) -> list[object]:
        """Carry out writes with one commit.

        Raises:
            ServiceError: ``service-store``.
        """
        return self._file.together(writes)

    def add_artifact(self, artifact: Artifact) -> None:
        """Remember a complete file."""
        header = None if artifact.header_digest is None else artifact.header_digest.digest
        with self._file.writing():
            self._connection.execute(
                "INSERT OR IGNORE INTO artifacts VALUES (?, ?, ?, ?)",
                (artifact.digest.digest, header, artifact.size_bytes, artifact.created_ms),
            )

    def artifact(self, digest: Sha384) -> Artifact | None:
        """Return the file with this digest."""
        return self._artifact("digest = ?", digest)

    def artifact_by_header(self, header_digest: Sha384) -> Artifact | None:
        """Return the file whose header has this digest."""
        return self._artifact("header_digest = ?", header_digest)

    def _artifact(self, condition: str, named: Sha384) -> Artifact | None:
        query = f"SELECT * FROM artifacts WHERE {condition} ORDER BY rowid DESC LIMIT 1"  # noqa: S608 - our own words
        row = self._file.one(query, named.digest)
        if row is None:
            return None
        digest, header, size_bytes, created_ms = row
        return Artifact(
            digest=Sha384(digest),
            header_digest=None if header is None else Sha384(header),
            size_bytes=size_bytes,
            created_ms=created_ms,
        )

    def add_manifest(self, manifest: StoredManifest) -> None:
        """Remember a manifest.

        Raises:
            ServiceError: ``service-conflict``, ``service-precondition``.
        """
        with self._file.writing():
            row = self._connection.execute("SELECT digest FROM manifests WHERE epoch = ?", (manifest.epoch,)).fetchone()
            if row is not None:
                if row[0] != manifest.digest.digest:
                    raise ServiceError(
                        ErrorCode.SERVICE_CONFLICT, f"epoch {manifest.epoch} has another manifest, expected the same"
                    )
                return
            (latest,) = self._connection.execute("SELECT max(epoch) FROM manifests").fetchone()
            if latest is not None and manifest.epoch < latest:
                raise ServiceError(
                    ErrorCode.SERVICE_PRECONDITION,
                    f"epoch {manifest.epoch} is before the current one, expected more than {latest}",
                )
            self._connection.execute(
                "INSERT INTO manifests VALUES (?, ?, ?, ?)",
                (manifest.epoch, manifest.digest.digest, manifest.signed, manifest.created_ms),
            )

    def manifest(self, epoch: int | None = None) -> StoredManifest | None:
        """Return the manifest of an epoch, or the latest."""
        return self._manifest("epoch = coalesce(?, epoch)", epoch)

    def manifest_by_digest(self, digest: Sha384) -> StoredManifest | None:
        """Return the manifest with this digest."""
        return self._manifest("digest = ?", digest.digest)

    def _manifest(self, condition: str, value: int | bytes | None) -> StoredManifest | None:
        query = f"SELECT * FROM manifests WHERE {condition} ORDER BY epoch DESC LIMIT 1"  # noqa: S608 - our own words
        row = self._file.one(query, value)
        if row is None:
            return None
        found, digest, signed, created_ms = row
        return StoredManifest(epoch=found, digest=Sha384(digest), signed=signed, created_ms=created_ms)

    def add_token(self, token: TokenRecord) -> None:
        """Remember a token."""
        with self._file.writing():
            self._connection.execute(
                "INSERT INTO tokens VALUES (?, ?, ?, ?, ?, ?)",
                (token.token_id, token.role.value, token.name, token.hashed, token.created_ms, int(token.revoked)),
            )

    def token(self, token_id: str) -> TokenRecord | None:
        """Return what is known of a token."""
        row = self._file.one("SELECT role, name, hashed, created_ms, revoked FROM tokens WHERE token_id = ?", token_id)
        if row is None:
            return None
        role, name, hashed, created_ms, revoked = row
        return TokenRecord(
            token_id=token_id, role=Role(role), name=name, hashed=hashed, created_ms=created_ms, revoked=bool(revoked)
        )

    def revoke_token(self, token_id: str) -> bool:
        """Let a token count no more."""
        with self._file.writing():
            changed = self._connection.execute(
                "UPDATE tokens SET revoked = 1 WHERE token_id = ? AND revoked = 0", (token_id,)
            )
            return changed.rowcount == 1

    def add_session(self, session: SessionRecord) -> None:
        """Remember a session's ticket.

        Raises:
            ServiceError: ``service-conflict``.
        """
        with self._file.writing():
            changed = self._connection.execute(
                "INSERT INTO sessions VALUES (?, ?, ?, ?) ON CONFLICT (session_id) DO UPDATE"
                " SET ticket = excluded.ticket WHERE caller = excluded.caller",
                (session.session_id, session.caller, session.ticket, session.created_ms),
            )
            if changed.rowcount != 1:
                raise ServiceError(ErrorCode.SERVICE_CONFLICT, "the session is another caller's, expected a new one")

    def session(self, session_id: bytes) -> SessionRecord | None:
        """Return a session's ticket."""
        row = self._file.one("SELECT caller, ticket, created_ms FROM sessions WHERE session_id = ?", session_id)
        if row is None:
            return None
        caller, ticket, created_ms = row
        return SessionRecord(session_id=session_id, caller=caller, ticket=ticket, created_ms=created_ms)

    def end_session(self, session_id: bytes) -> None:
        """Forget a session's ticket."""
        with self._file.writing():
            self._connection.execute("DELETE FROM sessions WHERE session_id = ?", (session_id,))

    def begin_invocation(self, invocation: Invocation, *, idempotency_key: str | None = None) -> Invocation:
        """Remember a pending invocation, or return the one that had the same key.

        Raises:
            ServiceError: ``service-idempotency``, ``service-busy``.
        """
        with self._file.writing(single=True):
            row = self._connection.execute(
                f"SELECT {_INVOCATION} FROM invocations WHERE caller = ? AND idempotency_key = ?",  # noqa: S608 - our names
                (invocation.caller, idempotency_key),
            ).fetchone()
            if row is not None:
                earlier = _invocation(row)
                if (earlier.request, earlier.session_id) != (invocation.request, invocation.session_id):
                    raise ServiceError(
                        ErrorCode.SERVICE_IDEMPOTENCY, "the key was used for another request, expected a new key"
                    )
                return earlier
            (pending,) = self._connection.execute("SELECT count(*) FROM invocations WHERE state = 'pending'").fetchone()
            if pending >= RESULTS_PENDING_MAX:
                raise ServiceError(
                    ErrorCode.SERVICE_BUSY, f"{pending} invocations wait, expected fewer than {RESULTS_PENDING_MAX}"
                )
            self._connection.execute(
                "INSERT INTO invocations (result_id, caller, session_id, request, created_ms, state, idempotency_key)"
                " VALUES (?, ?, ?, ?, ?, 'pending', ?)",
                (
                    invocation.result_id,
                    invocation.caller,
                    invocation.session_id,
                    invocation.request,
                    invocation.created_ms,
                    idempotency_key,
                ),
            )
        return invocation

    def finish_invocation(self, invocation: Invocation, receipt: ReceiptRecord | None = None) -> None:
        """Remember how an invocation ended, and its receipt."""
        with self._file.writing():
            self._connection.execute(
                "UPDATE invocations SET state = ?, result = ?, receipt = ?, problem_code = ?, problem_detail = ?"
                " WHERE result_id = ? AND state = 'pending'",
                (
                    invocation.state.value,
                    invocation.result,
                    invocation.receipt,
                    invocation.problem_code,
                    invocation.problem_detail,
                    invocation.result_id,
                ),
            )
            if receipt is not None:
                self._insert_receipts([receipt])

    def invocation(self, result_id: str) -> Invocation | None:
        """Return an invocation."""
        row = self._file.one(f"SELECT {_INVOCATION} FROM invocations WHERE result_id = ?", result_id)  # noqa: S608 - our names
        return None if row is None else _invocation(row)

    def pending_invocations(self) -> list[Invocation]:
        """Return what has no result, the oldest first."""
        query = f"SELECT {_INVOCATION} FROM invocations WHERE state = 'pending' ORDER BY created_ms, rowid"  # noqa: S608 - our names
        return [_invocation(row) for row in self._file.all(query)]

    def forget_results(self, before_ms: int, *, most: int) -> int:
        """Drop what ended and was taken before a time."""
        return self._forget("invocations", "state <> 'pending'", before_ms, most)

    def forget_sessions(self, before_ms: int, *, most: int) -> int:
        """Drop tickets kept since before a time."""
        return self._forget("sessions", "TRUE", before_ms, most)

    def _forget(self, table: str, condition: str, before_ms: int, most: int) -> int:
        oldest = f"SELECT rowid FROM {table} WHERE {condition} AND created_ms < ? ORDER BY created_ms LIMIT ?"  # noqa: S608 - our own words
        statement = f"DELETE FROM {table} WHERE rowid IN ({oldest})"  # noqa: S608 - our own words
        with self._file.writing():
            return self._connection.execute(statement, (before_ms, most)).rowcount

    def add_receipts(self, receipts: Sequence[ReceiptRecord]) -> None:
        """Remember receipts."""
        with self._file.writing():
            self._insert_receipts(receipts)

    def _insert_receipts(self, receipts: Sequence[ReceiptRecord]) -> None:
        self._connection.executemany(
            "INSERT OR IGNORE INTO receipts VALUES (?, ?, ?, ?)",
            [(one.boot_id, one.sequence, one.receipt_id, one.receipt) for one in receipts],
        )

    def receipt(self, receipt_id: str) -> ReceiptRecord | None:
        """Return a receipt."""
        row = self._file.one(f"SELECT {_RECEIPT} FROM receipts WHERE receipt_id = ?", receipt_id)  # noqa: S608 - our names
        return None if row is None else _receipt(row)

    def receipts(self, boot_id: bytes, *, after: int = 0, limit: int) -> list[ReceiptRecord]:
        """Return receipts of a boot in their order."""
        query = f"SELECT {_RECEIPT} FROM receipts WHERE boot_id = ? AND sequence > ? ORDER BY sequence LIMIT ?"  # noqa: S608 - our names
        return [_receipt(row) for row in self._file.all(query, boot_id, after, limit)]

    def forget_receipts(self, boot_id: bytes, *, most: int) -> int:
        """Drop receipts of a boot, the first ones first."""
        first = "SELECT rowid FROM receipts WHERE boot_id = ? ORDER BY sequence LIMIT ?"
        with self._file.writing():
            return self._connection.execute(
                f"DELETE FROM receipts WHERE rowid IN ({first})",  # noqa: S608 - our own words
                (boot_id, most),
            ).rowcount

    def boots(self) -> list[bytes]:
        """Return the boots that receipts are known of, the latest first."""
        return [
            row[0] for row in self._file.all("SELECT boot_id FROM receipts GROUP BY boot_id ORDER BY max(rowid) DESC")
        ]


def _invocation(row: tuple[Any, ...]) -> Invocation:
    names = [field.name for field in fields(Invocation)]
    values = dict(zip(names, row, strict=True))
    return Invocation(**{**values, "state": ResultState(values["state"])})


def _receipt(row: tuple[Any, ...]) -> ReceiptRecord:
    boot_id, sequence, receipt_id, receipt = row
    return ReceiptRecord(boot_id=boot_id, sequence=sequence, receipt_id=receipt_id, receipt=receipt)
