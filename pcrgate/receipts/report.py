"""Put a receipt into plain values for JSON and tables; the three provenances never share a name space."""

from collections.abc import Mapping

from pcrgate.receipts.claims import Claims
from pcrgate.receipts.verification import VerifiedReceipt
from pcrgate.units import Sha384


def describe_receipt(receipt: VerifiedReceipt) -> dict[str, object]:
    """Return what a verified receipt says, with its digest."""
    return {"digest": receipt.digest.hex(), **describe_claims(receipt.claims)}


def describe_claims(claims: Claims) -> dict[str, object]:
    """Return the claims under the labels of how the enclave came to know them; byte strings as lower-case hex."""
    attested, observed, host = claims.attested, claims.observed, claims.host_claimed
    return {
        "attested": {
            "boot_id": attested.boot_id.hex(),
            "identity": attested.identity.hex(),
            "manifest_digest": attested.manifest_digest.hex(),
            "secret_epochs": dict(attested.secret_epochs),
        },
        "observed": _present(
            {
                "issued_s": observed.issued_s,
                "sequence": observed.sequence,
                "previous": observed.previous.hex(),
                "decision": observed.decision.value,
                "code": observed.code,
                "agent_id": observed.agent_id,
                "session_id": None if observed.session_id is None else observed.session_id.hex(),
                "workload": observed.workload,
                "request_digest": observed.request_digest.hex(),
                "result_digest": _hex(observed.result_digest),
                "policy_hash": _hex(observed.policy_hash),
            }
        ),
        "host_claimed": _present({"request_id": host.request_id, "received_ms": host.received_ms}),
    }


def _hex(value: Sha384 | None) -> str | None:
    return None if value is None else value.hex()


def _present(entries: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in entries.items() if value is not None}
