"""What one condition compares a value with, split into what a concrete value settles and what stays open.

Spec: IAM User Guide, "IAM JSON policy elements: Condition operators", "IAM policy elements: Variables and tags".
"""

import base64
import ipaddress
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from enum import Enum
from functools import cached_property
from itertools import pairwise
from operator import eq, ge, gt, le, lt
from typing import Any, Final

from kms_policies.operators import (
    OPERATORS,
    ValueType,
    read_address,
    read_binary,
    read_bool,
    read_date,
    read_network,
    read_number,
)
from kms_policies.patterns import ARN_PARTS, Template, parse_template
from kms_policies.prover_witness import WILD_ATOMS, Pattern
from kms_policies.statements import Condition

_TEXT_TYPES: Final = frozenset({ValueType.STRING, ValueType.ARN})
_VARIABLE: Final = re.compile(r"\$\{([^{}]*)\}")
_ESCAPES: Final = frozenset("*?$")
_ORDERS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "Equals": eq,
    "LessThan": lt,
    "LessThanEquals": le,
    "GreaterThan": gt,
    "GreaterThanEquals": ge,
}

_ADDRESSES: Final = frozenset({"192.0.2.1", "2001:db8::1"})

NUMBER_MAX: Final = Decimal(10) ** 15
"""Largest threshold whose neighbours are tried: beyond it, and below its inverse, decimals of 28 digits could lump
values together, so the prover leaves the comparison open instead."""

YEARS_TRIED: Final = range(2, 9998)
"""Years of a threshold whose neighbours can be written as a date."""


class Match(Enum):
    """Say how a value compares with the values of a policy."""

    YES = "matches one"
    NO = "differs from all"
    NEITHER = "cannot be compared with all, and matches none of the others"
    OPEN = "depends on what is made up for it"


def _variable_keys(text: str) -> tuple[str, ...]:
    """Return the condition keys that ``${...}`` in a value stand for, lower case, without defaults and escapes."""
    inner = (match.partition(",")[0].strip().lower() for match in _VARIABLE.findall(text))
    return tuple(name for name in inner if name not in _ESCAPES)


@dataclass(frozen=True)
class Comparison:
    """Hold the positive form of one condition's operator with all its values.

    Attributes:
        operator: the operator without ``Not``.
        values: the values as written.
        variables: whether ``${...}`` is replaced.
    """

    operator: str
    values: tuple[str, ...]
    variables: bool

    @classmethod
    def of(cls, condition: Condition, *, variables: bool) -> "Comparison":
        """Return the comparison of a condition, without its negation."""
        uses = variables and condition.value_type in _TEXT_TYPES and any("${" in value for value in condition.values)
        return cls(condition.operator.replace("Not", "", 1), condition.values, uses)

    @cached_property
    def value_type(self) -> ValueType:
        """What is compared."""
        return OPERATORS[self.operator]

    @cached_property
    def _templates(self) -> tuple[Template, ...]:
        if self.is_typed:
            return ()
        return tuple(parse_template(value, variables=self.variables) for value in self.values)

    @cached_property
    def open_values(self) -> tuple[Template, ...]:
        """The values whose text depends on the request."""
        return tuple(template for template in self._templates if not template.is_fixed)

    @cached_property
    def open_names(self) -> tuple[tuple[str, ...], ...]:
        """For each open value the condition keys that its variables stand for, lower case."""
        pairs = zip(self._templates, self.values, strict=True)
        return tuple(_variable_keys(value) for template, value in pairs if not template.is_fixed)

    @cached_property
    def _atoms(self) -> tuple[tuple[str, ...], ...]:
        """The settled values of an operator that knows wildcards, piece by piece."""
        if self.operator != "StringLike" and self.value_type is not ValueType.ARN:
            return ()
        return tuple(atoms for t in self._templates if t.is_fixed and (atoms := t.atoms({})) is not None)

    @cached_property
    def _texts(self) -> tuple[str, ...]:
        """The settled values of an operator that compares whole texts."""
        if self.operator not in {"StringEquals", "StringEqualsIgnoreCase"}:
            return ()
        return tuple(text for t in self._templates if t.is_fixed and (text := t.text({})) is not None)

    @cached_property
    def exact(self) -> frozenset[str]:
        """Texts that match as they stand."""
        whole = frozenset("".join(atoms) for atoms in self._atoms if not WILD_ATOMS.intersection(atoms))
        if self.value_type is ValueType.ARN:
            return frozenset(text for text in whole if text.count(":") >= ARN_PARTS - 1)
        return frozenset(self._texts) if self.operator == "StringEquals" else whole

    @cached_property
    def folded(self) -> frozenset[str]:
        """Texts that match in any case, lower case."""
        return frozenset(map(str.lower, self._texts)) if self.operator == "StringEqualsIgnoreCase" else frozenset()

    @cached_property
    def patterns(self) -> tuple[Pattern, ...]:
        """Patterns with a wildcard in them."""
        wild = (atoms for atoms in self._atoms if WILD_ATOMS.intersection(atoms))
        read = Pattern.arn if self.value_type is ValueType.ARN else Pattern.glob
        return tuple(dict.fromkeys(pattern for atoms in wild if (pattern := read(atoms)) is not None))

    @cached_property
    def is_typed(self) -> bool:
        """Whether something other than text is compared."""
        return self.value_type not in _TEXT_TYPES

    @cached_property
    def has_all_neighbours(self) -> bool:
        """Whether ``literals`` of a typed comparison hold a value for each way to answer it."""
        if self.value_type is ValueType.NUMERIC:
            numbers = [number for value in self.values if (number := read_number(value)) is not None]
            return all(abs(n) <= NUMBER_MAX and abs(n) * NUMBER_MAX == int(abs(n) * NUMBER_MAX) for n in numbers)
        if self.value_type is ValueType.DATE:
            return all(date.year in YEARS_TRIED for value in self.values if (date := read_date(value)) is not None)
        return True

    def literals(self) -> set[str]:
        """Return the texts worth trying as a value of the key: every one that an operator treats on its own."""
        if self.is_typed:
            return _typed_candidates(self.value_type, self.values)
        return {*self.exact, *self._texts}

    @cached_property
    def never_differs(self) -> bool:
        """Whether a value can match but never surely differ, because one of the policy's own values is no ARN."""
        fixed = (template.atoms({}) for template in self._templates if template.is_fixed)
        return self.value_type is ValueType.ARN and any(Pattern.arn(atoms or ()) is None for atoms in fixed)

    def answer(self, text: str) -> Match:
        """Return how a concrete value compares with all values, those with variables left aside."""
        if self.is_typed:
            return _typed_answer(self.operator, self.value_type, self.values, text)
        if (
            text in self.exact
            or (bool(self.folded) and text.lower() in self.folded)
            or any(pattern.matches(text) for pattern in self.patterns)
        ):
            return Match.YES
        no_arn = self.value_type is ValueType.ARN and text.count(":") < ARN_PARTS - 1
        return Match.NEITHER if no_arn or self.never_differs else Match.NO


def _networks(values: Sequence[str]) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    return [network for network in map(read_network, values) if network is not None]


def _typed_candidates(value_type: ValueType, values: Sequence[str]) -> set[str]:
    """Return values on, just below and just above every threshold: one for each way to answer all comparisons."""
    found: set[str] = set(values)
    if value_type is ValueType.NUMERIC:
        numbers = sorted({number for value in values if (number := read_number(value)) is not None})
        numbers = [numbers[0] - 1, *numbers, numbers[-1] + 1] if numbers else []
        middles = [(low + high) / Decimal(2) for low, high in pairwise(numbers)]
        found |= {format(number, "f") for number in [*numbers, *middles]}
    elif value_type is ValueType.DATE:
        dates = sorted({date for value in values if (date := read_date(value)) is not None})
        step = timedelta(microseconds=1)
        near = [date + shift for date in dates for shift in (-step, step) if date.year in YEARS_TRIED]
        found |= {date.isoformat(timespec="microseconds").replace("+00:00", "Z") for date in [*dates, *near]}
    elif value_type is ValueType.IP:
        for network in _networks(values):
            first, last = int(network.network_address), int(network.broadcast_address)
            near_addresses = {first, last, max(first - 1, 0), min(last + 1, 2**network.max_prefixlen - 1)}
            make = ipaddress.IPv4Address if network.version == 4 else ipaddress.IPv6Address
            found |= {str(make(number)) for number in near_addresses}
        # Addresses of the version that no range speaks of are outside every range.
        found = {value for value in found if "/" not in value} | _ADDRESSES
    elif value_type is ValueType.BOOL:
        found |= {"true", "false"}
    elif value_type is ValueType.BINARY:
        contents = [content for value in values if (content := read_binary(value)) is not None]
        found.add(base64.b64encode(b"-".join([*contents, b"-"])).decode())
    return found


def _typed_answer(operator: str, value_type: ValueType, values: Sequence[str], text: str) -> Match:
    """Compare numbers, dates, truth values, bytes or addresses; a text that is none of them cannot be compared."""
    given, found = _typed_match(operator, value_type, values, text)
    return Match.NEITHER if given is None else Match.YES if found else Match.NO


def _typed_match(operator: str, value_type: ValueType, values: Sequence[str], text: str) -> tuple[object, bool]:
    if value_type is ValueType.IP:
        address = read_address(text)
        return address, address is not None and any(address in network for network in _networks(values))
    if value_type is ValueType.BOOL:
        truth = read_bool(text)
        return truth, truth in map(read_bool, values)
    if value_type is ValueType.BINARY:
        content = read_binary(text)
        return content, content in map(read_binary, values)
    read: Callable[[str], object] = read_number if value_type is ValueType.NUMERIC else read_date
    order = _ORDERS[operator.removeprefix("Numeric").removeprefix("Date")]
    given = read(text)
    found = given is not None and any(limit is not None and order(given, limit) for limit in map(read, values))
    return given, found
