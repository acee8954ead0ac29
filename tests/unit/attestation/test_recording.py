"""A recording is authentic evidence with its expectations, in the form of the evidence vectors."""

import base64
from dataclasses import dataclass
from typing import Any

import cbor2
import pytest

from pcrgate.attestation.anchors import Roots
from pcrgate.attestation.recording import ANSWER_MAX_BYTES, record
from pcrgate.errors import ErrorCode, NsmError, PcrgateError, StaleEvidenceError, UntrustedEvidenceError
from pcrgate.twin.nsm import SoftwareNsm
from pcrgate.twin.pki import DevPki
from pcrgate.units import FIELD_MAX_BYTES, Sha384
from tests.vectors_evidence.vector import Vector, describe, judge

PKI = DevPki(b"test_recording" * 4)
ROOTS = Roots.pinned(PKI.root_fingerprint)
NOW_MS = 1_795_000_000_123
PCR0 = Sha384(b"\x07" * 48)


def software(**more: Any) -> SoftwareNsm:
    told: dict[str, Any] = {"pki": PKI, "pcrs": {0: PCR0, 8: PCR0}, "clock": lambda: NOW_MS - 50, **more}
    return SoftwareNsm(**told)


@dataclass(frozen=True, slots=True)
class Scripted:
    """A device that always gives the same answer."""

    answer: bytes

    def request(self, data: bytes) -> bytes:
        assert data
        return self.answer


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"definite_map": True, "role_arn": "arn:aws:iam::123456789012:role/x"},
        {"debug": True},
        {"kind": "nitrotpm", "pcrs": {}},
        {"kind": "nitrotpm", "pcrs": {12: PCR0, 23: PCR0}},
    ],
    ids=repr,
)
@pytest.mark.parametrize(
    "fields", [{}, {"nonce": b"n" * 32, "user_data": b"", "public_key": b"k" * 1024}], ids=["none", "all"]
)
def test_a_recording_is_a_vector_that_is_accepted(more: dict[str, Any], fields: dict[str, bytes]) -> None:
    recording = record(software(**more), now_ms=NOW_MS, roots=ROOTS, description="made by a test", **fields)
    vector = Vector.from_json(recording.to_json())
    verdict = judge(vector)
    assert verdict.code == vector.expect == "accepted"
    assert verdict.evidence is not None
    assert describe(verdict.evidence) == vector.fields
    assert (vector.name, vector.now_ms, vector.description) == (recording.name, NOW_MS, "made by a test")
    assert base64.b64decode(vector.document) == recording.document
    assert vector.kind == more.get("kind", "enclave")


@pytest.mark.parametrize(("pcr", "code"), [("0", "pcr-mismatch"), ("8", "pcr-mismatch"), ("5", "pcr-mismatch")])
def test_a_recording_pins_every_register(pcr: str, code: str) -> None:
    vector = Vector.from_json(record(software(), now_ms=NOW_MS, roots=ROOTS).to_json())
    assert vector.policy is not None
    vector.policy["pcrs"][pcr] = [{"name": "other", "value": "01" * 48, "expires_ms": None}]
    assert judge(vector).code == code


def test_a_recording_pins_absent_fields() -> None:
    recorded = Vector.from_json(record(software(), now_ms=NOW_MS, roots=ROOTS).to_json())
    assert recorded.policy is not None
    assert {recorded.policy[name] for name in ("nonce", "user_data", "public_key")} == {"absent"}


def refused(answer: object, **more: Any) -> PcrgateError:
    told: dict[str, Any] = {"now_ms": NOW_MS, "roots": ROOTS, **more}
    raw = answer if isinstance(answer, bytes) else cbor2.dumps(answer)
    with pytest.raises(PcrgateError) as caught:
        record(Scripted(raw), **told)
    return caught.value


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\xff",
        "Attestation",
        {"Attestation": None},
        {"Attestation": {}},
        {"Attestation": {"document": "text"}},
        {"DescribeNSM": {}},
        {"Error": 5},
        [],
        b"\x00" * (ANSWER_MAX_BYTES + 1),
        b"\x59" + ANSWER_MAX_BYTES.to_bytes(2, "big") + bytes(ANSWER_MAX_BYTES - 3),
    ],
    ids=lambda answer: repr(answer)[:30],
)
def test_other_answers_are_refused(answer: object) -> None:
    error = refused(answer)
    assert isinstance(error, NsmError)
    assert error.code is ErrorCode.NSM_RESPONSE


def test_the_devices_refusal_is_passed_on() -> None:
    assert refused({"Error": "InternalError"}).code is ErrorCode.NSM_REFUSED


def test_a_document_of_other_fields_is_not_recorded() -> None:
    answer = software().request(cbor2.dumps({"Attestation": {"nonce": b"old"}}))
    assert refused(answer, nonce=b"new").code is ErrorCode.NSM_DOCUMENT
    assert refused(answer).code is ErrorCode.NSM_DOCUMENT
    assert refused(answer, nonce=b"old", user_data=b"").code is ErrorCode.NSM_DOCUMENT
    assert record(Scripted(answer), now_ms=NOW_MS, roots=ROOTS, nonce=b"old").evidence.nonce == b"old"


@pytest.mark.parametrize("field", ["nonce", "user_data", "public_key"])
def test_field_bound(field: str) -> None:
    told: dict[str, Any] = {field: b"f" * FIELD_MAX_BYTES}
    assert len(record(software(), now_ms=NOW_MS, roots=ROOTS, **told).document) > FIELD_MAX_BYTES
    told[field] += b"f"
    with pytest.raises(NsmError) as caught:
        record(software(), now_ms=NOW_MS, roots=ROOTS, **told)
    assert caught.value.code is ErrorCode.NSM_REQUEST


def test_nothing_stale_or_untrusted_is_recorded() -> None:
    with pytest.raises(UntrustedEvidenceError) as untrusted:
        record(software(), now_ms=NOW_MS)
    assert untrusted.value.code is ErrorCode.ROOT_UNPINNED
    with pytest.raises(StaleEvidenceError) as stale:
        record(software(), now_ms=NOW_MS + 301_000, roots=ROOTS)
    assert stale.value.code is ErrorCode.EVIDENCE_TOO_OLD
