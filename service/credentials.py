"""Hand the enclave the parent's AWS credentials: they sign its requests to KMS and open nothing by themselves."""

import time
from dataclasses import dataclass, field
from typing import Final, Protocol

import boto3

from pcrgate.errors import ErrorCode, UsageError
from pcrgate.wire.messages import CredentialsAnswer

LIFETIME_S: Final = 900
"""How long the enclave keeps what it was given: it asks again well before the role's own credentials end."""


class CredentialsProvider(Protocol):
    """Give credentials."""

    def current(self) -> CredentialsAnswer:
        """Return credentials that are valid now."""
        ...


class ChainCredentials:
    """Take credentials from boto3's chain: the instance role in production."""

    def __init__(self) -> None:
        """Prepare the chain; nothing is asked yet."""
        self._session: Final = boto3.Session()

    def current(self) -> CredentialsAnswer:
        """Return credentials that are valid now.

        Raises:
            UsageError: ``usage-credentials`` when the chain has none.
        """
        found = self._session.get_credentials()
        if found is None:
            raise UsageError(ErrorCode.USAGE_CREDENTIALS, "no AWS credentials were found, expected the instance role's")
        frozen = found.get_frozen_credentials()
        return CredentialsAnswer(
            access_key_id=frozen.access_key or "",
            secret_access_key=frozen.secret_key or "",
            session_token=frozen.token,
            expires_at_s=int(time.time()) + LIFETIME_S,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedCredentials:
    """Hold credentials of a laptop's twin.

    Attributes:
        answer: what is handed out.
    """

    answer: CredentialsAnswer = field(repr=False)

    def current(self) -> CredentialsAnswer:
        """Return the same credentials every time."""
        return self.answer
