"""Record evidence: a document with what it was asked for, what it says and when, as one more evidence vector.

The JSON is that of the project's own vectors, so a recording can be laid beside them and is judged like them.

Spec: tests/vectors/evidence/README.md (the schema); nsm-api ``src/api/mod.rs`` (Attestation).
"""

import base64
import json
from dataclasses import dataclass
from typing import Final, Protocol

from pcrgate.attestation.anchors import AWS_ROOTS, Roots
from pcrgate.attestation.cbor import decode, encode
from pcrgate.attestation.cose import DOCUMENT_MAX_BYTES
from pcrgate.attestation.evidence import EnclaveEvidence, VerifiedEvidence
from pcrgate.attestation.verifier import MAX_AGE_S, MAX_FUTURE_SKEW_S, Live, verify
from pcrgate.errors import CborError, ErrorCode, NsmError
from pcrgate.units import FIELD_MAX_BYTES, Sha384

ANSWER_MAX_BYTES: Final = DOCUMENT_MAX_BYTES + 64
"""Longest answer read: the longest document and the two map heads and names around it."""

_NITROTPM_NAMED: Final = (4, 7, 12)


class Device(Protocol):
    """Answer raw CBOR requests, as the NSM does at its device boundary."""

    def request(self, data: bytes) -> bytes:
        """Return the raw CBOR answer to one raw CBOR request."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """Hold one recorded document that was authentic and fresh when it was recorded.

    Attributes:
        document: the COSE_Sign1 as the device gave it.
        evidence: what it says, verified at ``now_ms``.
        now_ms: the recorder's clock, milliseconds since the epoch.
        description: one line of where it comes from.
    """

    document: bytes
    evidence: VerifiedEvidence
    now_ms: int
    description: str

    @property
    def name(self) -> str:
        """The vector's name: ``accept-``, kind, and the first 8 hex digits of the document's SHA-384."""
        kind = "enclave" if isinstance(self.evidence, EnclaveEvidence) else "nitrotpm"
        return f"accept-recorded-{kind}-{self.evidence.document_sha384.hex()[:8]}"

    def to_json(self) -> str:
        """Return the recording as an evidence vector that expects ``accepted``, with a line end."""
        evidence = self.evidence
        kind = "enclave" if isinstance(evidence, EnclaveEvidence) else "nitrotpm"
        bindings = {"public_key": evidence.public_key, "user_data": evidence.user_data, "nonce": evidence.nonce}
        vector = {
            "name": self.name,
            "description": self.description,
            "source": "recorded",
            "kind": kind,
            "input": "bytes",
            "now_ms": self.now_ms,
            "time": "live",
            "max_age_s": MAX_AGE_S,
            "max_future_skew_s": MAX_FUTURE_SKEW_S,
            "roots": [evidence.root_fingerprint.hex()],
            "revocations": [],
            "refuse_unknown_fields": False,
            "seen_nonces": [],
            "policy": {
                "kind": kind,
                "pcrs": {str(index): _expected(index, value, kind) for index, value in sorted(evidence.pcrs.items())},
                **{name: "absent" if value is None else {"equal": value.hex()} for name, value in bindings.items()},
                "regions": [evidence.region],
                "require_instance_match": bool(evidence.instance_matches),
                "allow_debug": isinstance(evidence, EnclaveEvidence) and evidence.is_debug,
            },
            "document": base64.b64encode(self.document).decode(),
            "expect": "accepted",
            "fields": {
                "kind": kind,
                "module_id": evidence.module_id,
                "instance_id": evidence.instance_id,
                "region": evidence.region,
                "timestamp_ms": evidence.timestamp_ms,
                "pcrs": {str(index): value.hex() for index, value in sorted(evidence.pcrs.items())},
                **{name: None if value is None else value.hex() for name, value in bindings.items()},
                "root": evidence.root_fingerprint.hex(),
                "unknown_fields": list(evidence.unknown_fields),
            },
        }
        return json.dumps(vector, indent=1) + "\n"


def record(
    nsm: Device,
    *,
    now_ms: int,
    nonce: bytes | None = None,
    user_data: bytes | None = None,
    public_key: bytes | None = None,
    roots: Roots = AWS_ROOTS,
    description: str = "recorded from an NSM",
) -> Recording:
    """Ask a device for a document and keep it, once it is authentic, fresh and holds what was asked for.

    Args:
        nsm: the device, or the software one.
        now_ms: this machine's clock, milliseconds since the epoch; the document must be fresh by it.
        nonce: at most 1024 bytes, or None.
        user_data: at most 1024 bytes, or None.
        public_key: at most 1024 bytes, or None.
        roots: what the document must lead to; a development root only by being named here.
        description: one line of where the recording comes from.

    Raises:
        NsmError: ``nsm-request`` when a field is longer than a document may carry, ``nsm-refused``, ``nsm-response``,
            or ``nsm-document`` when the fields are not the ones asked for.
        EvidenceError: when the document does not verify; nothing is recorded then.
    """
    fields = {"user_data": user_data, "nonce": nonce, "public_key": public_key}
    for name, value in fields.items():
        if value is not None and len(value) > FIELD_MAX_BYTES:
            raise NsmError(ErrorCode.NSM_REQUEST, f"{name} has {len(value)} bytes, expected at most {FIELD_MAX_BYTES}")
    document = _attest(nsm, fields)
    evidence = verify(document, roots, Live(now_ms=now_ms))
    said = {"user_data": evidence.user_data, "nonce": evidence.nonce, "public_key": evidence.public_key}
    if said != fields:
        raise NsmError(ErrorCode.NSM_DOCUMENT, "the document does not hold the fields it was asked for")
    return Recording(document=document, evidence=evidence, now_ms=now_ms, description=description)


def _attest(nsm: Device, fields: dict[str, bytes | None]) -> bytes:
    raw = nsm.request(encode({"Attestation": dict(fields.items())}))
    if len(raw) > ANSWER_MAX_BYTES:
        raise NsmError(ErrorCode.NSM_RESPONSE, f"the answer has {len(raw)} bytes, limit {ANSWER_MAX_BYTES}")
    try:
        answer = decode(raw)
    except CborError as error:
        raise NsmError(ErrorCode.NSM_RESPONSE, f"the answer is not CBOR ({error.code.code})") from error
    if type(answer) is dict and type(answer.get("Error")) is str:
        raise NsmError(ErrorCode.NSM_REFUSED, "the device refused to attest, expected a document")
    inner = answer.get("Attestation") if type(answer) is dict else None
    document = inner.get("document") if type(inner) is dict else None
    if type(document) is not bytes:
        raise NsmError(ErrorCode.NSM_RESPONSE, "the answer holds no document, expected an Attestation")
    return document


def _expected(index: int, value: Sha384, kind: str) -> object:
    """Return the expectation that this register meets: its value, or zero where a policy takes zero."""
    named = index == 0 if kind == "enclave" else index in _NITROTPM_NAMED[:2]
    if value.is_zero and not named:
        return "zero"
    return [{"name": "recorded", "value": value.hex(), "expires_ms": None}]
