"""Hold released weights in memory of their own: one allocation, huge pages where there are some, wiped at the end."""

import contextlib
import ctypes
import mmap
from types import TracebackType
from typing import Final, Self

from pcrgate.errors import ErrorCode, ReleaseError

WIPE_STEP_BYTES: Final = 1 << 20
"""How much is overwritten at once: enough to run at memory speed, small enough to need no second buffer."""


class WeightsBuffer:
    """Own plaintext weights. Wiping overwrites this memory; copies that a framework makes of it are the framework's."""

    __slots__ = ("_memory", "_size_bytes", "_view")

    def __init__(self, size_bytes: int) -> None:
        """Reserve memory; pages come when they are written.

        Args:
            size_bytes: at least 1.

        Raises:
            ReleaseError: ``weights-size`` when it is not positive, or the memory is not to be had.
        """
        if size_bytes < 1:
            raise ReleaseError(ErrorCode.WEIGHTS_SIZE, "a buffer for weights holds at least one byte")
        try:
            self._memory = mmap.mmap(-1, size_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        except (OSError, OverflowError, ValueError) as error:
            raise ReleaseError(ErrorCode.WEIGHTS_SIZE, f"{size_bytes} bytes of memory are not to be had") from error
        if hasattr(mmap, "MADV_HUGEPAGE"):
            with contextlib.suppress(OSError):  # the kernel has none: ordinary pages do, slower
                self._memory.madvise(mmap.MADV_HUGEPAGE)
        self._size_bytes = size_bytes
        self._view: memoryview | None = memoryview(self._memory)

    def writable(self) -> memoryview:
        """Return the memory for writing.

        Raises:
            ReleaseError: ``secret-wiped`` after ``wipe``.
        """
        if self._view is None:
            raise ReleaseError(ErrorCode.SECRET_WIPED, "the weights were wiped, expected use before their end of life")
        return self._view

    def view(self) -> memoryview:
        """Return the weights, read-only, without a copy; release what was made of it before wiping.

        Raises:
            ReleaseError: ``secret-wiped`` after ``wipe``.
        """
        return self.writable().toreadonly()

    def wipe(self) -> None:
        """Overwrite the memory with zeros and give it back; wiping twice is fine.

        Memory that a framework still holds a view of is overwritten too, and given back when the view goes.
        """
        view, self._view = self._view, None
        if view is None:
            return
        for start in range(0, self._size_bytes, WIPE_STEP_BYTES):
            length = min(WIPE_STEP_BYTES, self._size_bytes - start)
            ctypes.memset(ctypes.addressof(ctypes.c_char.from_buffer(view, start)), 0, length)
        view.release()
        try:
            self._memory.close()
        except BufferError:  # somebody holds a view: the memory is zero and goes with the view
            return

    @property
    def wiped(self) -> bool:
        """Whether the weights have been overwritten."""
        return self._view is None

    def __len__(self) -> int:
        return self._size_bytes

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.wipe()

    def __repr__(self) -> str:
        return f"WeightsBuffer({self._size_bytes} bytes, hidden)"
