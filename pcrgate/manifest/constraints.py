"""Say what an argument of an action may be. Data only: the workload compares, by the rules written here.

There are no patterns to run and no floating point: text is compared byte by byte, money counts minor units.
"""

from dataclasses import dataclass
from typing import Final

from pcrgate.errors import ErrorCode, ManifestError
from pcrgate.manifest.bounds import (
    INTEGER_MAX,
    in_order,
    require_count,
    require_integer,
    require_text,
)

CHOICES_MAX: Final = 256
"""Most values of one choice."""

FREE_TEXT_MAX_BYTES: Final = 65_536
"""Longest text that a rule may leave free: a request is one frame."""

_CURRENCY_LETTERS: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Equals:
    """Admit one value, of the same type: ``True`` is not ``1``.

    Attributes:
        value: text of at most 1024 bytes, an integer, or a boolean.
    """

    value: str | int | bool

    def __post_init__(self) -> None:
        if type(self.value) is not bool:
            _require_scalar(self.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class OneOf:
    """Admit any of several values, all text or all integers, of the same type.

    Attributes:
        values: 1 to 256 different ones; kept in order.
    """

    values: tuple[str, ...] | tuple[int, ...]

    def __post_init__(self) -> None:
        require_count(self.values, "values of one-of", CHOICES_MAX, minimum=1)
        if len({type(value) for value in self.values}) != 1:
            raise ManifestError(ErrorCode.MANIFEST_FIELD, "the values of one-of are of several types, expected one")
        for value in self.values:
            _require_scalar(value)
        object.__setattr__(self, "values", in_order(self.values, lambda value: (value,), "a value of one-of"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefix:
    """Admit text whose UTF-8 begins with the prefix's, within a length.

    A prefix of a path says nothing of ``..`` behind it: end it with a slash and have the tool resolve nothing.

    Attributes:
        prefix: 1 to 1024 bytes.
        max_bytes: longest text admitted, prefix included.
    """

    prefix: str
    max_bytes: int

    def __post_init__(self) -> None:
        require_text(self.prefix, "a prefix")
        require_integer(
            self.max_bytes, "max_bytes of a prefix", minimum=len(self.prefix.encode()), maximum=FREE_TEXT_MAX_BYTES
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FreeText:
    """Admit any text within a length.

    Attributes:
        max_bytes: longest text admitted, in UTF-8.
    """

    max_bytes: int

    def __post_init__(self) -> None:
        require_integer(self.max_bytes, "max_bytes of free text", minimum=1, maximum=FREE_TEXT_MAX_BYTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class IntegerRange:
    """Admit integers within bounds: rows, tokens, counts.

    Attributes:
        minimum: least value admitted.
        maximum: greatest value admitted.
        total_per_boot: greatest sum of the values admitted since boot; None for no such limit. With it the minimum is
            at least 0, or a negative value would give back what others used.
    """

    minimum: int
    maximum: int
    total_per_boot: int | None = None

    def __post_init__(self) -> None:
        require_integer(self.minimum, "minimum of a range", minimum=-INTEGER_MAX)
        require_integer(self.maximum, "maximum of a range", minimum=self.minimum)
        if self.total_per_boot is not None:
            require_integer(self.minimum, "minimum of a range with a total")
            require_integer(self.total_per_boot, "total_per_boot of a range")


@dataclass(frozen=True, slots=True, kw_only=True)
class MaxAmount:
    """Admit ``{"currency": text, "minor_units": integer}`` of one currency, from 0 units to a limit.

    Attributes:
        currency: three capital letters. Spec: ISO 4217.
        max_minor_units: greatest single amount, in the currency's smallest unit (cents).
        total_minor_units_per_boot: greatest sum since boot; None for no such limit.
    """

    currency: str
    max_minor_units: int
    total_minor_units_per_boot: int | None = None

    def __post_init__(self) -> None:
        if type(self.currency) is not str or len(self.currency) != 3 or not _CURRENCY_LETTERS.issuperset(self.currency):
            raise ManifestError(ErrorCode.MANIFEST_FIELD, "a currency is not three capital letters, expected ISO 4217")
        require_integer(self.max_minor_units, "max_minor_units of an amount")
        if self.total_minor_units_per_boot is not None:
            require_integer(self.total_minor_units_per_boot, "total_minor_units_per_boot of an amount")


Constraint = Equals | OneOf | Prefix | FreeText | IntegerRange | MaxAmount
"""What an argument may be."""


def _require_scalar(value: object) -> None:
    if type(value) is int:
        require_integer(value, "a value of a rule", minimum=-INTEGER_MAX)
    else:
        require_text(value, "a value of a rule")
