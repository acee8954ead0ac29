"""Keep the wrapping key pairs of GetParametersForImport until their material arrives; in memory, for 24 hours."""

import threading
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric import rsa

VALID_MS: Final = 86_400_000
"""How long parameters are valid. Spec: KMS API, GetParametersForImport (24 hours)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WrappingKey:
    """Hold one set of import parameters.

    Attributes:
        key_arn: the key it was made for.
        algorithm: WrappingAlgorithm of the request.
        private_key: opens what is imported.
        valid_to_ms: when it expires.
    """

    key_arn: str
    algorithm: str
    private_key: rsa.RSAPrivateKey
    valid_to_ms: int


class WrappingKeys:
    """Map import token to wrapping key."""

    def __init__(self) -> None:
        self._by_token: dict[bytes, WrappingKey] = {}
        self._lock = threading.Lock()

    def add(self, token: bytes, key: WrappingKey) -> None:
        """Remember a wrapping key."""
        with self._lock:
            self._by_token[token] = key

    def of(self, token: bytes) -> WrappingKey | None:
        """Return the wrapping key of a token, or None."""
        with self._lock:
            return self._by_token.get(token)
