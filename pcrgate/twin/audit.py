"""What CloudTrail would have recorded: one record a KMS request, in CloudTrail's shape and field names.

Only a request that succeeded carries the fields of its attestation document, as was observed on AWS. PCR values are
base64, as in AWS's own records, although policies write them in hex.
Spec: CloudTrail User Guide, "CloudTrail record contents"; KMS Developer Guide, "Monitoring attested requests".
"""

import base64
import threading
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from kms_policies.operations import CLASSES
from kms_policies.request import PrincipalKind
from pcrgate.attestation.evidence import EnclaveEvidence, VerifiedEvidence
from pcrgate.twin.accounts import Identity

MAX_RECORDS: Final = 10_000
"""Records kept in memory; the oldest go first. Some 2 kB each, so 20 MB at most."""

ENCLAVE_PCRS: Final = (1, 2, 3, 4, 8)
"""PCRs that AWS records for an enclave beside the image digest, which is PCR0."""

NITROTPM_PCRS: Final = (4, 7, 8, 9, 16, 23)
"""PCRs that AWS records for a NitroTPM."""

_READ_ONLY: Final = (CLASSES["read"] | CLASSES["plaintext"] | CLASSES["minting"] | CLASSES["signing"]) | {
    "kms:GenerateRandom",
    "kms:ReEncrypt",
}
_ECHOED_RESPONSES: Final = frozenset({"CreateGrant", "CreateKey", "ReplicateKey", "ScheduleKeyDeletion"})
_SECRET_RESPONSE: Final = frozenset({"GrantToken"})

Record = Mapping[str, object]
"""One CloudTrail record, ready for JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Hold what is known of one request when it ends.

    Attributes:
        request_id: the id that the client got in ``x-amzn-RequestId``.
        operation: API name.
        region: the endpoint's Region.
        identity: who called.
        source_ip: from where.
        user_agent: with what.
        request: the request's members, native values.
        key_arns: the keys in play.
        response: the answer's members, or None when it failed.
        error: code and message, or None when it succeeded.
        evidence: the verified document of an attested request, or None.
    """

    request_id: str
    operation: str
    region: str
    identity: Identity
    source_ip: str
    user_agent: str
    request: Mapping[str, object]
    key_arns: Sequence[str] = ()
    response: Mapping[str, object] | None = None
    error: tuple[str, str] | None = None
    evidence: VerifiedEvidence | None = None


class AuditTrail:
    """Keep the latest records; safe to share between threads."""

    def __init__(self, *, clock_ms: Callable[[], int], event_id: Callable[[], str] = lambda: str(uuid.uuid4())) -> None:
        self._lock = threading.Lock()
        self._records: deque[Record] = deque(maxlen=MAX_RECORDS)
        self._clock_ms = clock_ms
        self._event_id = event_id

    def add(self, call: Call) -> None:
        """Record a request that ended."""
        record = render(call, event_id=self._event_id(), at_ms=self._clock_ms())
        with self._lock:
            self._records.append(record)

    def records(self) -> tuple[Record, ...]:
        """Return the records, oldest first."""
        with self._lock:
            return tuple(self._records)

    def clear(self) -> None:
        """Forget all records."""
        with self._lock:
            self._records.clear()


def render(call: Call, *, event_id: str, at_ms: int) -> Record:
    """Return the CloudTrail record of a request.

    Args:
        call: the request.
        event_id: a UUID.
        at_ms: when it ended, Unix time in milliseconds.
    """
    account = call.identity.principal.account or ""
    owners = [arn.split(":")[4] for arn in call.key_arns]
    record: dict[str, object] = {
        "eventVersion": "1.11",
        "userIdentity": _user_identity(call.identity),
        "eventTime": datetime.fromtimestamp(at_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "eventSource": "kms.amazonaws.com",
        "eventName": call.operation,
        "awsRegion": call.region,
        "sourceIPAddress": call.source_ip,
        "userAgent": call.user_agent,
        "requestParameters": _parameters(call.request) or None,
        "responseElements": _response_elements(call),
        "requestID": call.request_id,
        "eventID": event_id,
        "readOnly": f"kms:{call.operation}" in _READ_ONLY,
        "resources": [
            {"accountId": owner, "type": "AWS::KMS::Key", "ARN": arn}
            for owner, arn in zip(owners, call.key_arns, strict=True)
        ],
        "eventType": "AwsApiCall",
        "managementEvent": True,
        "recipientAccountId": account,
        "eventCategory": "Management",
    }
    if call.error is not None:
        code, message = call.error
        record["errorCode"] = "AccessDenied" if code == "AccessDeniedException" else code
        record["errorMessage"] = message
    additional = _additional(call)
    if additional:
        record["additionalEventData"] = additional
    return record


def recipient_fields(evidence: VerifiedEvidence) -> dict[str, str]:
    """Return ``additionalEventData.recipient`` for a verified document: ids as text, PCRs as base64."""
    fields = {"attestationDocumentModuleId": evidence.module_id}
    if isinstance(evidence, EnclaveEvidence):
        names = {0: "attestationDocumentEnclaveImageDigest"}
        names |= {index: f"attestationDocumentEnclavePCR{index}" for index in ENCLAVE_PCRS}
    else:
        names = {index: f"attestationDocumentNitroTPMPCR{index}" for index in NITROTPM_PCRS}
    present = {name: evidence.pcrs[index].digest for index, name in names.items() if index in evidence.pcrs}
    return fields | {name: base64.b64encode(digest).decode() for name, digest in present.items()}


def _additional(call: Call) -> dict[str, object]:
    additional: dict[str, object] = {}
    if call.response is None:
        return additional
    if call.evidence is not None:
        additional["recipient"] = recipient_fields(call.evidence)
    if "KeyMaterialId" in call.response and call.operation not in _ECHOED_RESPONSES:
        additional["keyMaterialId"] = call.response["KeyMaterialId"]
    return additional


def _user_identity(identity: Identity) -> dict[str, object]:
    principal = identity.principal
    common: dict[str, object] = {
        "principalId": identity.user_id,
        "arn": str(principal),
        "accountId": principal.account,
        "accessKeyId": identity.access_key_id,
    }
    if principal.kind is PrincipalKind.ROOT:
        return {"type": "Root", **common}
    if principal.kind is PrincipalKind.USER:
        return {"type": "IAMUser", **common, "userName": str(principal).rpartition("/")[2]}
    role_arn = principal.role_arn or ""
    issuer = {
        "type": "Role",
        "principalId": identity.user_id.partition(":")[0],
        "arn": role_arn,
        "accountId": principal.account,
        "userName": role_arn.rpartition("/")[2],
    }
    return {"type": "AssumedRole", **common, "sessionContext": {"sessionIssuer": issuer}}


def _parameters(members: Mapping[str, object]) -> dict[str, object]:
    # Blobs (plaintexts, ciphertexts, messages, documents) and tokens are left out, as CloudTrail does.
    shown: dict[str, object] = {}
    for name, value in members.items():
        if name in {"GrantTokens", "Marker"} or isinstance(value, bytes):
            continue
        told = f"{name[:1].lower()}{name[1:]}"
        if isinstance(value, Mapping):
            # The names in an encryption context are the caller's own.
            inner = dict(value) if "EncryptionContext" in name else _parameters(value)
            if inner:
                shown[told] = inner
        elif isinstance(value, list | tuple):
            shown[told] = [_parameters(item) if isinstance(item, Mapping) else item for item in value]
        else:
            shown[told] = value
    return shown


def _response_elements(call: Call) -> dict[str, object] | None:
    if call.response is None or call.operation not in _ECHOED_RESPONSES:
        return None
    return _parameters({name: value for name, value in call.response.items() if name not in _SECRET_RESPONSE})
