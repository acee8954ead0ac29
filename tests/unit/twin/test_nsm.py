"""The software NSM answers as the device does, and its documents are encoded as the ones AWS signed."""

import hashlib
import threading
from typing import Any

import cbor2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from pcrgate.errors import ErrorCode, UsageError
from pcrgate.kms.nsm import NSM_REQUEST_MAX_BYTES, NSM_RESPONSE_MAX_BYTES, Nsm
from pcrgate.twin.nsm import BOOT_PCR_COUNT, LEAF_REUSE_MS, PCR_COUNT, RANDOM_BYTES, SoftwareNsm
from pcrgate.twin.nsm_codec import encode_item
from pcrgate.twin.pki import DevPki
from pcrgate.units import FIELD_MAX_BYTES, Sha384
from tests.support.recordings import load_index

PKI = DevPki(b"test_nsm" * 4)
MODULE = "i-0123456789abcdef0-enc019b8596b1a9dad6"
TPM_MODULE = "i-030a1f233f8348690-tpm0000000000000000"
NOW_MS = 1_767_472_867_402
PCR0 = Sha384(b"\x07" * 48)
ZERO = bytes(48)


class Clock:
    def __init__(self, now_ms: int = NOW_MS) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        return self.now_ms


def enclave(**more: Any) -> SoftwareNsm:
    told: dict[str, Any] = {"pki": PKI, "pcrs": {0: PCR0}, "module_id": MODULE, "clock": Clock(), **more}
    return SoftwareNsm(**told)


def nitrotpm(**more: Any) -> SoftwareNsm:
    return enclave(**{"kind": "nitrotpm", "module_id": TPM_MODULE, "pcrs": {}, **more})


def ask(nsm: Nsm, request: object) -> Any:
    return cbor2.loads(nsm.request(cbor2.dumps(request)))


def attest(nsm: Nsm, **fields: bytes | None) -> bytes:
    answer = ask(nsm, {"Attestation": {"user_data": None, "nonce": None, "public_key": None, **fields}})
    document = answer["Attestation"]["document"]
    assert isinstance(document, bytes)
    return document


def payload_of(document: bytes) -> dict[str, Any]:
    payload = cbor2.loads(cbor2.loads(document)[2])
    assert isinstance(payload, dict)
    return payload


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


@pytest.mark.parametrize(
    "request_", ["DescribeNSM", "GetRandom", {"LockPCR": {"index": 16}}, {"LockPCRs": {"range": 1}}]
)
def test_a_tpm_only_attests(request_: object) -> None:
    assert ask(nitrotpm(), request_) == {"Error": "InvalidOperation"}


def test_describe_nsm() -> None:
    nsm = enclave()
    ask(nsm, {"LockPCR": {"index": 20}})
    assert ask(nsm, "DescribeNSM") == {
        "DescribeNSM": {
            "version_major": 1, "version_minor": 0, "version_patch": 0, "module_id": MODULE, "max_pcrs": 32,
            "locked_pcrs": [*range(16), 20], "digest": "SHA384",
        }
    }  # fmt: skip


def test_extend_and_lock() -> None:
    nsm = enclave()
    first = hashlib.sha384(ZERO + b"one").digest()
    second = hashlib.sha384(first + b"two").digest()
    assert ask(nsm, {"DescribePCR": {"index": 16}}) == {"DescribePCR": {"lock": False, "data": ZERO}}
    assert ask(nsm, {"ExtendPCR": {"index": 16, "data": b"one"}}) == {"ExtendPCR": {"data": first}}
    assert ask(nsm, {"ExtendPCR": {"index": 16, "data": b"two"}}) == {"ExtendPCR": {"data": second}}
    assert 16 not in payload_of(attest(nsm))["pcrs"]
    assert ask(nsm, {"LockPCR": {"index": 16}}) == "LockPCR"
    assert ask(nsm, {"LockPCR": {"index": 16}}) == {"Error": "ReadOnlyIndex"}
    assert ask(nsm, {"ExtendPCR": {"index": 16, "data": b"three"}}) == {"Error": "ReadOnlyIndex"}
    assert ask(nsm, {"DescribePCR": {"index": 16}}) == {"DescribePCR": {"lock": True, "data": second}}
    assert payload_of(attest(nsm))["pcrs"][16] == second
    assert nsm.pcr(16) == Sha384(second)


def test_boot_registers_are_read_only() -> None:
    nsm = enclave()
    for index in range(BOOT_PCR_COUNT):
        assert ask(nsm, {"ExtendPCR": {"index": index, "data": b"x"}}) == {"Error": "ReadOnlyIndex"}
        assert ask(nsm, {"LockPCR": {"index": index}}) == {"Error": "ReadOnlyIndex"}
        assert ask(nsm, {"DescribePCR": {"index": index}})["DescribePCR"]["lock"] is True


def test_lock_range_and_index_bounds() -> None:
    nsm = enclave()
    for request in ({"DescribePCR": {"index": PCR_COUNT}}, {"LockPCR": {"index": PCR_COUNT}},
                    {"ExtendPCR": {"index": PCR_COUNT, "data": b""}}, {"LockPCRs": {"range": PCR_COUNT + 1}}):  # fmt: skip
        assert ask(nsm, request) == {"Error": "InvalidIndex"}
    assert ask(nsm, {"DescribePCR": {"index": PCR_COUNT - 1}})["DescribePCR"]["lock"] is False
    assert ask(nsm, {"LockPCRs": {"range": 0}}) == "LockPCRs"
    assert ask(nsm, {"LockPCRs": {"range": 18}}) == "LockPCRs"
    assert list(payload_of(attest(nsm))["pcrs"]) == list(range(18))
    assert ask(nsm, {"LockPCRs": {"range": PCR_COUNT}}) == "LockPCRs"
    assert list(payload_of(attest(nsm))["pcrs"]) == list(range(32))


def test_random_is_fresh_or_as_told() -> None:
    one, two = (ask(enclave(), "GetRandom")["GetRandom"]["random"] for _ in range(2))
    assert len(one) == len(two) == RANDOM_BYTES
    assert one != two
    assert ask(enclave(random=lambda count: b"\x05" * count), "GetRandom") == {"GetRandom": {"random": b"\x05" * 256}}


@pytest.mark.parametrize("field", ["public_key", "user_data", "nonce"])
def test_field_bounds(field: str) -> None:
    nsm = enclave()
    for length in (0, 1, FIELD_MAX_BYTES):
        assert payload_of(attest(nsm, **{field: b"f" * length}))[field] == b"f" * length
    assert ask(nsm, {"Attestation": {field: b"f" * (FIELD_MAX_BYTES + 1)}}) == {"Error": "InputTooLarge"}


def test_request_and_response_bounds() -> None:
    nsm = enclave()
    overhead = len(cbor2.dumps({"ExtendPCR": {"index": 16, "data": bytes(4000)}})) - 4000
    longest = {"ExtendPCR": {"index": 16, "data": bytes(NSM_REQUEST_MAX_BYTES - overhead)}}
    assert len(cbor2.dumps(longest)) == NSM_REQUEST_MAX_BYTES
    assert "ExtendPCR" in ask(nsm, longest)
    longest["ExtendPCR"]["data"] = bytes(NSM_REQUEST_MAX_BYTES - overhead + 1)
    assert ask(nsm, longest) == {"Error": "InputTooLarge"}
    ask(nsm, {"LockPCRs": {"range": 32}})
    full = b"f" * FIELD_MAX_BYTES
    request = cbor2.dumps({"Attestation": {"user_data": full, "nonce": full, "public_key": full}})
    assert len(nsm.request(request)) < NSM_RESPONSE_MAX_BYTES


@pytest.mark.parametrize(
    ("data", "error"),
    [
        ("", "InvalidArgument"),
        ("f6", "InvalidArgument"),
        ("00", "InvalidArgument"),
        ("80", "InvalidArgument"),
        ("a0", "InvalidArgument"),
        ("60", "InvalidOperation"),
        ("63466f6f", "InvalidOperation"),
        ("a163466f6fa0", "InvalidOperation"),
        ("6b4174746573746174696f6e", "InvalidOperation"),
        ("61ff", "InvalidArgument"),  # not UTF-8
        ("7f61ff", "InvalidArgument"),  # indefinite text
        ("1c", "InvalidArgument"),  # reserved
        ("694765745261", "InvalidArgument"),  # ends early
        ("6947657452616e646f6d00", "InvalidArgument"),  # a byte after GetRandom
        ("78094765745261 6e646f6d", "InvalidArgument"),  # length not in shortest form
        ("a2 6947657452616e646f6df6 64313233 34f6", "InvalidArgument"),  # two operations
        ("a1 6947657452616e646f6d f6", "InvalidOperation"),  # GetRandom as a map
        ("a1 6b4174746573746174696f6e f6", "InvalidArgument"),
        ("a1 f6 f6", "InvalidArgument"),
        ("a1a1a1a1a1a1", "InvalidArgument"),
    ],
)  # fmt: skip
def test_other_bytes_are_refused(data: str, error: str) -> None:
    assert cbor2.loads(enclave().request(bytes.fromhex(data))) == {"Error": error}


@pytest.mark.parametrize(
    "request_",
    [
        {"DescribePCR": {}},
        {"DescribePCR": {"index": None}},
        {"DescribePCR": {"index": b"\x00"}},
        {"DescribePCR": {"index": -1}},
        {"DescribePCR": {"index": 65536}},
        {"DescribePCR": {"index": True}},
        {"DescribePCR": {"index": 1, "more": 1}},
        {"ExtendPCR": {"index": 16}},
        {"ExtendPCR": {"index": 16, "data": "text"}},
        {"ExtendPCR": {"index": 16, "data": None}},
        {"ExtendPCR": {"index": 16, "data": [1, 2]}},
        {"LockPCRs": {"index": 1}},
        {"Attestation": {"nonce": "text"}},
        {"Attestation": {"nonce": 1}},
        {"Attestation": {"nonce": {}}},
        {"Attestation": {"other": None}},
        {"Attestation": []},
    ],
    ids=repr,
)
def test_other_fields_are_refused(request_: object) -> None:
    assert ask(enclave(), request_) == {"Error": "InvalidArgument"}


def test_a_field_given_twice_is_refused() -> None:
    entry = b"\x65index\x10"
    assert cbor2.loads(enclave().request(b"\xa1\x67LockPCR\xa2" + entry + entry)) == {"Error": "InvalidArgument"}


def test_an_index_beyond_the_registers_is_an_index_error_up_to_16_bits() -> None:
    assert ask(enclave(), {"DescribePCR": {"index": 65535}}) == {"Error": "InvalidIndex"}


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


def test_threads_see_every_extension_once() -> None:
    nsm = enclave()
    seen: list[bytes] = []

    def work() -> None:
        for _ in range(50):
            seen.append(ask(nsm, {"ExtendPCR": {"index": 16, "data": b"x"}})["ExtendPCR"]["data"])
            attest(nsm, nonce=b"n")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected, register = set(), ZERO
    for _ in range(200):
        register = hashlib.sha384(register + b"x").digest()
        expected.add(register)
    assert set(seen) == expected


def test_nothing_but_the_messages_types_is_encoded() -> None:
    with pytest.raises(TypeError):
        encode_item({"GetRandom": 1.5})
