"""Charge memory before it is allocated, so that no peer decides how much the enclave holds."""

from typing import Final

from pcrgate.errors import ErrorCode, WireError


class MemoryBudget:
    """Know how much of a fixed amount is spoken for. For one event loop; not for threads.

    Attributes:
        limit_bytes: the amount.
    """

    def __init__(self, limit_bytes: int) -> None:
        """Begin with nothing charged."""
        self.limit_bytes: Final = limit_bytes
        self._charged = 0

    @property
    def charged_bytes(self) -> int:
        """How much is spoken for."""
        return self._charged

    def fits(self, size_bytes: int) -> bool:
        """Whether so much more may be charged."""
        return self._charged + size_bytes <= self.limit_bytes

    def charge(self, size_bytes: int) -> None:
        """Speak for memory.

        Raises:
            WireError: ``wire-busy`` when it would be more than the limit.
        """
        if not self.fits(size_bytes):
            raise WireError(
                ErrorCode.WIRE_BUSY, f"{size_bytes} bytes do not fit the memory budget now, expected fewer at once"
            )
        self._charged += size_bytes

    def release(self, size_bytes: int) -> None:
        """Give back what was charged."""
        self._charged -= size_bytes
