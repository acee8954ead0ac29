"""Read sealed weights from wherever they come: memory, or a stream that may break and is opened again."""

from collections.abc import Iterator
from typing import Final, Protocol

from pcrgate.errors import ErrorCode, ReleaseError

RESUME_ATTEMPTS: Final = 5
"""How often in a row a stream is opened again without another span arriving whole."""


class ByteStream(Protocol):
    """Give bytes in order, as raw files and sockets do. Deadlines are the stream's own."""

    def readinto(self, buffer: memoryview, /) -> int | None:
        """Fill some of the buffer and return how much; 0 at the end. Raise OSError when the stream breaks."""
        ...


class CiphertextSource(Protocol):
    """Open the sealed weights at an offset."""

    def open(self, offset: int) -> ByteStream:
        """Return a stream of the bytes from ``offset`` on; called again at a later offset after a break.

        Raises:
            OSError: when it cannot be opened now.
        """
        ...


class IteratorStream:
    """Turn chunks that arrive into a stream."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        """Take the chunks, each of any length."""
        self._chunks = chunks
        self._rest = memoryview(b"")

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill some of the buffer from the current chunk, or the next one that is not empty."""
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = memoryview(chunk)
        length = min(len(buffer), len(self._rest))
        buffer[:length] = self._rest[:length]
        self._rest = self._rest[length:]
        return length


class MemorySource:
    """Hold sealed weights that are in memory already, to be opened without copying.

    Attributes:
        sealed: the whole message, read-only.
    """

    __slots__ = ("sealed",)

    def __init__(self, sealed: bytes | bytearray | memoryview) -> None:
        """Take a view of the message; it must not change meanwhile."""
        self.sealed = memoryview(sealed).toreadonly().cast("B")

    def open(self, offset: int) -> ByteStream:
        """Return a stream of the bytes from ``offset`` on."""
        return IteratorStream(iter((bytes(self.sealed[offset:]),)))


class Feed(Protocol):
    """Give the message piece by piece, each piece whole or not at all.

    Attributes:
        in_place: whether pieces are views of a message in memory, so that no memory is needed to receive them.
    """

    in_place: bool

    def take(self, length: int, memory: bytearray | None = None) -> memoryview:
        """Return the next ``length`` bytes, received in ``memory`` when it is given and needed."""
        ...

    def finish(self) -> None:
        """Refuse bytes after the message."""
        ...


class MemoryFeed:
    """Give views of a message in memory."""

    in_place = True

    def __init__(self, source: MemorySource) -> None:
        """Start at the beginning."""
        self._sealed = source.sealed
        self._position = 0

    def take(self, length: int, memory: bytearray | None = None) -> memoryview:  # noqa: ARG002 - nothing is received
        """Return a view of the next ``length`` bytes.

        Raises:
            ReleaseError: ``weights-truncated`` when there are fewer.
        """
        end = self._position + length
        if end > len(self._sealed):
            raise truncated(self._position)
        piece = self._sealed[self._position : end]
        self._position = end
        return piece

    def finish(self) -> None:
        """Refuse bytes after the message.

        Raises:
            ReleaseError: ``weights-trailing``.
        """
        if self._position != len(self._sealed):
            raise trailing(self._position)


class StreamFeed:
    """Receive pieces from a stream, opening it again where a piece began when it breaks."""

    in_place = False

    def __init__(self, source: CiphertextSource) -> None:
        """Start at the beginning; the stream is opened when the first byte is needed."""
        self._source = source
        self._stream: ByteStream | None = None
        self._position = 0

    def take(self, length: int, memory: bytearray | None = None) -> memoryview:
        """Return the next ``length`` bytes.

        Args:
            length: how many.
            memory: where to receive them, at least as long; None takes new memory.

        Raises:
            ReleaseError: ``weights-truncated`` when the stream keeps ending early, ``weights-source`` when it keeps
                breaking.
        """
        piece = memoryview(bytearray(length) if memory is None else memory)[:length]
        for attempt in range(RESUME_ATTEMPTS + 1):
            try:
                if self._fill(piece):
                    self._position += length
                    return piece
            except OSError as error:
                if attempt == RESUME_ATTEMPTS:
                    raise ReleaseError(
                        ErrorCode.WEIGHTS_SOURCE, f"the source broke {RESUME_ATTEMPTS + 1} times at one place"
                    ) from error
            self._stream = None
        raise truncated(self._position)

    def _fill(self, piece: memoryview) -> bool:
        """Fill the piece and return whether the stream had that much."""
        if self._stream is None:
            self._stream = self._source.open(self._position)
        filled = 0
        while filled < len(piece):
            read = self._stream.readinto(piece[filled:])
            if not read:
                return False
            filled += read
        return True

    def finish(self) -> None:
        """Refuse bytes after the message; a stream that breaks where it should end has ended.

        Raises:
            ReleaseError: ``weights-trailing``.
        """
        if self._stream is None:
            return
        try:
            more = self._stream.readinto(memoryview(bytearray(1)))
        except OSError:
            return
        if more:
            raise trailing(self._position)


def truncated(position: int) -> ReleaseError:
    """Return the refusal of a message that ends too early."""
    return ReleaseError(ErrorCode.WEIGHTS_TRUNCATED, f"the sealed weights end within what begins at byte {position}")


def trailing(position: int) -> ReleaseError:
    """Return the refusal of a message that goes on after its final frame."""
    return ReleaseError(ErrorCode.WEIGHTS_TRAILING, f"bytes follow the final frame, which ends at byte {position}")
