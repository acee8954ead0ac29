"""Hold names, numbers and texts of a manifest to their bounds."""

from collections.abc import Callable, Iterable, Sequence, Sized
from typing import Final, TypeVar

from pcrgate.errors import ErrorCode, ManifestError

NAME_MAX_BYTES: Final = 64
"""Longest name of a secret, agent, workload, action, argument, purpose or image: a line of a log holds several."""

INTEGER_MAX: Final = (1 << 53) - 1
"""Greatest integer, of either sign: what every JSON reader holds exactly."""

TIME_MAX_MS: Final = 253_402_300_799_999
"""Latest time, in milliseconds since 1970: the end of the year 9999, what RFC 3339 can write."""

TEXT_MAX_BYTES: Final = 1024
"""Longest text that a rule compares with."""

_NAME_STARTS: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_NAME_CHARACTERS: Final = _NAME_STARTS | frozenset("._-")

_Entry = TypeVar("_Entry")


def require_name(value: object, what: str) -> None:
    """Refuse what is not a name: 1 to 64 ASCII letters, digits, dots, underscores, hyphens; a letter or digit first.

    Args:
        value: the name.
        what: what it names, for the message.

    Raises:
        ManifestError: ``manifest-field``.
    """
    if (
        type(value) is not str
        or not 1 <= len(value) <= NAME_MAX_BYTES
        or value[0] not in _NAME_STARTS
        or not _NAME_CHARACTERS.issuperset(value)
    ):
        raise ManifestError(
            ErrorCode.MANIFEST_FIELD,
            f"{what} is not a name, expected 1 to {NAME_MAX_BYTES} letters, digits, dots, underscores and hyphens",
        )


def require_integer(value: object, what: str, *, minimum: int = 0, maximum: int = INTEGER_MAX) -> None:
    """Refuse what is not an integer within the bounds; booleans are none.

    Raises:
        ManifestError: ``manifest-field``.
    """
    if type(value) is not int or not minimum <= value <= maximum:
        raise ManifestError(ErrorCode.MANIFEST_FIELD, f"{what} is not an integer from {minimum} to {maximum}")


def require_time(value: object, what: str, *, after_ms: int = 0) -> None:
    """Refuse what is not a time in milliseconds since 1970, later than another, before the year 10000.

    Raises:
        ManifestError: ``manifest-field``.
    """
    require_integer(value, what, minimum=after_ms + 1, maximum=TIME_MAX_MS)


def require_text(value: object, what: str, *, max_bytes: int = TEXT_MAX_BYTES) -> None:
    """Refuse what is not text of 1 byte to the limit in UTF-8.

    Raises:
        ManifestError: ``manifest-field``, ``manifest-limit``.
    """
    if type(value) is not str or not value or not _encodes(value):
        raise ManifestError(ErrorCode.MANIFEST_FIELD, f"{what} is not text, expected at least one character")
    if len(value.encode()) > max_bytes:
        raise ManifestError(ErrorCode.MANIFEST_LIMIT, f"{what} is longer than {max_bytes} bytes")


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can spell
        return False
    return True


def require_count(entries: Sized, what: str, maximum: int, *, minimum: int = 0) -> None:
    """Refuse too many or too few entries.

    Raises:
        ManifestError: ``manifest-limit``; ``manifest-field`` for too few.
    """
    if len(entries) > maximum:
        raise ManifestError(ErrorCode.MANIFEST_LIMIT, f"{len(entries)} {what}, expected at most {maximum}")
    if len(entries) < minimum:
        raise ManifestError(ErrorCode.MANIFEST_FIELD, f"{len(entries)} {what}, expected at least {minimum}")


def in_order(
    entries: Iterable[_Entry], key: Callable[[_Entry], Sequence[object] | str], what: str
) -> tuple[_Entry, ...]:
    """Return the entries in the order of their keys, which must all differ.

    Args:
        entries: in any order.
        key: what orders an entry, and names it.
        what: what the key is, for the message.

    Raises:
        ManifestError: ``manifest-duplicate``.
    """
    ordered = sorted(entries, key=key)  # type: ignore[arg-type]  # all keys of one list are of one orderable type
    require_unique((key(entry) for entry in ordered), what)
    return tuple(ordered)


def require_unique(values: Iterable[object], what: str) -> None:
    """Refuse a value that stands twice.

    Raises:
        ManifestError: ``manifest-duplicate``.
    """
    seen = set()
    for value in values:
        if value in seen:
            raise ManifestError(ErrorCode.MANIFEST_DUPLICATE, f"{what} stands twice, expected it once")
        seen.add(value)
