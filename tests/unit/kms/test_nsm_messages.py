"""The typed NSM client: garbage, oversize, wrong variants and foreign documents are refused (attack A12)."""

import hashlib
import os
from collections.abc import Callable

import cbor2
import pytest

from pcrgate.attestation.anchors import Roots
from pcrgate.errors import ErrorCode, NsmError
from pcrgate.kms.nsm_fields import DEVICE_ERRORS
from pcrgate.kms.nsm_messages import NsmClient
from pcrgate.twin.nsm import SoftwareNsm
from pcrgate.twin.pki import DevPki
from pcrgate.units import PcrIndex, Sha384

PKI = DevPki(b"seed of the nsm message tests...")
ROOTS = Roots.pinned(PKI.root_fingerprint)
HONEST = SoftwareNsm(pki=PKI, pcrs={0: Sha384(hashlib.sha384(b"image").digest())})
DESCRIPTION = cbor2.loads(HONEST.request(cbor2.dumps("DescribeNSM")))["DescribeNSM"]


class LyingNsm:
    """Ask the honest module, then bend its answer."""

    def __init__(self, bend: Callable[[bytes], bytes]) -> None:
        self._bend = bend

    def request(self, data: bytes) -> bytes:
        return self._bend(HONEST.request(data))


def client(bend: Callable[[bytes], bytes]) -> NsmClient:
    return NsmClient(LyingNsm(bend), roots=ROOTS)


def answering(value: object) -> NsmClient:
    return client(lambda _: cbor2.dumps(value))


def refusal(action: Callable[[], object]) -> NsmError:
    with pytest.raises(NsmError) as caught:
        action()
    return caught.value


GARBAGE: dict[str, bytes] = {
    "empty": b"",
    "no cbor": b"\xff\xff",
    "truncated": b"\xa1\x6bDescribeNSM",
    "trailing": cbor2.dumps("LockPCR") + b"\x00",
    "tagged": b"\xc1\x01",
    "long": cbor2.dumps({"Attestation": {"document": bytes(16384)}}),
    "zeros": bytes(16384),
    "number": b"\x01",
    "unknown error": cbor2.dumps({"Error": "Surprise"}),
    "error not text": cbor2.dumps({"Error": 3}),
    "two variants": cbor2.dumps({"LockPCR": {}, "LockPCRs": {}}),
}
ACTIONS: dict[str, Callable[[NsmClient], object]] = {
    "describe": lambda nsm: nsm.describe(),
    "attestation": lambda nsm: nsm.attestation(nonce=bytes(16)),
    "describe_pcr": lambda nsm: nsm.describe_pcr(PcrIndex(0)),
    "extend_pcr": lambda nsm: nsm.extend_pcr(PcrIndex(16), b"x"),
    "lock_pcr": lambda nsm: nsm.lock_pcr(PcrIndex(16)),
    "lock_pcrs": lambda nsm: nsm.lock_pcrs(16),
    "get_random": lambda nsm: nsm.get_random(32),
}


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("garbage", GARBAGE)
def test_garbage_is_refused(action: str, garbage: str) -> None:
    assert refusal(lambda: ACTIONS[action](client(lambda _: GARBAGE[garbage]))).code is ErrorCode.NSM_RESPONSE


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("name", sorted(DEVICE_ERRORS))
def test_device_errors_are_named(action: str, name: str) -> None:
    error = refusal(lambda: ACTIONS[action](answering({"Error": name})))
    assert error.code is ErrorCode.NSM_REFUSED
    assert name in error.message


DOCUMENT = {"Attestation": {"document": b"\x84\x40"}}
WRONG: dict[str, tuple[str, object]] = {
    "description misses a field": ("describe", {"DescribeNSM": {k: DESCRIPTION[k] for k in list(DESCRIPTION)[1:]}}),
    "description has one more": ("describe", {"DescribeNSM": DESCRIPTION | {"more": 1}}),
    "version is text": ("describe", {"DescribeNSM": DESCRIPTION | {"version_major": "1"}}),
    "version is a boolean": ("describe", {"DescribeNSM": DESCRIPTION | {"version_major": True}}),
    "version too large": ("describe", {"DescribeNSM": DESCRIPTION | {"version_minor": 65536}}),
    "version negative": ("describe", {"DescribeNSM": DESCRIPTION | {"version_patch": -1}}),
    "module id is bytes": ("describe", {"DescribeNSM": DESCRIPTION | {"module_id": b"i-0"}}),
    "locked is a map": ("describe", {"DescribeNSM": DESCRIPTION | {"locked_pcrs": {}}}),
    "locked holds text": ("describe", {"DescribeNSM": DESCRIPTION | {"locked_pcrs": ["0"]}}),
    "document is text": ("attestation", {"Attestation": {"document": "no"}}),
    "answer to another request": ("attestation", {"GetRandom": {"random": bytes(32)}}),
    "lock is a number": ("describe_pcr", {"DescribePCR": {"lock": 1, "data": bytes(48)}}),
    "pcr of 32": ("describe_pcr", {"DescribePCR": {"lock": True, "data": bytes(32)}}),
    "pcr of 49": ("describe_pcr", {"DescribePCR": {"lock": True, "data": bytes(49)}}),
    "unit with fields": ("lock_pcrs", {"LockPCRs": {}}),
    "another unit": ("lock_pcrs", "LockPCR"),
    "random empty": ("get_random", {"GetRandom": {"random": b""}}),
    "random a list": ("get_random", {"GetRandom": {"random": [1, 2]}}),
    "fields not a map": ("get_random", {"GetRandom": bytes(32)}),
}


@pytest.mark.parametrize("name", WRONG)
def test_answers_of_another_form_are_refused(name: str) -> None:
    action, answer = WRONG[name]
    assert refusal(lambda: ACTIONS[action](answering(answer))).code is ErrorCode.NSM_RESPONSE


def test_a_document_that_does_not_verify_is_not_used() -> None:
    assert refusal(lambda: answering(DOCUMENT).attestation()).code is ErrorCode.NSM_DOCUMENT


def test_a_document_under_another_root_is_not_used() -> None:
    other = Roots.pinned(DevPki(b"seed of another pki, not ours...").root_fingerprint)
    error = refusal(lambda: NsmClient(HONEST, roots=other).attestation())
    assert error.code is ErrorCode.NSM_DOCUMENT
    assert "root-unpinned" in error.message


@pytest.mark.parametrize("field", ["public_key", "user_data", "nonce"])
@pytest.mark.parametrize("given", [None, b"", b"other"])
def test_a_document_for_another_request_is_not_used(field: str, given: bytes | None) -> None:
    foreign = HONEST.request(cbor2.dumps({"Attestation": {"public_key": None, field: given}}))
    nsm = client(lambda _: foreign)
    error = refusal(lambda: nsm.attestation(**{field: os.urandom(32)}))
    assert error.code is ErrorCode.NSM_DOCUMENT
    assert field in error.message


def test_a_document_with_a_field_nobody_asked_for_is_not_used() -> None:
    foreign = HONEST.request(cbor2.dumps({"Attestation": {"public_key": b"key"}}))
    assert refusal(lambda: client(lambda _: foreign).attestation()).code is ErrorCode.NSM_DOCUMENT


def test_an_extension_that_happened_twice_is_noticed() -> None:
    nsm = SoftwareNsm(pki=PKI, pcrs={0: Sha384(hashlib.sha384(b"image").digest())})

    class Twice:
        def request(self, data: bytes) -> bytes:
            if "ExtendPCR" in str(cbor2.loads(data)):
                nsm.request(data)
            return nsm.request(data)

    error = refusal(lambda: NsmClient(Twice(), roots=ROOTS).extend_pcr(PcrIndex(16), b"once"))
    assert error.code is ErrorCode.NSM_RESPONSE


def test_a_lock_that_did_not_happen_is_noticed() -> None:
    class Lazy:
        def request(self, data: bytes) -> bytes:
            request = cbor2.loads(data)
            if isinstance(request, dict) and "LockPCR" in request:
                return cbor2.dumps("LockPCR")
            return HONEST.request(data)

    error = refusal(lambda: NsmClient(Lazy(), roots=ROOTS).lock_pcr(PcrIndex(17)))
    assert error.code is ErrorCode.NSM_RESPONSE


def test_randomness_is_gathered_and_cut() -> None:
    assert len(answering({"GetRandom": {"random": bytes(7)}}).get_random(30)) == 30
