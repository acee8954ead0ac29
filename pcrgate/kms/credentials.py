"""Take AWS credentials from whoever has them, when they are needed: they open nothing without attestation."""

import datetime as dt
from dataclasses import dataclass, field
from typing import Final, Protocol

from botocore.credentials import CredentialProvider, CredentialResolver, DeferredRefreshableCredentials

from pcrgate.errors import ErrorCode, ReleaseError

CREDENTIAL_MAX_CHARACTERS: Final = 8192
"""Longest part of a credential taken: session tokens have about 1000 characters, and AWS names no limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TemporaryCredentials:
    """Hold one set of credentials; only the key id and the expiry show.

    Attributes:
        access_key_id: public part.
        secret_access_key: hidden.
        session_token: hidden; None for long-term credentials, which only a laptop has.
        expires_at_s: seconds since the epoch; botocore asks again before.
    """

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(repr=False)
    expires_at_s: int

    def __post_init__(self) -> None:
        parts = (self.access_key_id, self.secret_access_key, self.session_token or "-")
        if not all(
            part.isascii() and part.isprintable() and 0 < len(part) <= CREDENTIAL_MAX_CHARACTERS for part in parts
        ):
            raise ReleaseError(
                ErrorCode.KMS_CREDENTIALS, "a part of the credentials is empty, too long or not printable"
            )


class CredentialsSource(Protocol):
    """Give current credentials: the parent in production, static keys on a laptop."""

    def fetch(self) -> TemporaryCredentials:
        """Return credentials that are valid now.

        Raises:
            ReleaseError: ``kms-credentials``.
        """
        ...


class _SourceProvider(CredentialProvider):
    """Offer a source to botocore, which asks it at first use and again before expiry."""

    METHOD = "pcrgate-parent"
    CANONICAL_NAME = "custom-pcrgate-parent"

    def __init__(self, source: CredentialsSource) -> None:
        super().__init__()
        self._source = source

    def load(self) -> DeferredRefreshableCredentials:
        return DeferredRefreshableCredentials(refresh_using=self._refresh, method=self.METHOD)

    def _refresh(self) -> dict[str, str | None]:
        found = self._source.fetch()
        return {
            "access_key": found.access_key_id,
            "secret_key": found.secret_access_key,
            "token": found.session_token,
            "expiry_time": dt.datetime.fromtimestamp(found.expires_at_s, dt.UTC).isoformat(),
        }


def credential_resolver(source: CredentialsSource) -> CredentialResolver:
    """Return a resolver that knows this source and nothing else: no environment, no file, no metadata service."""
    return CredentialResolver([_SourceProvider(source)])
