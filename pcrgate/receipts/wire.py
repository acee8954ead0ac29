"""Write claims as a CWT claims set and read them back: a closed map, one encoding, nothing unknown.

Registered claims keep their registered keys; ours are below -65536, where keys are for private use.

Spec: RFC 8392, 3 and 9.1.1; RFC 9711, 4.3.3 and 4.3.2; docs/receipts.cddl.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from pcrgate.attestation.cbor import CborValue, decode, encode
from pcrgate.envelope.session_messages import SESSION_ID_BYTES
from pcrgate.errors import CborError, ErrorCode, ReceiptError, UsageError
from pcrgate.receipts.claims import Attested, Claims, Decision, HostClaimed, Observed
from pcrgate.units import SHA384_BYTES, Sha384

PROFILE: Final = "https://github.com/pcrgate/pcrgate/receipt/v1"
"""The EAT profile: which claims there are and what they mean. An identifier, not an address."""

SUB: Final = 2
IAT: Final = 6
EAT_PROFILE: Final = 265
BOOTSEED: Final = 268

ATTESTED: Final = -70_001
OBSERVED: Final = -70_002
HOST_CLAIMED: Final = -70_003
IDENTITY: Final = -70_101
MANIFEST_DIGEST: Final = -70_102
SECRET_EPOCHS: Final = -70_103
SEQUENCE: Final = -70_201
PREVIOUS: Final = -70_202
REQUEST_DIGEST: Final = -70_203
RESULT_DIGEST: Final = -70_204
DECISION: Final = -70_205
CODE: Final = -70_206
SESSION_ID: Final = -70_207
WORKLOAD: Final = -70_208
POLICY_HASH: Final = -70_209
REQUEST_ID: Final = -70_301
RECEIVED_MS: Final = -70_302

_Map = dict[int | str, CborValue]


def encode_claims(claims: Claims) -> bytes:
    """Return the payload of a receipt."""
    attested, observed, host = claims.attested, claims.observed, claims.host_claimed
    epochs: _Map = dict(attested.secret_epochs.items())
    return encode(
        {
            EAT_PROFILE: PROFILE,
            ATTESTED: {
                BOOTSEED: attested.boot_id,
                IDENTITY: attested.identity.digest,
                MANIFEST_DIGEST: attested.manifest_digest.digest,
                SECRET_EPOCHS: epochs,
            },
            OBSERVED: _present(
                {
                    IAT: observed.issued_s,
                    SUB: observed.agent_id,
                    SEQUENCE: observed.sequence,
                    PREVIOUS: observed.previous.digest,
                    REQUEST_DIGEST: observed.request_digest.digest,
                    RESULT_DIGEST: observed.result_digest.digest if observed.result_digest else None,
                    DECISION: observed.decision.value,
                    CODE: observed.code,
                    SESSION_ID: observed.session_id,
                    WORKLOAD: observed.workload,
                    POLICY_HASH: observed.policy_hash.digest if observed.policy_hash else None,
                }
            ),
            HOST_CLAIMED: _present({REQUEST_ID: host.request_id, RECEIVED_MS: host.received_ms}),
        }
    )


def _present(entries: Mapping[int, CborValue]) -> _Map:
    return {key: value for key, value in entries.items() if value is not None}


def parse_claims(payload: bytes) -> Claims:
    """Read a payload without trusting it.

    Raises:
        ReceiptError: ``receipt-form`` for other bytes than ``encode_claims`` writes.
    """
    try:
        value = decode(payload)
        if encode(value) != payload:
            raise _form("the claims are not in their one encoding")
    except CborError as error:
        raise _form(f"the claims are not CBOR of the strict form, {error.message}") from error
    top = _Fields(value, "the claims", {EAT_PROFILE, ATTESTED, OBSERVED, HOST_CLAIMED}, set())
    if top.text(EAT_PROFILE) != PROFILE:
        raise _form("the profile is another one, expected that of this version")
    attested = _Fields(
        top.value(ATTESTED), "the attested claims", {BOOTSEED, IDENTITY, MANIFEST_DIGEST, SECRET_EPOCHS}, set()
    )
    observed = _Fields(
        top.value(OBSERVED),
        "the observed claims",
        {IAT, SEQUENCE, PREVIOUS, REQUEST_DIGEST, DECISION},
        {SUB, RESULT_DIGEST, CODE, SESSION_ID, WORKLOAD, POLICY_HASH},
    )
    host = _Fields(top.value(HOST_CLAIMED), "the host's claims", set(), {REQUEST_ID, RECEIVED_MS})
    try:
        return Claims(
            attested=Attested(
                boot_id=attested.octets(BOOTSEED),
                identity=attested.digest(IDENTITY),
                manifest_digest=attested.digest(MANIFEST_DIGEST),
                secret_epochs=attested.epochs(SECRET_EPOCHS),
            ),
            observed=Observed(
                issued_s=observed.number(IAT),
                sequence=observed.number(SEQUENCE),
                previous=observed.digest(PREVIOUS),
                request_digest=observed.digest(REQUEST_DIGEST),
                result_digest=observed.digest(RESULT_DIGEST) if observed.has(RESULT_DIGEST) else None,
                decision=_decision(observed.text(DECISION)),
                code=observed.text(CODE) if observed.has(CODE) else None,
                agent_id=observed.text(SUB) if observed.has(SUB) else None,
                session_id=observed.octets(SESSION_ID, SESSION_ID_BYTES) if observed.has(SESSION_ID) else None,
                workload=observed.text(WORKLOAD) if observed.has(WORKLOAD) else None,
                policy_hash=observed.digest(POLICY_HASH) if observed.has(POLICY_HASH) else None,
            ),
            host_claimed=HostClaimed(
                request_id=host.text(REQUEST_ID) if host.has(REQUEST_ID) else None,
                received_ms=host.number(RECEIVED_MS) if host.has(RECEIVED_MS) else None,
            ),
        )
    except UsageError as error:
        raise _form(error.message) from error


def _decision(text: str) -> Decision:
    try:
        return Decision(text)
    except ValueError as error:
        raise _form("the decision is neither accepted nor refused") from error


class _Fields:
    """Read one closed map."""

    def __init__(self, value: CborValue, what: str, required: set[int], optional: set[int]) -> None:
        if not isinstance(value, dict):
            raise _form(f"{what} are not a map")
        if not required <= value.keys() <= required | optional:
            raise _form(f"{what} lack a key or have an unknown one, expected a closed map")
        self._values = value

    def has(self, key: int) -> bool:
        return key in self._values

    def value(self, key: int) -> CborValue:
        return self._values[key]

    def text(self, key: int) -> str:
        value = self._values[key]
        if not isinstance(value, str):
            raise _form(f"claim {key} is not text")
        return value

    def number(self, key: int) -> int:
        value = self._values[key]
        if type(value) is not int:
            raise _form(f"claim {key} is not a number")
        return value

    def octets(self, key: int, length: int | None = None) -> bytes:
        value = self._values[key]
        if not isinstance(value, bytes) or (length is not None and len(value) != length):
            raise _form(f"claim {key} is not a byte string of its length")
        return value

    def digest(self, key: int) -> Sha384:
        return Sha384(self.octets(key, SHA384_BYTES))

    def epochs(self, key: int) -> Mapping[str, int]:
        value = self._values[key]
        if not isinstance(value, dict):
            raise _form(f"claim {key} is not a map")
        found: dict[str, int] = {}
        for name, epoch in value.items():
            if not isinstance(name, str) or type(epoch) is not int:
                raise _form(f"claim {key} does not map names to numbers")
            found[name] = epoch
        return MappingProxyType(found)


def _form(fact: str) -> ReceiptError:
    return ReceiptError(ErrorCode.RECEIPT_FORM, fact)
