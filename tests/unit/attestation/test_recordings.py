"""Real documents get the verdict their index says, and no byte of them can change unnoticed."""

from typing import Any

import pytest

from pcrgate.attestation.anchors import AWS_ROOTS
from pcrgate.attestation.chain import ChainCache
from pcrgate.attestation.evidence import EnclaveEvidence, NitroTpmEvidence
from pcrgate.attestation.report import describe_evidence
from pcrgate.attestation.verifier import Live, Recorded, verify
from pcrgate.errors import ErrorCode, EvidenceError, ForgedEvidenceError, PcrgateError, UntrustedEvidenceError
from tests.support.recordings import load_index

ENTRIES = load_index("attestations")
ACCEPTED = [entry for entry in ENTRIES if entry["verdict"] == "accept"]

needs_recordings = pytest.mark.skipif(not ENTRIES, reason="no recordings beside this checkout (PCRGATE_RECORDINGS)")


def _id(entry: dict[str, Any]) -> str:
    return str(entry["file"])


@needs_recordings
@pytest.mark.parametrize("entry", ENTRIES, ids=_id)
def test_a_recording_gets_its_verdict_and_fields(entry: dict[str, Any]) -> None:
    if entry["verdict"] == "reject":
        assert entry["reason"] == "forged"
        with pytest.raises(ForgedEvidenceError) as caught:
            verify(entry["bytes"], AWS_ROOTS, Recorded())
        assert caught.value.code is ErrorCode.SIGNATURE_INVALID
        return
    evidence = verify(entry["bytes"], AWS_ROOTS, Recorded(), refuse_unknown_fields=True)
    facts = describe_evidence(evidence)
    for name in (
        "kind",
        "debug",
        "region",
        "module_id",
        "timestamp_ms",
        "public_key_hex",
        "nonce_hex",
        "user_data_hex",
    ):
        assert facts[name] == entry[name], name
    assert str(entry["payload_map"]).startswith(str(facts["payload_map"]))
    assert len(evidence.pcrs) == entry["pcr_count"]
    for index in (0, 4, 8):
        assert evidence.pcrs[index].hex() == entry[f"pcr{index}"]
    if entry["kind"] == "enclave":
        assert isinstance(evidence, EnclaveEvidence)
        assert evidence.instance_matches
    else:
        assert isinstance(evidence, NitroTpmEvidence)
    assert evidence.cautions == ()


@needs_recordings
@pytest.mark.parametrize("entry", ACCEPTED, ids=_id)
def test_a_recording_from_the_past_is_not_live(entry: dict[str, Any]) -> None:
    with pytest.raises(UntrustedEvidenceError) as caught:
        verify(entry["bytes"], AWS_ROOTS, Live(now_ms=entry["timestamp_ms"] + 86_400_000))
    assert caught.value.code is ErrorCode.CERTIFICATE_EXPIRED
    verify(entry["bytes"], AWS_ROOTS, Live(now_ms=entry["timestamp_ms"] + 300_000))


FLIPPED = [entry for entry in ACCEPTED if any(word in entry["file"] for word in ("20210317", "20260103", "vaportpm"))]
"""One with a definite map, one with an indefinite map, one of a NitroTPM."""

UNAUTHENTICATED: dict[str, list[int]] = {}
"""Bytes whose change goes unnoticed, by file: there are none, since the envelope around the signed bytes has one form."""


@needs_recordings
@pytest.mark.parametrize("entry", FLIPPED, ids=_id)
@pytest.mark.parametrize("mask", [0xFF, 0x01])
def test_every_flipped_byte_is_refused(entry: dict[str, Any], mask: int) -> None:
    document, cache = entry["bytes"], ChainCache()
    accepted: list[int] = []
    foreign: list[PcrgateError] = []
    verify(document, AWS_ROOTS, Recorded(), cache=cache)
    for position in range(len(document)):
        changed = bytearray(document)
        changed[position] ^= mask
        try:
            verify(bytes(changed), AWS_ROOTS, Recorded(), cache=cache)
        except EvidenceError:
            continue
        except PcrgateError as error:
            foreign.append(error)
        accepted.append(position)
    assert not foreign
    assert accepted == UNAUTHENTICATED.get(entry["file"], [])


@needs_recordings
def test_three_recordings_are_flipped() -> None:
    assert len(FLIPPED) == 3
