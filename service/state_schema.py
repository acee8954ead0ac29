"""The tables of the SQLite state store; a version stands in the file, and another one is refused."""

from typing import Final

SCHEMA_VERSION: Final = 1
"""Version of the tables, in SQLite's ``user_version``."""

TABLES: Final = (
    """CREATE TABLE artifacts (
        digest BLOB PRIMARY KEY, header_digest BLOB, size_bytes INTEGER NOT NULL, created_ms INTEGER NOT NULL
    ) STRICT""",
    """CREATE TABLE manifests (
        epoch INTEGER PRIMARY KEY, digest BLOB NOT NULL, signed BLOB NOT NULL, created_ms INTEGER NOT NULL
    ) STRICT""",
    """CREATE TABLE tokens (
        token_id TEXT PRIMARY KEY, role TEXT NOT NULL, name TEXT NOT NULL, hashed BLOB NOT NULL,
        created_ms INTEGER NOT NULL, revoked INTEGER NOT NULL
    ) STRICT""",
    """CREATE TABLE sessions (
        session_id BLOB PRIMARY KEY, caller TEXT NOT NULL, ticket BLOB NOT NULL, created_ms INTEGER NOT NULL
    ) STRICT""",
    """CREATE TABLE invocations (
        result_id TEXT PRIMARY KEY, caller TEXT NOT NULL, session_id BLOB NOT NULL, request BLOB NOT NULL,
        created_ms INTEGER NOT NULL, state TEXT NOT NULL, result BLOB, receipt BLOB, problem_code TEXT,
        problem_detail TEXT, idempotency_key TEXT, UNIQUE (caller, idempotency_key)
    ) STRICT""",
    "CREATE INDEX invocations_pending ON invocations (created_ms) WHERE state = 'pending'",
    """CREATE TABLE receipts (
        boot_id BLOB NOT NULL, sequence INTEGER NOT NULL, receipt_id TEXT NOT NULL UNIQUE, receipt BLOB NOT NULL,
        UNIQUE (boot_id, sequence)
    ) STRICT""",
)
"""What an empty file gets, in one transaction."""

INDEXES: Final = (
    "CREATE INDEX IF NOT EXISTS invocations_created ON invocations (created_ms)",
    "CREATE INDEX IF NOT EXISTS sessions_created ON sessions (created_ms)",
)
"""What every file gets when it is opened: they change no answer, so files of before are of the same version."""
