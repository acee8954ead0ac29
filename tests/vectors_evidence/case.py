"""Turn a forged document into a vector, with everything that a case does not say left as it usually is."""

import base64
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pcrgate.errors import ErrorCode
from tests.vectors_evidence.certificate_forge import INSTANCE_ID, MODULE_ID, NOW_MS, REGION, TIMESTAMP_MS, forge_chain
from tests.vectors_evidence.document_forge import ENCLAVE_PCRS, NONCE, DocumentSpec
from tests.vectors_evidence.vector import ACCEPTED, Vector

ROOT = forge_chain().root_fingerprint


def _vector(name: str, description: str, document: DocumentSpec | bytes, expect: str, source: str) -> Vector:
    raw = document if isinstance(document, bytes) else document.encode()
    return Vector(
        name=name,
        description=description,
        source=source,
        kind="enclave",
        input="bytes",
        now_ms=NOW_MS,
        time="live",
        max_age_s=300,
        max_future_skew_s=60,
        roots=(ROOT.hex(),),
        revocations=(),
        refuse_unknown_fields=False,
        seen_nonces=(),
        policy=None,
        document=base64.b64encode(raw).decode(),
        expect=expect,
        fields=None,
    )


def reject(name: str, code: ErrorCode, document: DocumentSpec | bytes, description: str, **more: Any) -> Vector:
    """A vector that has to be refused with this code."""
    return replace(_vector(f"reject-{name}", description, document, code.code, "generator"), **more)


def accept(
    name: str, document: DocumentSpec | bytes, description: str, fields: Mapping[str, Any] | None = None, **more: Any
) -> Vector:
    """A vector that has to be accepted, with these authenticated fields where they differ from the usual ones."""
    made = _vector(f"accept-{name}", description, document, ACCEPTED, "generator")
    usual = {
        "kind": "enclave",
        "module_id": MODULE_ID,
        "instance_id": INSTANCE_ID,
        "region": REGION,
        "timestamp_ms": TIMESTAMP_MS,
        "pcrs": hex_registers(ENCLAVE_PCRS),
        "public_key": None,
        "user_data": None,
        "nonce": NONCE.hex(),
        "root": ROOT.hex(),
        "unknown_fields": [],
    }
    return replace(made, **{"fields": {**usual, **(fields or {})}, **more})


def hex_registers(pcrs: Mapping[int, bytes]) -> dict[str, str]:
    return {str(index): value.hex() for index, value in sorted(pcrs.items())}
