"""Read DER: definite shortest lengths, canonical values, nothing left over.

Spec: X.690, 10 and 11.
"""

import datetime as dt
import re
from typing import Final

from pcrgate.errors import ErrorCode, MalformedEvidenceError

BOOLEAN: Final = 0x01
INTEGER: Final = 0x02
BIT_STRING: Final = 0x03
OCTET_STRING: Final = 0x04
OID: Final = 0x06
UTF8_STRING: Final = 0x0C
PRINTABLE_STRING: Final = 0x13
UTC_TIME: Final = 0x17
GENERALIZED_TIME: Final = 0x18
SEQUENCE: Final = 0x30
SET: Final = 0x31

_UTC_TIME: Final = re.compile(rb"(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z")
_GENERALIZED_TIME: Final = re.compile(rb"(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z")


def der_error(fact: str) -> MalformedEvidenceError:
    """Return the error for bytes that are not strict DER; its code is always ``der``."""
    return MalformedEvidenceError(ErrorCode.DER, fact)


class DerReader:
    """Walk the elements of one constructed value, front to back."""

    __slots__ = ("_data", "_end", "_position")

    def __init__(self, data: bytes, start: int = 0, end: int | None = None) -> None:
        self._data = data
        self._position = start
        self._end = len(data) if end is None else end

    @property
    def at_end(self) -> bool:
        """Whether nothing is left."""
        return self._position == self._end

    def peek(self) -> int | None:
        """Return the tag of the next element, or None at the end."""
        return None if self.at_end else self._data[self._position]

    def _element(self, tag: int) -> tuple[int, int, int]:
        """Return the start of the element, of its content, and the end, and step over it."""
        data, start, limit = self._data, self._position, self._end
        if start + 2 > limit:
            raise der_error("an element is cut off")
        if data[start] != tag:
            raise der_error(f"tag {data[start]:#04x} where {tag:#04x} is expected")
        length, content = data[start + 1], start + 2
        if length >= 0x80:
            width = length & 0x7F
            content += width
            if not 1 <= width <= 2 or content > limit:
                raise der_error("a length is indefinite, cut off, or longer than a certificate can be")
            length = int.from_bytes(data[start + 2 : content], "big")
            if length < (0x80 if width == 1 else 0x100):
                raise der_error("a length is not in its shortest form")
        end = content + length
        if end > limit:
            raise der_error("an element is cut off")
        self._position = end
        return start, content, end

    def content(self, tag: int) -> bytes:
        """Return the content of the next element, which must carry ``tag``."""
        _, content, end = self._element(tag)
        return self._data[content:end]

    def whole(self, tag: int) -> bytes:
        """Return the next element with its head."""
        start, _, end = self._element(tag)
        return self._data[start:end]

    def enter(self, tag: int) -> "DerReader":
        """Return a reader over the next element's content."""
        _, content, end = self._element(tag)
        return DerReader(self._data, content, end)

    def finish(self) -> None:
        """Refuse anything left over."""
        if not self.at_end:
            raise der_error("bytes follow the last element of a value")

    def boolean(self) -> bool:
        """Return a BOOLEAN, 0xFF or 0x00 only."""
        content = self.content(BOOLEAN)
        if content not in (b"\xff", b"\x00"):
            raise der_error("a BOOLEAN is neither FF nor 00")
        return content == b"\xff"

    def unsigned(self) -> int:
        """Return a non-negative INTEGER in shortest form."""
        content = self.content(INTEGER)
        if not content or content[0] >= 0x80:
            raise der_error("an INTEGER is empty or negative")
        if len(content) > 1 and content[0] == 0 and content[1] < 0x80:
            raise der_error("an INTEGER is not in its shortest form")
        return int.from_bytes(content, "big")

    def identifier(self) -> bytes:
        """Return the content of an OBJECT IDENTIFIER whose components are complete and shortest. Spec: X.690, 8.19."""
        content = self.content(OID)
        starts = True
        for byte in content:
            if starts and byte == 0x80:
                raise der_error("an OBJECT IDENTIFIER is not in its shortest form")
            starts = byte < 0x80
        if not content or not starts:
            raise der_error("an OBJECT IDENTIFIER is empty or cut off")
        return content

    def bit_string(self) -> bytes:
        """Return the bytes of a BIT STRING of whole bytes."""
        content = self.content(BIT_STRING)
        if not content or content[0] != 0:
            raise der_error("a BIT STRING has unused bits where whole bytes are expected")
        return content[1:]

    def named_bits(self) -> frozenset[int]:
        """Return the numbers of the set bits of a named bit list, trailing zeros removed. Spec: X.690, 11.2.2."""
        content = self.content(BIT_STRING)
        if not content or content[0] > 7:
            raise der_error("a named bit list has an impossible number of unused bits")
        unused, bits = content[0], content[1:]
        if not bits:
            if unused:
                raise der_error("an empty named bit list has unused bits")
            return frozenset()
        if bits[-1] & ((1 << (unused + 1)) - 1) != 1 << unused:
            raise der_error("a named bit list has trailing zero bits or unused bits that are set")
        return frozenset(8 * i + j for i, byte in enumerate(bits) for j in range(8) if byte & (0x80 >> j))

    def time_s(self) -> int:
        """Return a UTCTime (to 2049) or GeneralizedTime (from 2050) as seconds since the epoch.

        Spec: RFC 5280, 4.1.2.5.
        """
        tag = self.peek()
        if tag == UTC_TIME:
            match = _UTC_TIME.fullmatch(self.content(UTC_TIME))
        elif tag == GENERALIZED_TIME:
            match = _GENERALIZED_TIME.fullmatch(self.content(GENERALIZED_TIME))
        else:
            raise der_error("a time is neither UTCTime nor GeneralizedTime")
        if match is None:
            raise der_error("a time is not of the form YYMMDDHHMMSSZ or YYYYMMDDHHMMSSZ")
        year, month, day, hour, minute, second = (int(part) for part in match.groups())
        if tag == UTC_TIME:
            year += 2000 if year < 50 else 1900
        elif year < 2050:
            raise der_error("a time before 2050 is not UTCTime")
        try:
            return int(dt.datetime(year, month, day, hour, minute, second, tzinfo=dt.UTC).timestamp())
        except ValueError as error:
            raise der_error("a time names a day or hour that does not exist") from error
