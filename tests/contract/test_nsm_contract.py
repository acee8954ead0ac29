"""One contract for every NSM: the device boundary and the software one answer alike."""

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import cbor2
import pytest

from pcrgate.attestation.anchors import Roots
from pcrgate.attestation.chain import ChainCache
from pcrgate.errors import ErrorCode, NsmError
from pcrgate.kms.nsm import Nsm, NsmDevice
from pcrgate.kms.nsm_messages import NsmClient
from pcrgate.twin.nsm import SoftwareNsm
from pcrgate.twin.pki import DevPki
from pcrgate.units import PcrIndex, Sha384
from tests.contract.nsm_driver import MemoryDriver

PKI = DevPki(b"seed of the nsm contract tests..")
ROOTS = Roots.pinned(PKI.root_fingerprint)
PCR0 = Sha384(hashlib.sha384(b"image").digest())
ZERO = bytes(48)


def software() -> SoftwareNsm:
    return SoftwareNsm(pki=PKI, pcrs={0: PCR0})


def at_the_device(nsm: Nsm) -> NsmDevice:
    return NsmDevice(Path(os.devnull), ioctl=MemoryDriver(nsm))


@pytest.fixture(params=["software", "device"])
def nsm(request: pytest.FixtureRequest) -> Iterator[Nsm]:
    if request.param == "software":
        yield software()
    else:
        with at_the_device(software()) as device:
            yield device


@pytest.fixture
def client(nsm: Nsm) -> NsmClient:
    return NsmClient(nsm, roots=ROOTS, cache=ChainCache())


def refusal(action: Callable[[], object]) -> NsmError:
    with pytest.raises(NsmError) as caught:
        action()
    return caught.value


def test_it_describes_itself(client: NsmClient) -> None:
    description = client.describe()
    assert description.version == (1, 0, 0)
    assert description.digest == "SHA384"
    assert description.max_pcrs == 32
    assert description.locked_pcrs == frozenset(range(16))
    assert "-enc" in description.module_id


@pytest.mark.parametrize("length", [0, 1, 512, 513, 1023, 1024])
def test_a_document_says_what_was_asked(client: NsmClient, length: int) -> None:
    fields = [os.urandom(length) for _ in range(3)]
    own = client.attestation(public_key=fields[0], user_data=fields[1], nonce=fields[2])
    assert (own.evidence.public_key, own.evidence.user_data, own.evidence.nonce) == tuple(fields)
    assert own.evidence.pcrs[0] == PCR0
    assert own.evidence.module_id == client.describe().module_id


def test_absent_fields_stay_absent(client: NsmClient) -> None:
    evidence = client.attestation().evidence
    assert (evidence.public_key, evidence.user_data, evidence.nonce) == (None, None, None)


@pytest.mark.parametrize("field", ["public_key", "user_data", "nonce"])
def test_a_field_of_1025_bytes_is_not_sent(client: NsmClient, field: str) -> None:
    error = refusal(lambda: client.attestation(**{field: bytes(1025)}))
    assert error.code is ErrorCode.NSM_REQUEST


def test_boot_registers_are_locked_and_application_registers_are_not(client: NsmClient) -> None:
    assert client.describe_pcr(PcrIndex(0)).value == PCR0
    assert client.describe_pcr(PcrIndex(15)).locked
    state = client.describe_pcr(PcrIndex(16))
    assert not state.locked
    assert state.value.digest == ZERO


def test_extending_hashes_the_old_value_and_the_data(client: NsmClient) -> None:
    first = client.extend_pcr(PcrIndex(16), b"manifest")
    assert first.digest == hashlib.sha384(ZERO + b"manifest").digest()
    second = client.extend_pcr(PcrIndex(16), b"again")
    assert second.digest == hashlib.sha384(first.digest + b"again").digest()
    assert client.describe_pcr(PcrIndex(16)).value == second


@pytest.mark.parametrize("length", [0, 2049])
def test_extensions_out_of_range_are_not_sent(client: NsmClient, length: int) -> None:
    assert refusal(lambda: client.extend_pcr(PcrIndex(16), bytes(length))).code is ErrorCode.NSM_REQUEST


@pytest.mark.parametrize("length", [1, 2048])
def test_extensions_at_the_bounds_are_sent(client: NsmClient, length: int) -> None:
    assert client.extend_pcr(PcrIndex(16), bytes(length)).digest == hashlib.sha384(ZERO + bytes(length)).digest()


def test_a_locked_register_shows_in_documents_and_stays(client: NsmClient) -> None:
    value = client.extend_pcr(PcrIndex(16), b"manifest")
    assert 16 not in client.attestation().evidence.pcrs
    client.lock_pcr(PcrIndex(16))
    assert client.describe_pcr(PcrIndex(16)).locked
    assert client.attestation().evidence.pcrs[16] == value
    for action in (
        lambda: client.extend_pcr(PcrIndex(16), b"more"),
        lambda: client.extend_pcr(PcrIndex(0), b"more"),
        lambda: client.lock_pcr(PcrIndex(16)),
    ):
        error = refusal(action)
        assert error.code is ErrorCode.NSM_REFUSED
        assert "ReadOnlyIndex" in error.message


def test_a_range_is_locked(client: NsmClient) -> None:
    client.lock_pcrs(18)
    assert client.describe().locked_pcrs == frozenset(range(18))
    assert not client.describe_pcr(PcrIndex(18)).locked
    client.lock_pcrs(32)
    assert client.describe_pcr(PcrIndex(31)).locked


@pytest.mark.parametrize("count", [-1, 33])
def test_a_range_out_of_bounds_is_not_sent(client: NsmClient, count: int) -> None:
    assert refusal(lambda: client.lock_pcrs(count)).code is ErrorCode.NSM_REQUEST


@pytest.mark.parametrize("length", [1, 255, 256, 257, 1000])
def test_randomness_has_the_asked_length(client: NsmClient, length: int) -> None:
    first, second = client.get_random(length), client.get_random(length)
    assert len(first) == length
    assert length < 16 or first != second


@pytest.mark.parametrize("length", [0, -1, 65537])
def test_randomness_out_of_range_is_not_asked(client: NsmClient, length: int) -> None:
    assert refusal(lambda: client.get_random(length)).code is ErrorCode.NSM_REQUEST


@pytest.mark.parametrize(
    ("request_item", "error"),
    [
        ("Nonsense", "InvalidOperation"),
        ({"DescribePCR": {"index": 32}}, "InvalidIndex"),
        ({"LockPCRs": {"range": 33}}, "InvalidIndex"),
        ({"ExtendPCR": {"index": 16}}, "InvalidArgument"),
    ],
)
def test_errors_are_answers(nsm: Nsm, request_item: object, error: str) -> None:
    assert cbor2.loads(nsm.request(cbor2.dumps(request_item))) == {"Error": error}


def test_the_longest_request_is_carried(nsm: Nsm) -> None:
    overhead = len(cbor2.dumps({"Attestation": {"user_data": bytes(4000)}})) - 4000
    longest = cbor2.dumps({"Attestation": {"user_data": bytes(4096 - overhead)}})
    assert len(longest) == 4096
    assert cbor2.loads(nsm.request(longest)) == {"Error": "InputTooLarge"}
