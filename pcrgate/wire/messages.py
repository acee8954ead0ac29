"""Type every message: one frozen class a frame type, encoded and decoded by the same description of its fields.

A payload is one CBOR map in deterministic encoding with exactly the fields of its class. What sessions, receipts and
evidence hold is opaque here: those parts read it themselves.
Spec: docs/enclave.md, "The wire".
"""

import dataclasses
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Final

from pcrgate.attestation.cbor import CborValue, decode, encode
from pcrgate.attestation.cose import DOCUMENT_MAX_BYTES
from pcrgate.envelope.session_fields import MESSAGE_MAX_BYTES
from pcrgate.envelope.session_messages import NONCE_MAX_BYTES
from pcrgate.errors import CborError, ErrorCode, WireError
from pcrgate.units import NONCE_MIN_BYTES
from pcrgate.wire.fields import Count, Field, Maybe, Octets, Several, Tally, Text, refused
from pcrgate.wire.frames import FrameHead, FrameType, encode_frame
from pcrgate.wire.limits import (
    COUNTERS_MAX,
    MANIFEST_MAX_BYTES,
    RECEIPT_MAX_BYTES,
    RECEIPTS_MAX,
    RECORD_MAX_BYTES,
)

_CODE: Final = Text(64, r"[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusRequest:
    """Ask in which phase the enclave is."""

    KIND: ClassVar = FrameType.STATUS


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusAnswer:
    """Say in which phase the enclave is, and what it counts.

    Attributes:
        phase: name of the phase.
        failure: code of the error that ended it, None while it has not failed.
        counters: declared counters, in coarse buckets.
    """

    KIND: ClassVar = FrameType.STATUS_ANSWER
    phase: Annotated[str, Text(16, r"[a-z]+")]
    failure: Annotated[str | None, Maybe(_CODE)]
    counters: Annotated[Mapping[str, int], Tally(COUNTERS_MAX)]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceRequest:
    """Ask for a fresh document.

    Attributes:
        nonce: the agent's, 16 to 64 bytes: what a hello can name.
    """

    KIND: ClassVar = FrameType.EVIDENCE
    nonce: Annotated[bytes, Octets(NONCE_MIN_BYTES, NONCE_MAX_BYTES)]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceAnswer:
    """Hand over a document made for the nonce, and the statement that it commits to.

    Attributes:
        document: the attestation document.
        identity: the identity statement whose commitment is the document's ``user_data``.
    """

    KIND: ClassVar = FrameType.EVIDENCE_ANSWER
    document: Annotated[bytes, Octets(1, DOCUMENT_MAX_BYTES)]
    identity: Annotated[bytes, Octets(1, MESSAGE_MAX_BYTES)]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOpen:
    """Carry an agent's hello for a new session."""

    KIND: ClassVar = FrameType.SESSION_OPEN
    hello: Annotated[bytes, Octets(1, MESSAGE_MAX_BYTES)]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionResume:
    """Carry an agent's hello for a session that began on another boot, and the ticket that the parent kept."""

    KIND: ClassVar = FrameType.SESSION_RESUME
    hello: Annotated[bytes, Octets(1, MESSAGE_MAX_BYTES)]
    ticket: Annotated[bytes, Octets(1, MESSAGE_MAX_BYTES)]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOpenAnswer:
    """Carry the enclave's signed answer to a hello.

    Attributes:
        response: for the agent.
        receipt: of the release.
    """

    KIND: ClassVar = FrameType.SESSION_OPEN_ANSWER
    response: Annotated[bytes, Octets(1, MESSAGE_MAX_BYTES)]
    receipt: Annotated[bytes, Octets(1, RECEIPT_MAX_BYTES)]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionResumeAnswer:
    """Carry the enclave's signed answer to a hello that resumes.

    Attributes:
        response: for the agent.
        receipt: of the release.
    """

    KIND: ClassVar = FrameType.SESSION_RESUME_ANSWER
    response: Annotated[bytes, Octets(1, MESSAGE_MAX_BYTES)]
    receipt: Annotated[bytes, Octets(1, RECEIPT_MAX_BYTES)]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionConfirm:
    """Carry an agent's signed confirmation, which is the ticket that the parent keeps."""

    KIND: ClassVar = FrameType.SESSION_CONFIRM
    ticket: Annotated[bytes, Octets(1, MESSAGE_MAX_BYTES)]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionConfirmAnswer:
    """Say that a session is open."""

    KIND: ClassVar = FrameType.SESSION_CONFIRM_ANSWER
    session_id: Annotated[bytes, Octets(16, 16)]
    receipt: Annotated[bytes, Octets(1, RECEIPT_MAX_BYTES)]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionEnd:
    """Carry the sealed word of an agent that its session is over."""

    KIND: ClassVar = FrameType.SESSION_END
    record: Annotated[bytes, Octets(1, MESSAGE_MAX_BYTES)]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionEndAnswer:
    """Say that a session is over and its keys overwritten."""

    KIND: ClassVar = FrameType.SESSION_END_ANSWER
    receipt: Annotated[bytes, Octets(1, RECEIPT_MAX_BYTES)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoke:
    """Carry a sealed request to a workload."""

    KIND: ClassVar = FrameType.INVOKE
    record: Annotated[bytes, Octets(1, RECORD_MAX_BYTES)]


@dataclass(frozen=True, slots=True, kw_only=True)
class InvokeAnswer:
    """Carry a sealed result and its receipt."""

    KIND: ClassVar = FrameType.INVOKE_ANSWER
    record: Annotated[bytes, Octets(1, RECORD_MAX_BYTES)]
    receipt: Annotated[bytes, Octets(1, RECEIPT_MAX_BYTES)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptsRequest:
    """Ask for receipts of this boot from a sequence number on."""

    KIND: ClassVar = FrameType.RECEIPTS
    first: Annotated[int, Count()]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptsAnswer:
    """Hand over receipts in order, without a gap."""

    KIND: ClassVar = FrameType.RECEIPTS_ANSWER
    receipts: Annotated[tuple[bytes, ...], Several(Octets(1, RECEIPT_MAX_BYTES), RECEIPTS_MAX)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """Ask the enclave to take no new session and let the open ones finish."""

    KIND: ClassVar = FrameType.DRAIN


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainAnswer:
    """Say that the enclave drains."""

    KIND: ClassVar = FrameType.DRAIN_ANSWER


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobRequest:
    """Ask the parent for the bytes of a sealed file from an offset on.

    Attributes:
        sha384: the file's digest, as the manifest names it; where to find it, not what to trust.
        offset: first byte wanted.
    """

    KIND: ClassVar = FrameType.BLOB
    sha384: Annotated[bytes, Octets(48, 48)]
    offset: Annotated[int, Count()]


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobAnswer:
    """Say how many bytes follow on this connection, unframed, until its end.

    Attributes:
        follows_bytes: how many; bounded by whoever reads, not by this number.
    """

    KIND: ClassVar = FrameType.BLOB_ANSWER
    follows_bytes: Annotated[int, Count()]


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialsRequest:
    """Ask the parent for AWS credentials."""

    KIND: ClassVar = FrameType.CREDENTIALS


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialsAnswer:
    """Hand over AWS credentials; useless without attestation, hidden all the same.

    Attributes:
        access_key_id: public part.
        secret_access_key: hidden.
        session_token: hidden; None for long-term credentials, which only a laptop has.
        expires_at_s: seconds since the epoch.
    """

    KIND: ClassVar = FrameType.CREDENTIALS_ANSWER
    access_key_id: Annotated[str, Text(128)]
    secret_access_key: Annotated[str, Text(8192)] = field(repr=False)
    session_token: Annotated[str | None, Maybe(Text(8192))] = field(repr=False)
    expires_at_s: Annotated[int, Count(1 << 40)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestRequest:
    """Ask the parent for the release manifest."""

    KIND: ClassVar = FrameType.MANIFEST


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestAnswer:
    """Hand over a signed manifest; nothing about it is trusted before it is verified."""

    KIND: ClassVar = FrameType.MANIFEST_ANSWER
    manifest: Annotated[bytes, Octets(1, MANIFEST_MAX_BYTES)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Refuse: the code says why, the receipt proves that it was refused.

    Attributes:
        code: of the error family.
        detail: its message; public values only.
        receipt: of the refusal; None where nobody has a right to one yet.
    """

    KIND: ClassVar = FrameType.PROBLEM
    code: Annotated[str, _CODE]
    detail: Annotated[str, Text(512)]
    receipt: Annotated[bytes | None, Maybe(Octets(1, RECEIPT_MAX_BYTES))] = None


Message = (
    StatusRequest | StatusAnswer | EvidenceRequest | EvidenceAnswer | SessionOpen | SessionOpenAnswer
    | SessionConfirm | SessionConfirmAnswer | SessionResume | SessionResumeAnswer | SessionEnd | SessionEndAnswer
    | Invoke | InvokeAnswer | ReceiptsRequest | ReceiptsAnswer | Drain | DrainAnswer
    | BlobRequest | BlobAnswer | CredentialsRequest | CredentialsAnswer | ManifestRequest | ManifestAnswer | Problem
)  # fmt: skip
"""Every message."""

CLASSES: Final[Mapping[FrameType, type[Message]]] = {kind.KIND: kind for kind in typing.get_args(Message)}
"""The class of each frame type."""


def _fields_of(kind: type[Message]) -> dict[str, Field]:
    hints = typing.get_type_hints(kind, include_extras=True)
    return {entry.name: hints[entry.name].__metadata__[0] for entry in dataclasses.fields(kind)}


_FIELDS: Final = {kind: _fields_of(kind) for kind in CLASSES.values()}


def encode_message(message: Message) -> bytes:
    """Return the frame of a message.

    Raises:
        WireError: ``wire-message`` for a value that its field does not take, ``wire-frame`` beyond the type's limit.
    """
    fields = _FIELDS[type(message)]
    values: dict[int | str, CborValue] = {
        name: rule.check(name, getattr(message, name)) for name, rule in fields.items()
    }
    return encode_frame(message.KIND, encode(values))


def decode_message(head: FrameHead, payload: bytes) -> Message:
    """Return the message of a frame.

    Args:
        head: the frame's, as parsed.
        payload: exactly as long as the head says.

    Raises:
        WireError: ``wire-message`` for anything but the one encoding of a message of this type.
    """
    if len(payload) != head.payload_bytes:
        raise WireError(ErrorCode.WIRE_FRAME, "the payload has another length than its head says")
    try:
        values = decode(payload)
        canonical = encode(values) == payload
    except CborError as error:
        raise refused(f"the payload is not CBOR as we write it ({error.code.code})") from error
    if type(values) is not dict or not canonical:
        raise refused("the payload is not one map in deterministic encoding")
    kind = CLASSES[head.kind]
    fields = _FIELDS[kind]
    if values.keys() != fields.keys():
        raise refused(f"a {head.kind.name.lower()} has other fields than {sorted(fields)}")
    checked: dict[str, Any] = {name: rule.check(name, values[name]) for name, rule in fields.items()}
    held: dict[str, Any] = {name: tuple(value) if type(value) is list else value for name, value in checked.items()}
    return kind(**held)
