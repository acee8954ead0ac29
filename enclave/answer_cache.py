"""Remember answers, so that the same bytes get the same answer and no second effect; bounded in number and memory."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class AnswerCache(Generic[K, V]):
    """Answer each key once, also when it comes twice at the same time; forget the oldest. Safe to share."""

    def __init__(
        self,
        *,
        entries_max: int,
        bytes_max: int,
        size: Callable[[V], int],
        keep: Callable[[V], bool] = lambda _: True,
    ) -> None:
        """Begin empty.

        Args:
            entries_max: most answers kept.
            bytes_max: most bytes kept.
            size: returns how many bytes an answer takes.
            keep: returns whether an answer is kept at all.
        """
        self._entries_max: Final = entries_max
        self._bytes_max: Final = bytes_max
        self._size: Final = size
        self._worth: Final = keep
        self._changed: Final = threading.Condition()
        self._kept: Final[OrderedDict[K, V]] = OrderedDict()
        self._making: Final[set[K]] = set()
        self._bytes = 0

    def once(self, key: K, make: Callable[[], V]) -> V:
        """Return the answer to a key: the one kept, or the one made now. What raises is not kept."""
        with self._changed:
            self._changed.wait_for(lambda: key not in self._making)
            if key in self._kept:
                return self._kept[key]
            self._making.add(key)
        try:
            answer = make()
            if self._worth(answer):
                with self._changed:
                    self._keep(key, answer)
            return answer
        finally:
            with self._changed:
                self._making.discard(key)
                self._changed.notify_all()

    def _keep(self, key: K, answer: V) -> None:
        self._kept[key] = answer
        self._bytes += self._size(answer)
        while len(self._kept) > self._entries_max or self._bytes > self._bytes_max:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= self._size(oldest)
