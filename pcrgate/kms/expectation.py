"""Say beforehand what a release may be: operation, key, encryption context, wrapped blob, length.

An expectation comes from measured or signed data, never from the wire. The client refuses every request to KMS that no
expectation covers, so a blob or a context that the parent swapped does not even reach KMS.
"""

import hashlib
import hmac
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from pcrgate.errors import ErrorCode, ReleaseError, UsageError
from pcrgate.kms.operations import RECIPIENT_OPERATIONS
from pcrgate.units import KeyArn, Sha384

CONTEXT_MAX_BYTES: Final = 8192
"""Largest encryption context, all names and values together. Spec: KMS developer guide, encryption context."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseExpectation:
    """Describe one kind of request that may go to KMS.

    Attributes:
        operation: one of the five that take a recipient, GenerateRandom aside (it needs no expectation).
        key_arn: the key, in full.
        encryption_context: exactly what must be sent; empty only for DeriveSharedSecret, which has none.
        blob_sha384: SHA-384 over the wrapped blob that Decrypt may send; None where another signed value binds it
            (the header digest of sealed weights).
        plaintext_bytes: length the plaintext of Decrypt must have; None accepts any.
    """

    operation: str
    key_arn: KeyArn
    encryption_context: Mapping[str, str] = field(default_factory=dict)
    blob_sha384: Sha384 | None = None
    plaintext_bytes: int | None = None

    def __post_init__(self) -> None:
        operation = RECIPIENT_OPERATIONS.get(self.operation)
        if operation is None or not operation.takes_key:
            raise UsageError(ErrorCode.USAGE_KMS, "an expectation is for an operation that takes a recipient and a key")
        if operation.takes_context is not bool(self.encryption_context):
            raise UsageError(ErrorCode.USAGE_KMS, f"{self.operation} needs an encryption context, or has none")
        if _context_bytes(self.encryption_context) > CONTEXT_MAX_BYTES:
            raise UsageError(ErrorCode.USAGE_KMS, f"an encryption context has at most {CONTEXT_MAX_BYTES} bytes")
        object.__setattr__(self, "encryption_context", MappingProxyType(dict(self.encryption_context)))

    def covers(self, operation: str, parameters: Mapping[str, object]) -> bool:
        """Whether a request is the one expected: same operation, key, context, and blob if that is pinned."""
        blob = parameters.get("CiphertextBlob")
        return (
            operation == self.operation
            and parameters.get("KeyId") == str(self.key_arn)
            and parameters.get("EncryptionContext", {}) == dict(self.encryption_context)
            and (
                self.blob_sha384 is None
                or (type(blob) is bytes and hmac.compare_digest(hashlib.sha384(blob).digest(), self.blob_sha384.digest))
            )
        )


_SCOPED: Final[ContextVar[tuple[ReleaseExpectation, ...]]] = ContextVar("pcrgate_kms_expectations", default=())


@contextmanager
def expecting(*expectations: ReleaseExpectation) -> Iterator[None]:
    """Allow these requests too, for calls made inside the block by the same thread or task.

    For contexts that come into being after the client: a session's, a secret's of a manifest read later.
    """
    token = _SCOPED.set((*_SCOPED.get(), *expectations))
    try:
        yield
    finally:
        _SCOPED.reset(token)


def find_expectation(
    standing: tuple[ReleaseExpectation, ...], operation: str, parameters: Mapping[str, object]
) -> ReleaseExpectation:
    """Return the expectation that covers a request.

    Args:
        standing: the client's own, beside those of ``expecting``.
        operation: as KMS names it.
        parameters: the request's parameters.

    Raises:
        ReleaseError: ``kms-context`` when none covers it.
    """
    for expectation in (*_SCOPED.get(), *standing):
        if expectation.covers(operation, parameters):
            return expectation
    raise ReleaseError(
        ErrorCode.KMS_CONTEXT, f"no expectation covers this {operation}, expected the manifest's context and blob"
    )


def _context_bytes(context: Mapping[str, str]) -> int:
    return sum(len(name.encode()) + len(value.encode()) for name, value in context.items())
