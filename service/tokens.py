"""Make and check bearer tokens. A token is 256 random bits; what is stored is an HMAC under a key beside the store.

So neither a copy of the state file alone nor of the key alone helps anybody to a token.
"""

import hashlib
import hmac
import os
import re
import secrets
from pathlib import Path
from typing import Final

from pcrgate.errors import ErrorCode, ServiceError, UsageError
from service.state_store import Role, StateStore, TokenRecord

KEY_BYTES: Final = 32
"""Length of the key under which tokens are hashed."""

SECRET_BYTES: Final = 32
"""Random bytes in a token; nobody guesses them, so a fast hash is slow enough."""

_TOKEN: Final = re.compile(r"pcrgate_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_FILE_MODE: Final = 0o600


def token_key(path: Path) -> bytes:
    """Return the key of the tokens; a file that is not there is made, for its owner only.

    Raises:
        UsageError: ``service-settings`` when it cannot be read or has another length.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _FILE_MODE)
    except FileExistsError:
        pass
    except OSError as error:
        raise UsageError(
            ErrorCode.SERVICE_SETTINGS, "the key of the tokens cannot be made, expected a place"
        ) from error
    else:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
            file.flush()
            os.fsync(descriptor)
    try:
        key = path.read_bytes()
    except OSError as error:
        raise UsageError(ErrorCode.SERVICE_SETTINGS, "the key of the tokens cannot be read, expected a file") from error
    if len(key) != KEY_BYTES:
        raise UsageError(ErrorCode.SERVICE_SETTINGS, f"the key of the tokens has not {KEY_BYTES} bytes")
    return key


class Tokens:
    """Make tokens and say whose they are."""

    def __init__(self, state: StateStore, key: bytes) -> None:
        """Take where tokens are remembered, and the key, 32 bytes."""
        self._state: Final = state
        self._key: Final = key

    def make(self, role: Role, name: str, *, now_ms: int) -> str:
        """Return a new token; it is shown this once.

        Args:
            role: what it is good for.
            name: whose it is, for logs: 1 to 64 letters, digits, dots, underscores and hyphens.
            now_ms: milliseconds since the epoch.

        Raises:
            UsageError: ``service-settings`` for a name of another form.
        """
        if not _NAME.fullmatch(name):
            raise UsageError(
                ErrorCode.SERVICE_SETTINGS, "a token's name is 1 to 64 letters, digits, dots, underscores and hyphens"
            )
        token_id, secret = secrets.token_hex(8), secrets.token_urlsafe(SECRET_BYTES)
        self._state.add_token(
            TokenRecord(
                token_id=token_id, role=role, name=name, hashed=self._hashed(token_id, secret), created_ms=now_ms
            )
        )
        return f"pcrgate_{token_id}_{secret}"

    def check(self, authorization: str | None) -> TokenRecord:
        """Return whose token a request carries.

        Args:
            authorization: the header's value.

        Raises:
            ServiceError: ``service-credentials``, whatever is wrong with it.
        """
        scheme, _, token = (authorization or "").partition(" ")
        match = _TOKEN.fullmatch(token.strip())
        if scheme.lower() == "bearer" and match is not None:
            token_id, secret = match.groups()
            record = self._state.token(token_id)
            if (
                record is not None
                and hmac.compare_digest(record.hashed, self._hashed(token_id, secret))
                and not record.revoked
            ):
                return record
        raise ServiceError(ErrorCode.SERVICE_CREDENTIALS, "no bearer token that is known, expected one")

    def _hashed(self, token_id: str, secret: str) -> bytes:
        return hmac.digest(self._key, f"pcrgate token v1 {token_id} {secret}".encode(), hashlib.sha256)
