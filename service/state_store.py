"""The seam to what a parent remembers: artifacts, manifests, tokens, sessions, results, receipts.

All of it is public metadata or sealed. What a call has taken outlives the process once the call returns. To read one
session or token takes microseconds, so that is done on the event loop; everything else is done on threads.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Protocol

from pcrgate.units import Sha384

RESULTS_PENDING_MAX: Final = 10_000
"""Most invocations without a result: at 1 MiB each the disk holds them; beyond it callers are asked to wait."""


class Role(Enum):
    """Name what a token lets its bearer do."""

    CALLER = "caller"
    PUBLISHER = "publisher"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """Name a sealed file that is complete.

    Attributes:
        digest: SHA-384 over all of its bytes.
        header_digest: SHA-384 over its header, by which enclaves ask for it; None for a file that has no such header.
        size_bytes: its length.
        created_ms: when it was complete, milliseconds since the epoch.
    """

    digest: Sha384
    header_digest: Sha384 | None
    size_bytes: int
    created_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredManifest:
    """Hold a signed manifest as it came.

    Attributes:
        epoch: what its payload says.
        digest: SHA-384 over the signed bytes.
        signed: the bytes.
        created_ms: when it came, milliseconds since the epoch.
    """

    epoch: int
    digest: Sha384
    signed: bytes
    created_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRecord:
    """Hold what is known of a bearer token; not the token.

    Attributes:
        token_id: public part, 16 hex digits.
        role: what it is good for.
        name: whose it is; in logs.
        hashed: HMAC-SHA-256 of the secret part, 32 bytes.
        created_ms: when it was made, milliseconds since the epoch.
        revoked: whether it counts no more.
    """

    token_id: str
    role: Role
    name: str
    hashed: bytes = field(repr=False)
    created_ms: int
    revoked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRecord:
    """Hold the ticket of a session.

    Attributes:
        session_id: 16 to 32 bytes.
        caller: token id of whoever began it.
        ticket: what another enclave resumes it from.
        created_ms: when it was confirmed, milliseconds since the epoch.
    """

    session_id: bytes
    caller: str
    ticket: bytes
    created_ms: int


class ResultState(Enum):
    """Say how far an invocation has come."""

    PENDING = "pending"
    DONE = "done"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """Hold a sealed request, and its sealed result once there is one.

    Attributes:
        result_id: names both, 32 hex digits.
        caller: token id of whoever asked.
        session_id: 16 to 32 bytes.
        request: the sealed request.
        created_ms: when it was taken, milliseconds since the epoch.
        state: how far it has come.
        result: the sealed result when done.
        receipt: of the result or of the refusal, when there is one.
        problem_code: why it was refused; an error code's text.
        problem_detail: in more words.
    """

    result_id: str
    caller: str
    session_id: bytes
    request: bytes
    created_ms: int
    state: ResultState = ResultState.PENDING
    result: bytes | None = None
    receipt: bytes | None = None
    problem_code: str | None = None
    problem_detail: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptRecord:
    """Hold a receipt and what it says of its place; nobody has verified it here.

    Attributes:
        boot_id: whose chain it is in, 32 bytes.
        sequence: its place there, 1 and up.
        receipt_id: SHA-384 of its bytes, 96 hex digits.
        receipt: the bytes.
    """

    boot_id: bytes
    sequence: int
    receipt_id: str
    receipt: bytes


class StateStore(Protocol):
    """Remember. Threads may share one; every method raises ``service-store`` when the store fails."""

    def add_artifact(self, artifact: Artifact) -> None:
        """Remember a complete file; a second time changes nothing."""
        ...

    def artifact(self, digest: Sha384) -> Artifact | None:
        """Return the file with this digest over all of its bytes."""
        ...

    def artifact_by_header(self, header_digest: Sha384) -> Artifact | None:
        """Return the file whose header has this digest; the latest of several."""
        ...

    def add_manifest(self, manifest: StoredManifest) -> None:
        """Remember a manifest; the same bytes a second time change nothing.

        Raises:
            ServiceError: ``service-conflict`` when the epoch has another one, ``service-precondition`` when it is not
                later than the current one.
        """
        ...

    def manifest(self, epoch: int | None = None) -> StoredManifest | None:
        """Return the manifest of an epoch; by default that of the latest."""
        ...

    def manifest_by_digest(self, digest: Sha384) -> StoredManifest | None:
        """Return the manifest with this digest over its signed bytes."""
        ...

    def add_token(self, token: TokenRecord) -> None:
        """Remember a token."""
        ...

    def token(self, token_id: str) -> TokenRecord | None:
        """Return what is known of a token, revoked ones too."""
        ...

    def revoke_token(self, token_id: str) -> bool:
        """Let a token count no more, and return whether there was one that did."""
        ...

    def add_session(self, session: SessionRecord) -> None:
        """Remember a session's ticket; a later one takes the place of an earlier one of the same caller.

        Raises:
            ServiceError: ``service-conflict`` when the session is another caller's.
        """
        ...

    def session(self, session_id: bytes) -> SessionRecord | None:
        """Return a session's ticket."""
        ...

    def end_session(self, session_id: bytes) -> None:
        """Forget a session's ticket."""
        ...

    def begin_invocation(self, invocation: Invocation, *, idempotency_key: str | None = None) -> Invocation:
        """Remember a pending invocation, and return it; or the earlier one that had the same key and the same request.

        Raises:
            ServiceError: ``service-idempotency`` for the same key with another request or session, ``service-busy``
                when too many are pending.
        """
        ...

    def finish_invocation(self, invocation: Invocation, receipt: ReceiptRecord | None = None) -> None:
        """Remember how an invocation ended, and its receipt, both or neither; only the first end counts."""
        ...

    def invocation(self, result_id: str) -> Invocation | None:
        """Return an invocation."""
        ...

    def pending_invocations(self) -> list[Invocation]:
        """Return what was taken and has no result, the oldest first: whoever starts anew sends it once more."""
        ...

    def forget_results(self, before_ms: int, *, most: int) -> int:
        """Drop ended invocations taken before a time, the oldest first; return how many. Receipts stay.

        Args:
            before_ms: milliseconds since the epoch.
            most: most that are dropped now.
        """
        ...

    def forget_sessions(self, before_ms: int, *, most: int) -> int:
        """Drop tickets kept since before a time, the oldest first; return how many.

        Args:
            before_ms: milliseconds since the epoch.
            most: most that are dropped now.
        """
        ...

    def add_receipts(self, receipts: Sequence[ReceiptRecord]) -> None:
        """Remember receipts; in the place of one that is there nothing changes."""
        ...

    def receipt(self, receipt_id: str) -> ReceiptRecord | None:
        """Return a receipt."""
        ...

    def receipts(self, boot_id: bytes, *, after: int = 0, limit: int) -> list[ReceiptRecord]:
        """Return receipts of a boot in their order, beginning after a sequence number."""
        ...

    def forget_receipts(self, boot_id: bytes, *, most: int) -> int:
        """Drop receipts of a boot, the first ones first; return how many.

        Args:
            boot_id: 32 bytes.
            most: most that are dropped now.
        """
        ...

    def boots(self) -> list[bytes]:
        """Return the boots that receipts are known of, the latest first."""
        ...

    def together(self, writes: Sequence[Callable[[], object]]) -> list[object]:
        """Carry out several of this store's writes as one, and return what each returned or the ServiceError it raised.

        Each of them is done whole or not at all; all that are done are there for good once this returns.

        Raises:
            ServiceError: ``service-store`` when none of them counts as done.
        """
        ...

    def close(self) -> None:
        """Give up what is held open."""
        ...
