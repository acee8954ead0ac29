"""Condition operators: every one that IAM knows, what it compares, and which literals it can be given.

Spec: IAM User Guide, "IAM JSON policy elements: Condition operators", "Multivalued context keys".
"""

import base64
import binascii
import ipaddress
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from types import MappingProxyType
from typing import Final

from pcrgate.errors import ErrorCode, KeyPolicyError


class SetOperator(Enum):
    """Name how a multi-valued key is compared."""

    FOR_ANY_VALUE = "ForAnyValue"
    FOR_ALL_VALUES = "ForAllValues"


class ValueType(Enum):
    """Name what an operator compares."""

    STRING = "string"
    ARN = "arn"
    NUMERIC = "numeric"
    DATE = "date"
    BOOL = "bool"
    BINARY = "binary"
    IP = "ip"
    PRESENCE = "presence"


_STRING_OPERATORS: Final = (
    "StringEquals",
    "StringNotEquals",
    "StringEqualsIgnoreCase",
    "StringNotEqualsIgnoreCase",
    "StringLike",
    "StringNotLike",
)
_ARN_OPERATORS: Final = ("ArnEquals", "ArnLike", "ArnNotEquals", "ArnNotLike")
_ORDERS: Final = ("Equals", "NotEquals", "LessThan", "LessThanEquals", "GreaterThan", "GreaterThanEquals")

OPERATORS: Final[Mapping[str, ValueType]] = MappingProxyType(
    dict.fromkeys(_STRING_OPERATORS, ValueType.STRING)
    | dict.fromkeys(_ARN_OPERATORS, ValueType.ARN)
    | dict.fromkeys((f"Numeric{order}" for order in _ORDERS), ValueType.NUMERIC)
    | dict.fromkeys((f"Date{order}" for order in _ORDERS), ValueType.DATE)
    | {
        "Bool": ValueType.BOOL,
        "BinaryEquals": ValueType.BINARY,
        "IpAddress": ValueType.IP,
        "NotIpAddress": ValueType.IP,
        "Null": ValueType.PRESENCE,
    }
)
"""Every condition operator without prefix and suffix, as AWS spells it, and what it compares."""

VARIABLE_TYPES: Final = frozenset({ValueType.STRING, ValueType.ARN})
"""What may hold policy variables. Spec: IAM User Guide, "IAM policy elements: Variables and tags"."""

_SPELLING: Final = MappingProxyType({name.lower(): name for name in OPERATORS})
_SET_SPELLING: Final = MappingProxyType({member.value.lower(): member for member in SetOperator})
_IF_EXISTS: Final = "ifexists"
_NUMBER: Final = re.compile(r"-?\d{1,400}(?:\.\d{1,400})?")
_DATE: Final = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?(Z|[+-]\d\d:?\d\d)?)?)?)?"
)
_EPOCH: Final = re.compile(r"\d{1,12}")


def parse_operator(text: str) -> tuple[str, SetOperator | None, bool]:
    """Split an operator as written, in any case, into AWS's spelling, set operator and ``IfExists``.

    Raises:
        KeyPolicyError: ``policy-operator`` for one that IAM does not know, and for ``Null`` with prefix or suffix.
    """
    prefix, colon, name = text.rpartition(":")
    set_operator = _SET_SPELLING.get(prefix.lower()) if colon else None
    folded = name.lower()
    if_exists = folded.endswith(_IF_EXISTS)
    base = _SPELLING.get(folded.removesuffix(_IF_EXISTS))
    if base is None or (colon and set_operator is None):
        raise KeyPolicyError(ErrorCode.POLICY_OPERATOR, f"unknown condition operator {text[:80]!a}")
    if base == "Null" and (if_exists or set_operator is not None):
        raise KeyPolicyError(ErrorCode.POLICY_OPERATOR, f"{text[:80]!a}: Null takes neither prefix nor IfExists")
    return base, set_operator, if_exists


def read_number(text: str) -> Decimal | None:
    """Return the integer or decimal number that ``text`` spells, or ``None``; IAM knows no exponents."""
    return Decimal(text) if _NUMBER.fullmatch(text) else None


def read_date(text: str) -> datetime | None:
    """Return the instant that ``text`` spells as ISO 8601 date or seconds of the Unix epoch, or ``None``.

    A date without offset is UTC.
    """
    match = _DATE.fullmatch(text)
    try:
        if match is None or (_EPOCH.fullmatch(text) and len(text) != 4):
            return datetime.fromtimestamp(int(text), tz=UTC) if _EPOCH.fullmatch(text) else None
        year, month, day, hour, minute, second, fraction, offset = match.groups()
        instant = f"{year}-{month or '01'}-{day or '01'}T{hour or '00'}:{minute or '00'}:{second or '00'}"
        microseconds = (fraction or "")[:6].ljust(6, "0")
        return datetime.fromisoformat(f"{instant}.{microseconds}{offset or 'Z'}").astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def read_bool(text: str) -> bool | None:
    """Return the truth value that ``text`` spells in any case, or ``None``."""
    return {"true": True, "false": False}.get(text.lower())


def read_binary(text: str) -> bytes | None:
    """Return the bytes that ``text`` spells as base64, or ``None``."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def read_network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """Return the address range that ``text`` spells in CIDR notation, or ``None``; one address is a range of one."""
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def read_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the address that ``text`` spells, or ``None``."""
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def read_arn_pattern(text: str) -> str | None:
    """Return ``text`` when it has the six parts of an ARN or holds a variable, else ``None``."""
    return text if text.count(":") >= 5 or "${" in text else None


_READERS: Final = MappingProxyType(
    {
        ValueType.ARN: read_arn_pattern,
        ValueType.NUMERIC: read_number,
        ValueType.DATE: read_date,
        ValueType.BOOL: read_bool,
        ValueType.PRESENCE: read_bool,
        ValueType.BINARY: read_binary,
        ValueType.IP: read_network,
    }
)


def check_value(operator: str, value: str) -> None:
    """Refuse a literal that ``operator`` could never compare.

    Raises:
        KeyPolicyError: ``policy-value``.
    """
    value_type = OPERATORS[operator]
    reader = _READERS.get(value_type)
    if reader is not None and reader(value) is None:
        raise KeyPolicyError(ErrorCode.POLICY_VALUE, f"{operator} cannot compare {value[:80]!a}, a {value_type.value}")
