"""Put evidence into plain values for JSON and tables; verified and unverified fields never share a name space."""

import datetime as dt
from collections.abc import Iterable, Mapping

from pcrgate.attestation.checklist import Caution, CheckMade, CheckOmitted
from pcrgate.attestation.document import UnverifiedDocument
from pcrgate.attestation.evidence import EnclaveEvidence, VerifiedEvidence
from pcrgate.units import Sha384


def describe_evidence(evidence: VerifiedEvidence) -> dict[str, object]:
    """Return every authenticated field; byte strings as lower-case hex under names that end in ``_hex``."""
    is_enclave = isinstance(evidence, EnclaveEvidence)
    return {
        "kind": "enclave" if is_enclave else "nitrotpm",
        "debug": isinstance(evidence, EnclaveEvidence) and evidence.is_debug,
        "module_id": evidence.module_id,
        "instance_id": evidence.instance_id,
        "region": evidence.region,
        "partition": evidence.partition,
        "timestamp_ms": evidence.timestamp_ms,
        "timestamp": format_time_ms(evidence.timestamp_ms),
        "verified_at": format_time_ms(evidence.verified_at_ms),
        "pcrs": _registers(evidence.pcrs),
        "instance_matches": evidence.instance_matches,
        "public_key_hex": _hex(evidence.public_key),
        "user_data_hex": _hex(evidence.user_data),
        "nonce_hex": _hex(evidence.nonce),
        "unknown_fields": list(evidence.unknown_fields),
        "payload_map": "indefinite" if evidence.indefinite_payload else "definite",
        "document_sha384": evidence.document_sha384.hex(),
        "root_sha256": evidence.root_fingerprint.hex(),
        "chain": [
            {
                "common_name": certificate.common_name,
                "serial_hex": f"{certificate.serial:x}",
                "not_before": format_time_ms(certificate.not_before_s * 1000),
                "not_after": format_time_ms(certificate.not_after_s * 1000),
                "sha256": certificate.sha256.hex(),
            }
            for certificate in evidence.chain
        ],
    }


def describe_unverified(document: UnverifiedDocument) -> dict[str, object]:
    """Return the fields of a document that was refused: claims, for diagnosis only."""
    return {
        "kind": document.kind.value,
        "module_id": document.module_id,
        "timestamp_ms": document.timestamp_ms,
        "timestamp": format_time_ms(document.timestamp_ms),
        "pcrs": _registers(document.pcrs),
        "public_key_hex": _hex(document.public_key),
        "user_data_hex": _hex(document.user_data),
        "nonce_hex": _hex(document.nonce),
        "unknown_fields": list(document.unknown_fields),
        "payload_map": "indefinite" if document.indefinite else "definite",
    }


def describe_checks(checks: Iterable[CheckMade]) -> list[dict[str, object]]:
    """Return the checks made, with their numbers in docs/verification.md."""
    return [{"number": made.check.number, "label": made.check.label, "detail": made.detail} for made in checks]


def describe_omitted(omitted: Iterable[CheckOmitted]) -> list[dict[str, object]]:
    """Return the checks not made by choice."""
    return [
        {"number": entry.check.number, "label": entry.check.label, "subject": entry.subject, "reason": entry.reason}
        for entry in omitted
    ]


def describe_cautions(cautions: Iterable[Caution]) -> list[dict[str, object]]:
    """Return what is odd."""
    return [{"label": caution.label, "detail": caution.detail} for caution in cautions]


def format_time_ms(time_ms: int) -> str:
    """Return RFC 3339 in UTC with milliseconds."""
    moment = dt.datetime.fromtimestamp(time_ms // 1000, dt.UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{time_ms % 1000:03d}Z"


def _registers(pcrs: Mapping[int, Sha384]) -> dict[str, str]:
    return {str(index): value.hex() for index, value in sorted(pcrs.items())}


def _hex(value: bytes | None) -> str | None:
    return None if value is None else value.hex()
