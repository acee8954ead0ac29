"""The software NSM answers requests as the device does."""

import hashlib
import threading

import cbor2
import pytest

from pcrgate.kms.nsm import NSM_REQUEST_MAX_BYTES
from pcrgate.twin.nsm import BOOT_PCR_COUNT, PCR_COUNT, RANDOM_BYTES
from pcrgate.twin.nsm_codec import encode_item
from pcrgate.units import FIELD_MAX_BYTES, Sha384
from tests.unit.twin.nsm_devices import (
    MODULE,
    ZERO,
    ask,
    attest,
    enclave,
    nitrotpm,
    payload_of,
)

DRIVER_RESPONSE_MAX_BYTES = 0x3000  # linux include/uapi/linux/nsm.h


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
    assert len(nsm.request(request)) < DRIVER_RESPONSE_MAX_BYTES


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
        {"LockPCR": {"index": 16, "nonce": None}},
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
    with pytest.raises(TypeError, match="no place"):
        encode_item({"GetRandom": 1.5})


@pytest.mark.parametrize(
    ("head", "length", "accepted"),
    [(b"\x57", 23, True), (b"\x58\x17", 23, False), (b"\x58\x18", 24, True), (b"\x58\xff", 255, True),
     (b"\x59\x00\xff", 255, False), (b"\x59\x01\x00", 256, True), (b"\x5a\x00\x00\x01\x00", 256, False)],
)  # fmt: skip
def test_lengths_have_one_form(head: bytes, length: int, accepted: bool) -> None:
    request = b"\xa1\x69ExtendPCR\xa2\x65index\x10\x64data" + head + bytes(length)
    answer = cbor2.loads(enclave().request(request))
    extended = {"ExtendPCR": {"data": hashlib.sha384(ZERO + bytes(length)).digest()}}
    assert answer == (extended if accepted else {"Error": "InvalidArgument"})
