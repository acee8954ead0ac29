"""Hold secret bytes so that they do not leave by accident: no repr, no pickle, wiped when done."""

import hmac
from types import TracebackType
from typing import Final, NoReturn, Self

from pcrgate.errors import ErrorCode, ReleaseError

_HIDDEN: Final = "SecretBytes(hidden)"


class SecretBytes:
    """Own a secret in memory that can be overwritten.

    Wiping overwrites this buffer. It cannot reach copies: what ``bytes()`` of it made, what a dependency keeps inside
    (OpenSSL clears its own on free), or pages the kernel moved. Best effort, so keep lifetimes short and use ``with``.

    Not a place for concurrency: one owner reads and wipes.
    """

    __slots__ = ("_buffer", "_wiped")

    def __init__(self, source: bytes | bytearray | memoryview) -> None:
        """Take the secret.

        Args:
            source: the secret, any length. A ``bytearray`` is taken over as the buffer itself, without a copy, so that
                wiping reaches the caller's bytes too; anything else is copied.
        """
        self._buffer = source if type(source) is bytearray else bytearray(source)
        self._wiped = False

    def view(self) -> memoryview:
        """Return the secret itself, read-only, without a copy; release it before wiping.

        Raises:
            ReleaseError: ``secret-wiped`` after ``wipe``.
        """
        self._require()
        return memoryview(self._buffer).toreadonly()

    def reveal(self) -> bytes:
        """Return an immutable copy, which cannot be wiped; for callees that accept nothing else.

        Raises:
            ReleaseError: ``secret-wiped`` after ``wipe``.
        """
        self._require()
        return bytes(self._buffer)

    def wipe(self) -> None:
        """Overwrite the secret with zeros; it stays unusable. Wiping twice is fine."""
        self._wiped = True
        self._buffer[:] = bytes(len(self._buffer))

    @property
    def wiped(self) -> bool:
        """Whether the secret has been overwritten."""
        return self._wiped

    def _require(self) -> None:
        if self._wiped:
            raise ReleaseError(ErrorCode.SECRET_WIPED, "the secret was wiped, expected use before its end of life")

    def __len__(self) -> int:
        """Return the length in bytes, also after wiping."""
        return len(self._buffer)

    def __eq__(self, other: object) -> bool:
        """Compare in time independent of the content; only secrets compare, and wiped ones equal nothing."""
        if not isinstance(other, SecretBytes):
            return NotImplemented
        return not (self._wiped or other._wiped) and hmac.compare_digest(self._buffer, other._buffer)

    __hash__ = None  # type: ignore[assignment]  # a hash would be a fingerprint of the secret

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.wipe()

    def __repr__(self) -> str:
        return _HIDDEN

    def __format__(self, spec: str) -> str:
        return _HIDDEN

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a secret cannot be pickled or copied, expected it to stay where it is")
