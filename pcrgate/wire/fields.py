"""Describe the fields of messages once, and hold both directions to the description."""

import re
from dataclasses import dataclass
from typing import Final, Protocol

from pcrgate.attestation.cbor import CborValue
from pcrgate.errors import ErrorCode, WireError

_U63_MAX: Final = (1 << 63) - 1


class Field(Protocol):
    """Say which values a field may have."""

    def check(self, name: str, value: object) -> CborValue:
        """Return the value when it may stand there.

        Raises:
            WireError: ``wire-message``.
        """
        ...


@dataclass(frozen=True, slots=True)
class Octets:
    """Take a byte string.

    Attributes:
        least: fewest bytes.
        most: most bytes.
    """

    least: int
    most: int

    def check(self, name: str, value: object) -> CborValue:
        """Return the bytes.

        Raises:
            WireError: ``wire-message``.
        """
        if type(value) is not bytes or not self.least <= len(value) <= self.most:
            raise refused(f"{name} is not a byte string of {self.least} to {self.most} bytes")
        return value


@dataclass(frozen=True, slots=True)
class Text:
    """Take text of a form.

    Attributes:
        most: most characters; at least one.
        pattern: which characters, as a regular expression for the whole; printable ASCII by default.
    """

    most: int
    pattern: str = r"[\x20-\x7e]+"

    def check(self, name: str, value: object) -> CborValue:
        """Return the text.

        Raises:
            WireError: ``wire-message``.
        """
        if type(value) is not str or len(value) > self.most or not re.fullmatch(self.pattern, value):
            raise refused(f"{name} is not text of 1 to {self.most} allowed characters")
        return value


@dataclass(frozen=True, slots=True)
class Count:
    """Take a whole number.

    Attributes:
        most: the largest; the smallest is 0.
    """

    most: int = _U63_MAX

    def check(self, name: str, value: object) -> CborValue:
        """Return the number.

        Raises:
            WireError: ``wire-message``.
        """
        if type(value) is not int or not 0 <= value <= self.most:
            raise refused(f"{name} is not a number from 0 to {self.most}")
        return value


@dataclass(frozen=True, slots=True)
class Several:
    """Take an array of equal fields.

    Attributes:
        each: what every entry is.
        most: most entries.
    """

    each: Octets | Text | Count
    most: int

    def check(self, name: str, value: object) -> CborValue:
        """Return the entries as a tuple in messages, as an array on the wire.

        Raises:
            WireError: ``wire-message``.
        """
        if not isinstance(value, (list, tuple)) or len(value) > self.most:
            raise refused(f"{name} is not an array of at most {self.most} entries")
        return [self.each.check(name, entry) for entry in value]


@dataclass(frozen=True, slots=True)
class Tally:
    """Take a map from names to whole numbers.

    Attributes:
        most: most entries.
    """

    most: int

    def check(self, name: str, value: object) -> CborValue:
        """Return the map.

        Raises:
            WireError: ``wire-message``.
        """
        if not isinstance(value, dict) or len(value) > self.most:
            raise refused(f"{name} is not a map of at most {self.most} entries")
        label, count = Text(64, r"[a-z0-9_]+"), Count()
        return {str(label.check(name, key)): count.check(name, entry) for key, entry in value.items()}


@dataclass(frozen=True, slots=True)
class Maybe:
    """Take null, or another field.

    Attributes:
        field: what it is when it is there.
    """

    field: Octets | Text | Count

    def check(self, name: str, value: object) -> CborValue:
        """Return None or the value.

        Raises:
            WireError: ``wire-message``.
        """
        return None if value is None else self.field.check(name, value)


def refused(fact: str) -> WireError:
    """Return the refusal of a message."""
    return WireError(ErrorCode.WIRE_MESSAGE, fact)
