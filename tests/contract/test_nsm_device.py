"""The device boundary itself: struct layout, sizes, signals and failures of the driver."""

import errno
import os
import struct
import threading
from pathlib import Path

import pytest

from pcrgate.errors import ErrorCode, NsmError
from pcrgate.kms.nsm import INTERRUPTED_ATTEMPTS_MAX, NSM_IOCTL_RAW, NsmDevice
from tests.contract.nsm_driver import IOCTL_RAW, MemoryDriver

NULL = Path(os.devnull)


class FixedNsm:
    """Answer every request with the same bytes, whatever they are."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.requests: list[bytes] = []

    def request(self, data: bytes) -> bytes:
        self.requests.append(data)
        return self.answer


def test_the_ioctl_number_is_the_kernels() -> None:
    assert NSM_IOCTL_RAW == IOCTL_RAW == 0xC0200A00


def test_bytes_pass_unchanged_both_ways() -> None:
    nsm = FixedNsm(bytes(range(256)) * 48)
    with NsmDevice(NULL, ioctl=MemoryDriver(nsm)) as device:
        assert device.request(b"a request\x00with zeros\x00") == nsm.answer
    assert nsm.requests == [b"a request\x00with zeros\x00"]


def test_requests_are_bounded() -> None:
    nsm = FixedNsm(b"\x60")
    with NsmDevice(NULL, ioctl=MemoryDriver(nsm)) as device:
        assert device.request(bytes(4096)) == b"\x60"
        for length in (0, 4097):
            with pytest.raises(NsmError) as caught:
                device.request(bytes(length))
            assert caught.value.code is ErrorCode.NSM_REQUEST
    assert len(nsm.requests) == 1


@pytest.mark.parametrize("claimed", [0, 16385, 1 << 40, (1 << 64) - 1])
def test_a_driver_that_claims_an_impossible_length_is_refused(claimed: int) -> None:
    def ioctl(descriptor: int, request: int, argument: bytearray, mutate: bool, /) -> int:
        struct.pack_into("<Q", argument, 24, claimed)
        return 0

    with NsmDevice(NULL, ioctl=ioctl) as device, pytest.raises(NsmError) as caught:
        device.request(b"\x60")
    assert caught.value.code is ErrorCode.NSM_RESPONSE


def test_the_largest_answer_is_taken() -> None:
    def ioctl(descriptor: int, request: int, argument: bytearray, mutate: bool, /) -> int:
        assert struct.unpack_from("<Q", argument, 24) == (16384,)
        return 0

    with NsmDevice(NULL, ioctl=ioctl) as device:
        assert device.request(b"\x60") == bytes(16384)


def test_a_missing_device_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NsmError) as caught:
        NsmDevice(tmp_path / "nsm")
    assert caught.value.code is ErrorCode.NSM_DEVICE_MISSING
    assert "ENOENT" in caught.value.message
    assert "software NSM" in caught.value.code.advice


def test_a_device_that_is_no_nsm_fails_at_the_real_ioctl() -> None:
    with NsmDevice(NULL) as device, pytest.raises(NsmError) as caught:
        device.request(b"\x60")
    assert caught.value.code is ErrorCode.NSM_DEVICE_FAILED
    assert "ENOTTY" in caught.value.message


def test_a_closed_device_is_not_used() -> None:
    device = NsmDevice(NULL, ioctl=MemoryDriver(FixedNsm(b"\x60")))
    device.close()
    device.close()
    with pytest.raises(NsmError) as caught:
        device.request(b"\x60")
    assert caught.value.code is ErrorCode.NSM_DEVICE_MISSING


def interrupted(times: int) -> MemoryDriver:
    remaining = [times]

    def before() -> None:
        if remaining[0]:
            remaining[0] -= 1
            raise InterruptedError(errno.EINTR, "interrupted")

    return MemoryDriver(FixedNsm(b"\x60"), before=before)


def test_an_interrupted_call_is_made_again() -> None:
    driver = interrupted(INTERRUPTED_ATTEMPTS_MAX - 1)
    with NsmDevice(NULL, ioctl=driver) as device:
        assert device.request(b"\x60") == b"\x60"
    assert driver.calls == INTERRUPTED_ATTEMPTS_MAX


def test_endless_interruptions_end() -> None:
    driver = interrupted(1000)
    with NsmDevice(NULL, ioctl=driver) as device, pytest.raises(NsmError) as caught:
        device.request(b"\x60")
    assert caught.value.code is ErrorCode.NSM_DEVICE_FAILED
    assert driver.calls == INTERRUPTED_ATTEMPTS_MAX


@pytest.mark.parametrize("number", [errno.EMSGSIZE, errno.ETIMEDOUT, errno.EIO, 9999])
def test_a_failing_driver_is_named(number: int) -> None:
    def before() -> None:
        raise OSError(number, "driver")

    with (
        NsmDevice(NULL, ioctl=MemoryDriver(FixedNsm(b""), before=before)) as device,
        pytest.raises(NsmError) as caught,
    ):
        device.request(b"\x60")
    assert caught.value.code is ErrorCode.NSM_DEVICE_FAILED
    assert errno.errorcode.get(number, "unknown") in caught.value.message


def test_threads_share_a_device() -> None:
    class Echo:
        def request(self, data: bytes) -> bytes:
            return data

    answers: dict[int, bytes] = {}
    with NsmDevice(NULL, ioctl=MemoryDriver(Echo())) as device:

        def ask(number: int) -> None:
            answers[number] = device.request(number.to_bytes(4, "big"))

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers == {number: number.to_bytes(4, "big") for number in range(50)}
