"""One evidence vector: its JSON form, and how to judge it with this library.

The JSON form is the contract that ``tests/vectors/evidence/README.md`` describes; every key is there in every file, and
a key that is not in this class is refused.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from pcrgate.attestation.anchors import Roots
from pcrgate.attestation.appraisal import appraise
from pcrgate.attestation.evidence import EnclaveEvidence, VerifiedEvidence
from pcrgate.attestation.freshness import SeenNonces
from pcrgate.attestation.policy import (
    EnclavePolicy,
    Equal,
    Expectation,
    FieldExpectation,
    NitroTpmPolicy,
    OneOf,
    PcrExpectation,
    ReferenceValue,
)
from pcrgate.attestation.text import read_document_text
from pcrgate.attestation.verifier import Live, Recorded, verify
from pcrgate.errors import EvidenceError
from pcrgate.units import Sha384

ACCEPTED = "accepted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Vector:
    """One vector; see the README beside the files for every key."""

    name: str
    description: str
    source: str
    kind: str
    input: str
    now_ms: int
    time: str
    max_age_s: int
    max_future_skew_s: int
    roots: tuple[str, ...]
    revocations: tuple[Mapping[str, str], ...]
    refuse_unknown_fields: bool
    seen_nonces: tuple[str, ...]
    policy: Mapping[str, Any] | None
    document: str
    expect: str
    fields: Mapping[str, Any] | None

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1, ensure_ascii=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Vector":
        decoded: dict[str, Any] = json.loads(text)
        known = {field.name for field in fields(cls)}
        if decoded.keys() != known:
            raise ValueError(f"keys {sorted(decoded.keys() ^ known)} are unknown or missing")
        for name in ("roots", "revocations", "seen_nonces"):
            decoded[name] = tuple(decoded[name])
        return cls(**decoded)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What this library says of a vector."""

    code: str
    category: str
    evidence: VerifiedEvidence | None


def judge(vector: Vector) -> Verdict:
    """Verify, and appraise when the vector has a policy."""
    try:
        evidence = _judge(vector)
    except EvidenceError as error:
        return Verdict(code=error.code.code, category=error.code.category.value, evidence=None)
    return Verdict(code=ACCEPTED, category=ACCEPTED, evidence=evidence)


def _judge(vector: Vector) -> VerifiedEvidence:
    given = base64.b64decode(vector.document, validate=True)
    document = {"bytes": lambda: given, "file": lambda: read_document_text(given)}[vector.input]()
    live = Live(now_ms=vector.now_ms, max_age_s=vector.max_age_s, max_future_skew_s=vector.max_future_skew_s)
    time: dict[str, Live | Recorded] = {"live": live, "recorded": Recorded()}
    evidence = verify(
        document,
        Roots.pinned(*map(bytes.fromhex, vector.roots)),
        time[vector.time],
        revocations=frozenset((bytes.fromhex(r["issuer"]), int(r["serial"], 16)) for r in vector.revocations),
        refuse_unknown_fields=vector.refuse_unknown_fields,
    )
    if vector.policy is None:
        return evidence
    seen = None
    if vector.seen_nonces:
        seen = SeenNonces(keep_s=vector.max_age_s + vector.max_future_skew_s)
        for nonce in vector.seen_nonces:
            seen.remember(bytes.fromhex(nonce), vector.now_ms - 1000)
    appraise(evidence, _policy(vector.policy), seen_nonces=seen)
    return evidence


def _policy(policy: Mapping[str, Any]) -> EnclavePolicy | NitroTpmPolicy:
    told = dict(policy)
    kind = told.pop("kind")
    pcrs = {int(index): _register(expected) for index, expected in told.pop("pcrs").items()}
    bindings = {name: _field(told.pop(name)) for name in ("nonce", "user_data", "public_key")}
    regions = frozenset(told.pop("regions"))
    match, debug = told.pop("require_instance_match"), told.pop("allow_debug")
    if told:
        raise ValueError(f"policy keys {sorted(told)} are unknown")
    if kind == "enclave":
        pcr0 = pcrs.pop(0)
        return EnclavePolicy(
            pcr0=pcr0,  # type: ignore[arg-type]  # the policy itself refuses anything but reference values
            pcrs=pcrs,
            regions=regions,
            require_instance_match=match,
            insecure_allow_debug=debug,
            **bindings,
        )
    if kind != "nitrotpm" or match or debug:
        raise ValueError("a NitroTPM has neither debug mode nor an instance measurement")
    pcr4, pcr7, pcr12 = (pcrs.pop(index) for index in (4, 7, 12))
    return NitroTpmPolicy(
        pcr4=pcr4,  # type: ignore[arg-type]  # as above
        pcr7=pcr7,  # type: ignore[arg-type]  # as above
        pcr12=pcr12,
        pcrs=pcrs,
        regions=regions,
        **bindings,
    )


def _register(expected: Any) -> PcrExpectation:
    if isinstance(expected, str):
        return Expectation(expected)
    return OneOf(
        tuple(
            ReferenceValue(name=one["name"], value=Sha384.from_hex(one["value"]), expires_ms=one["expires_ms"])
            for one in expected
        )
    )


def _field(expected: Any) -> FieldExpectation:
    if isinstance(expected, str):
        return Expectation(expected)
    return Equal(bytes.fromhex(expected["equal"]))


def describe(evidence: VerifiedEvidence) -> dict[str, Any]:
    """The ``fields`` that a vector's authenticated evidence has."""
    return {
        "kind": "enclave" if isinstance(evidence, EnclaveEvidence) else "nitrotpm",
        "module_id": evidence.module_id,
        "instance_id": evidence.instance_id,
        "region": evidence.region,
        "timestamp_ms": evidence.timestamp_ms,
        "pcrs": {str(index): value.hex() for index, value in sorted(evidence.pcrs.items())},
        "public_key": None if evidence.public_key is None else evidence.public_key.hex(),
        "user_data": None if evidence.user_data is None else evidence.user_data.hex(),
        "nonce": None if evidence.nonce is None else evidence.nonce.hex(),
        "root": evidence.root_fingerprint.hex(),
        "unknown_fields": list(evidence.unknown_fields),
    }
