"""A driver for the device boundary: the kernel's struct in real memory, the software NSM behind it."""

import ctypes
import errno
import struct
from collections.abc import Callable

from pcrgate.kms.nsm import Nsm

DRIVER_REQUEST_MAX_BYTES = 0x1000
DRIVER_RESPONSE_MAX_BYTES = 0x3000
IOCTL_RAW = (3 << 30) | (32 << 16) | (0x0A << 8)  # _IOWR(0x0A, 0, 32 bytes), put together as the kernel does


class MemoryDriver:
    """Answer the one ioctl of the nsm driver as linux drivers/misc/nsm.c does."""

    def __init__(self, nsm: Nsm, *, before: Callable[[], None] | None = None) -> None:
        self._nsm = nsm
        self._before = before
        self.calls = 0

    def __call__(self, descriptor: int, request: int, argument: bytearray, mutate: bool, /) -> int:
        assert descriptor >= 0
        self.calls += 1
        if self._before is not None:
            self._before()
        if request != IOCTL_RAW:
            raise OSError(errno.EINVAL, "wrong ioctl")
        if len(argument) != 32 or not mutate:
            raise OSError(errno.EFAULT, "wrong argument")
        request_address, request_bytes, response_address, response_bytes = struct.unpack("<QQQQ", argument)
        if request_bytes > DRIVER_REQUEST_MAX_BYTES:
            raise OSError(errno.EMSGSIZE, "request too long")
        answer = self._nsm.request(ctypes.string_at(request_address, request_bytes))[:DRIVER_RESPONSE_MAX_BYTES]
        written = min(response_bytes, len(answer))
        ctypes.memmove(response_address, answer, written)
        struct.pack_into("<QQQQ", argument, 0, request_address, request_bytes, response_address, written)
        return 0
