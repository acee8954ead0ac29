"""The seam to the Nitro Secure Module: raw CBOR request in, raw CBOR response out, at the device boundary."""

from typing import Final, Protocol

NSM_REQUEST_MAX_BYTES: Final = 0x1000
"""Longest request, 4 KiB: the driver refuses more. Spec: linux drivers/misc/nsm.c, NSM_REQUEST_MAX_SIZE."""

NSM_RESPONSE_MAX_BYTES: Final = 0x3000
"""Longest response, 12 KiB: the driver never writes more. Spec: linux drivers/misc/nsm.c, NSM_RESPONSE_MAX_SIZE."""


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
