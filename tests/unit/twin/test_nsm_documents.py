"""The software NSM's documents are encoded as the ones AWS signed, and say what the device holds."""

import hashlib
from typing import Any

import cbor2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from pcrgate.errors import ErrorCode, UsageError
from pcrgate.twin.nsm import BOOT_PCR_COUNT, LEAF_REUSE_MS, SoftwareNsm
from pcrgate.units import FIELD_MAX_BYTES, Sha384
from tests.support.recordings import load_index
from tests.unit.twin.nsm_devices import (
    NOW_MS,
    PCR0,
    PKI,
    TPM_MODULE,
    ZERO,
    Clock,
    ask,
    attest,
    enclave,
    nitrotpm,
    payload_of,
)


def skeleton(document: bytes) -> dict[str, Any]:
    """Everything about a document's encoding that does not depend on its values."""
    protected, unprotected, payload, signature = cbor2.loads(document)
    fields = cbor2.loads(payload)
    pcrs = fields.get("pcrs") or fields.get("nitrotpm_pcrs")
    at = payload.index(b"cabundle") + 8
    return {
        "start": document[:7],
        "protected": protected,
        "unprotected": unprotected,
        "signature": len(signature),
        "first byte": payload[0],
        "last byte is break": payload[0] == 0xBF and payload[-1] == 0xFF,
        "keys": list(fields),
        "types": {key: type(value) for key, value in fields.items() if key not in {"public_key", "user_data", "nonce"}},
        "pcr map": payload[payload.index(b"pcrs") + 4 :][:2].hex(),
        "pcr indexes": list(pcrs),
        "pcr lengths": {len(value) for value in pcrs.values()},
        "cabundle": (payload[at], payload[at + 1], len(fields["cabundle"])),
        "timestamp": payload[payload.index(b"timestamp") + 9],
        "digest": fields["digest"],
    }


@pytest.mark.parametrize(
    "entry",
    [e for e in load_index("attestations") if e["verdict"] == "accept"]
    or [pytest.param(None, marks=pytest.mark.skip(reason="the recordings are not beside this checkout"))],
    ids=lambda e: e["file"] if e else "none",
)
def test_documents_are_encoded_as_the_recorded_ones(entry: dict[str, Any]) -> None:
    fields = {key: bytes.fromhex(entry[f"{key}_hex"]) if entry[f"{key}_hex"] is not None else None
              for key in ("public_key", "nonce", "user_data")}  # fmt: skip
    real = payload_of(entry["bytes"])
    definite = entry["payload_map"].startswith("definite")
    common = {"module_id": entry["module_id"], "region": entry["region"], "clock": Clock(entry["timestamp_ms"])}
    if entry["kind"] == "nitrotpm":
        pcrs = {index: Sha384(value) for index, value in real["nitrotpm_pcrs"].items() if index not in {*range(17, 23)}}
        nsm = nitrotpm(pcrs=pcrs, definite_map=definite, **common)
    else:
        told = {index: Sha384(real["pcrs"][index]) for index in (0, 1, 2, 3, 8)}
        nsm = enclave(pcrs=told, debug=entry["debug"], definite_map=definite, **common)
        for index in range(BOOT_PCR_COUNT, entry["pcr_count"]):
            ask(nsm, {"LockPCR": {"index": index}})
    ours = attest(nsm, **fields)
    assert skeleton(ours) == skeleton(entry["bytes"])
    written = payload_of(ours)
    for key in ("module_id", "timestamp", "public_key", "user_data", "nonce"):
        assert written[key] == real[key]
    for key in ("pcrs", "nitrotpm_pcrs"):
        if key in real:
            assert {i: v for i, v in written[key].items() if i < 16 or key != "pcrs"} == {
                i: v for i, v in real[key].items() if i < 16 or key != "pcrs"
            }


@pytest.mark.parametrize("definite", [True, False])
def test_the_signature_is_the_leafs_over_the_original_bytes(definite: bool) -> None:
    protected, _, payload, signature = cbor2.loads(attest(enclave(definite_map=definite), nonce=b"n"))
    leaf = x509.load_der_x509_certificate(cbor2.loads(payload)["certificate"]).public_key()
    assert isinstance(leaf, ec.EllipticCurvePublicKey)
    der = encode_dss_signature(int.from_bytes(signature[:48], "big"), int.from_bytes(signature[48:], "big"))
    leaf.verify(der, cbor2.dumps(["Signature1", protected, b"", payload]), ec.ECDSA(hashes.SHA384()))


def test_the_same_seed_and_clock_give_the_same_document() -> None:
    assert attest(enclave(), nonce=b"n") == attest(enclave(), nonce=b"n")


def test_boot_registers() -> None:
    pcrs = payload_of(attest(enclave(role_arn="arn:aws:iam::123456789012:role/x")))["pcrs"]
    assert list(pcrs) == list(range(16))
    assert pcrs[0] == PCR0.digest
    assert any(pcrs[1])
    assert any(pcrs[2])
    assert pcrs[3] == hashlib.sha384(ZERO + b"arn:aws:iam::123456789012:role/x").digest()
    assert pcrs[4] == hashlib.sha384(ZERO + b"i-0123456789abcdef0").digest()
    assert all(pcrs[index] == ZERO for index in range(5, 16))


def test_debug_mode_zeroes_the_image_and_not_the_instance() -> None:
    pcrs = payload_of(attest(enclave(debug=True, pcrs={0: PCR0, 8: PCR0}, role_arn="r")))["pcrs"]
    assert [index for index in range(9) if pcrs[index] == ZERO] == [0, 1, 2, 5, 6, 7, 8]
    assert payload_of(attest(enclave(debug=True, pcrs={})))["pcrs"][0] == ZERO


def test_tpm_registers() -> None:
    fields = payload_of(attest(nitrotpm(pcrs={4: PCR0, 23: PCR0})))
    pcrs = fields["nitrotpm_pcrs"]
    assert "pcrs" not in fields
    assert list(pcrs) == list(range(24))
    assert pcrs[4] == pcrs[23] == PCR0.digest
    assert pcrs[2].hex().startswith("518923b0f955d08da077c96aaba522b9")  # the separator alone, as in the recording
    assert all(pcrs[index] == ZERO for index in range(11, 17))
    assert all(pcrs[index] == b"\xff" * 48 for index in range(17, 23))


@pytest.mark.parametrize("field", ["public_key", "user_data", "nonce"])
def test_field_bounds(field: str) -> None:
    nsm = enclave()
    for length in (0, 1, FIELD_MAX_BYTES):
        assert payload_of(attest(nsm, **{field: b"f" * length}))[field] == b"f" * length
    assert ask(nsm, {"Attestation": {field: b"f" * (FIELD_MAX_BYTES + 1)}}) == {"Error": "InputTooLarge"}


def test_absent_optional_fields_are_null() -> None:
    fields = payload_of(cbor2.loads(enclave().request(cbor2.dumps({"Attestation": {}})))["Attestation"]["document"])
    assert (fields["public_key"], fields["user_data"], fields["nonce"]) == (None, None, None)


def test_a_leaf_is_reused_and_then_replaced() -> None:
    clock = Clock()
    nsm = enclave(clock=clock)
    first = payload_of(attest(nsm))["certificate"]
    start = x509.load_der_x509_certificate(first).not_valid_before_utc.timestamp() * 1000
    clock.now_ms = int(start) + LEAF_REUSE_MS - 1
    assert payload_of(attest(nsm))["certificate"] == first
    clock.now_ms += 1
    later = payload_of(attest(nsm))
    assert later["certificate"] != first
    assert later["timestamp"] == clock.now_ms
    clock.now_ms = NOW_MS - 10_000_000
    assert payload_of(attest(nsm))["certificate"] not in {first, later["certificate"]}


@pytest.mark.parametrize(
    "more",
    [
        {"pcrs": {}},
        {"pcrs": {0: PCR0, 16: PCR0}},
        {"pcrs": {0: PCR0, -1: PCR0}},
        {"module_id": TPM_MODULE},
        {"module_id": "i-1"},
        {"region": "moon"},
        {"kind": "nitrotpm"},
        {"kind": "nitrotpm", "module_id": TPM_MODULE, "pcrs": {24: PCR0}},
        {"kind": "nitrotpm", "module_id": TPM_MODULE, "debug": True},
        {"kind": "nitrotpm", "module_id": TPM_MODULE, "role_arn": "r"},
    ],
    ids=repr,
)
def test_a_device_that_cannot_be_meant_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as caught:
        enclave(**more)
    assert caught.value.code is ErrorCode.USAGE_NSM


def test_module_ids_are_made_of_the_clock_and_randomness() -> None:
    made = enclave(module_id=None, random=lambda count: b"\xab" * count)
    assert made.module_id == f"i-0{'ab' * 8}-enc{NOW_MS:012x}abab"
    assert nitrotpm(module_id=None).module_id.endswith("-tpm" + "0" * 16)
    assert SoftwareNsm(pki=PKI, pcrs={0: PCR0}).module_id != SoftwareNsm(pki=PKI, pcrs={0: PCR0}).module_id
