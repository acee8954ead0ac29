"""Shape what REST takes and gives: JSON with base64 and hex, an example for each; pydantic stays on this side."""

from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

HANDSHAKE_MAX_CHARACTERS: Final = 22_000
"""Longest base64 of a handshake message: 16 KiB."""

RECORD_MAX_CHARACTERS: Final = 1_400_000
"""Longest base64 of a sealed request or result: 1 MiB and what sealing adds."""

_EXAMPLE = "cGNyZ2F0ZQ=="
_ID = "5f1e0c1a9b3d4e6f8a7b6c5d4e3f2a1b"
_DIGEST = "ab" * 48

Handshake = Annotated[str, Field(min_length=4, max_length=HANDSHAKE_MAX_CHARACTERS, examples=[_EXAMPLE])]
Sealed = Annotated[str, Field(min_length=4, max_length=RECORD_MAX_CHARACTERS, examples=[_EXAMPLE])]
Receipt = Annotated[str, Field(description="COSE_Sign1 in base64; docs/protocol.md, Receipts.", examples=[_EXAMPLE])]
SessionId = Annotated[str, Field(description="16 bytes in hex.", examples=[_ID])]


class Shape(BaseModel):
    """Refuse fields that are unknown, and values of another type."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Evidence(Shape):
    """Hold a document made for the caller's nonce, and the identity statement that it commits to."""

    document: Annotated[str, Field(description="Attestation document in base64.", examples=[_EXAMPLE])]
    identity: Annotated[str, Field(description="Identity statement in base64.", examples=[_EXAMPLE])]


class Hello(Shape):
    """Carry an agent's sealed hello."""

    hello: Handshake
    resumes: Annotated[str | None, Field(description="Id of a session to resume.", examples=[_ID])] = None


class Welcome(Shape):
    """Carry the enclave's signed answer."""

    response: Handshake
    receipt: Receipt


class Confirmation(Shape):
    """Carry the agent's signed confirmation, which becomes the session's ticket."""

    ticket: Handshake


class OpenSession(Shape):
    """Say that a session is open."""

    session_id: SessionId
    receipt: Receipt


class SealedRecord(Shape):
    """Carry a record of a session, sealed by the agent."""

    record: Sealed


class EndedSession(Shape):
    """Say that a session is over."""

    receipt: Receipt


class Refusal(Shape):
    """Say why an invocation was not carried out."""

    code: Annotated[str, Field(description="One of docs/errors.md.", examples=["session-unknown"])]
    detail: str


class Result(Shape):
    """Hold how far an invocation has come, and its sealed result."""

    result_id: Annotated[str, Field(examples=[_ID])]
    state: Annotated[str, Field(description="pending, done or refused.", examples=["done"])]
    record: Annotated[str | None, Field(description="Sealed result in base64, when done.")] = None
    receipt: Annotated[str | None, Field(description="Of the result or the refusal, in base64.")] = None
    problem: Refusal | None = None


class ReceiptEntry(Shape):
    """Hold a receipt with its place; both are claims of the parent until the receipt is verified."""

    boot_id: Annotated[str, Field(description="32 bytes in hex.")]
    sequence: int
    receipt_id: Annotated[str, Field(description="SHA-384 of the receipt in hex.", examples=[_DIGEST])]
    receipt: Receipt


class ReceiptList(Shape):
    """Hold receipts of one boot in their order."""

    boot_id: Annotated[str | None, Field(description="32 bytes in hex; null before the first receipt.")]
    receipts: list[ReceiptEntry]
    next_after: Annotated[int, Field(description="What to say as ``after`` to go on.")]


class ArtifactEntry(Shape):
    """Describe a sealed file that is complete."""

    digest: Annotated[str, Field(description="SHA-384 of all bytes in hex.", examples=[_DIGEST])]
    header_digest: Annotated[str | None, Field(description="SHA-384 of its header in hex, as manifests name it.")]
    size_bytes: int


class UploadState(Shape):
    """Say how far an upload has come."""

    received_bytes: Annotated[int, Field(description="Where the next part begins.")]


class ManifestEntry(Shape):
    """Describe a manifest that was taken."""

    epoch: int
    digest: Annotated[str, Field(description="SHA-384 of the signed bytes in hex.", examples=[_DIGEST])]


class EnclaveEntry(Shape):
    """Say what the parent saw of an enclave; unverified: agents verify evidence themselves."""

    phase: Annotated[str, Field(examples=["live"])]
    failure: str | None = None
    module_id: str | None = None
    unverified_pcrs: Annotated[dict[str, str], Field(description="Register to hex; zero ones are left out.")] = {}
    boot_id: Annotated[str | None, Field(description="32 bytes in hex.")] = None
    manifest_digest: str | None = None
    manifest_epoch: Annotated[int | None, Field(description="Null when the parent has no such manifest.")] = None


class EnclaveList(Shape):
    """List the enclaves behind this service."""

    enclaves: list[EnclaveEntry]


class Health(Shape):
    """Say whether the service is there, and why it is not ready."""

    status: Annotated[str, Field(examples=["ok"])]


class ProblemShape(BaseModel):
    """Hold problem details. Spec: RFC 9457, 3.1."""

    type: Annotated[str, Field(examples=["urn:pcrgate:error:service-rate"])]
    title: str
    status: int
    detail: str
    code: Annotated[str, Field(examples=["service-rate"])]
    advice: str
    instance: str
    receipt: str | None = None
