"""The seam to the Nitro Secure Module: raw CBOR request in, raw CBOR response out, at the device boundary."""

import ctypes
import errno
import fcntl
import os
import struct
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

from pcrgate.errors import ErrorCode, NsmError

NSM_DEVICE: Final = Path("/dev/nsm")
"""Where the driver puts the device. Spec: linux drivers/misc/nsm.c, nsm_device_probe."""

NSM_REQUEST_MAX_BYTES: Final = 0x1000
"""Longest request, 4 KiB: the driver refuses more. Spec: linux include/uapi/linux/nsm.h, NSM_REQUEST_MAX_SIZE."""

NSM_RESPONSE_MAX_BYTES: Final = 0x4000
"""Longest response taken, 16 KiB: the payload limit of a document. Today's driver writes at most 12 KiB
(NSM_RESPONSE_MAX_SIZE in the same header), so a longer answer shows itself instead of being cut in silence."""

NSM_IOCTL_RAW: Final = 0xC0200A00
"""_IOWR(0x0A, 0, struct nsm_raw): read and write, 32 bytes. Spec: linux include/uapi/linux/nsm.h."""

INTERRUPTED_ATTEMPTS_MAX: Final = 8
"""How often a call that a signal interrupted is made again; the driver waits uninterruptibly, so once is rare."""

# struct nsm_raw: two iovecs (address, length), all 64 bits, whatever the pointer size.
_RAW: Final = struct.Struct("=QQQQ")


class Nsm(Protocol):
    """Answer requests as ``/dev/nsm`` does."""

    def request(self, data: bytes) -> bytes:
        """Return the device's raw CBOR answer to one raw CBOR request.

        Args:
            data: the CBOR request, 1 to 4096 bytes.

        Raises:
            NsmError: when the device is missing, busy or failed; never for an error that the answer itself reports.
        """
        ...


class Ioctl(Protocol):
    """Call the driver: ``fcntl.ioctl``, or in tests a driver that reads and writes the same memory."""

    def __call__(self, descriptor: int, request: int, argument: bytearray, mutate: bool, /) -> int:
        """Carry out one ioctl on ``argument`` in place; raise OSError as the kernel says."""
        ...


class NsmDevice:
    """Own an open ``/dev/nsm``. Safe to share between threads: the driver serialises requests."""

    __slots__ = ("_descriptor", "_ioctl")

    def __init__(self, path: Path = NSM_DEVICE, *, ioctl: Ioctl = fcntl.ioctl) -> None:
        """Open the device.

        Args:
            path: the device node.
            ioctl: how the driver is called.

        Raises:
            NsmError: ``nsm-device-missing`` when it cannot be opened.
        """
        self._ioctl: Final = ioctl
        self._descriptor: int | None = None
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            name = errno.errorcode.get(error.errno or 0, "unknown")
            raise NsmError(
                ErrorCode.NSM_DEVICE_MISSING, f"{path} cannot be opened ({name}), expected the NSM driver"
            ) from None

    def request(self, data: bytes) -> bytes:
        """Return the device's raw CBOR answer to one raw CBOR request.

        Raises:
            NsmError: ``nsm-request`` beyond 4096 bytes, ``nsm-device-failed`` when the driver fails,
                ``nsm-response`` when it claims to have written more than it could.
        """
        if not 0 < len(data) <= NSM_REQUEST_MAX_BYTES:
            raise NsmError(
                ErrorCode.NSM_REQUEST, f"an NSM request of {len(data)} bytes, expected 1 to {NSM_REQUEST_MAX_BYTES}"
            )
        if self._descriptor is None:
            raise NsmError(ErrorCode.NSM_DEVICE_MISSING, "the NSM device was closed, expected it to be open")
        request = ctypes.create_string_buffer(data, len(data))
        response = ctypes.create_string_buffer(NSM_RESPONSE_MAX_BYTES)
        written = self._call(self._descriptor, ctypes.addressof(request), len(data), ctypes.addressof(response))
        if not 0 < written <= NSM_RESPONSE_MAX_BYTES:
            raise NsmError(
                ErrorCode.NSM_RESPONSE, f"an NSM answer of {written} bytes, expected 1 to {NSM_RESPONSE_MAX_BYTES}"
            )
        answer = ctypes.string_at(response, written)
        ctypes.memset(response, 0, NSM_RESPONSE_MAX_BYTES)  # it may have held random bytes
        return answer

    def _call(self, descriptor: int, request_address: int, request_bytes: int, response_address: int) -> int:
        """Call the driver and return how many bytes it wrote."""
        for _ in range(INTERRUPTED_ATTEMPTS_MAX):
            argument = bytearray(_RAW.pack(request_address, request_bytes, response_address, NSM_RESPONSE_MAX_BYTES))
            try:
                self._ioctl(descriptor, NSM_IOCTL_RAW, argument, True)
            except InterruptedError:
                continue
            except OSError as error:
                name = errno.errorcode.get(error.errno or 0, "unknown")
                raise NsmError(
                    ErrorCode.NSM_DEVICE_FAILED, f"the NSM driver failed with {name}, expected an answer"
                ) from None
            return int(_RAW.unpack(argument)[3])
        raise NsmError(
            ErrorCode.NSM_DEVICE_FAILED, "the NSM driver was interrupted again and again, expected an answer"
        )

    def close(self) -> None:
        """Close the device; closing twice is fine."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
