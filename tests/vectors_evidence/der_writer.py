"""Write DER, and on purpose things that are not DER."""

import datetime as dt

SEQUENCE, SET, INTEGER, BOOLEAN, BIT_STRING, OCTET_STRING, OID = 0x30, 0x31, 0x02, 0x01, 0x03, 0x04, 0x06
UTF8_STRING, PRINTABLE_STRING, UTC_TIME, GENERALIZED_TIME, NULL = 0x0C, 0x13, 0x17, 0x18, 0x05


def tlv(tag: int, *content: bytes) -> bytes:
    """One element with the shortest definite length."""
    body = b"".join(content)
    if len(body) < 0x80:
        return bytes([tag, len(body)]) + body
    width = (len(body).bit_length() + 7) // 8
    return bytes([tag, 0x80 | width]) + len(body).to_bytes(width, "big") + body


def sequence(*content: bytes) -> bytes:
    return tlv(SEQUENCE, *content)


def oid(dotted: str) -> bytes:
    first, second, *rest = (int(part) for part in dotted.split("."))
    encoded = bytearray([40 * first + second])
    for arc in rest:
        groups = [arc & 0x7F]
        while arc := arc >> 7:
            groups.insert(0, 0x80 | arc & 0x7F)
        encoded += bytes(groups)
    return tlv(OID, bytes(encoded))


def unsigned(number: int) -> bytes:
    return tlv(INTEGER, number.to_bytes(number.bit_length() // 8 + 1, "big"))


def boolean(value: bool) -> bytes:
    return tlv(BOOLEAN, b"\xff" if value else b"\x00")


def octets(content: bytes) -> bytes:
    return tlv(OCTET_STRING, content)


def bits(content: bytes, unused: int = 0) -> bytes:
    return tlv(BIT_STRING, bytes([unused]), content)


def named_bits(*numbers: int) -> bytes:
    """A named bit list below 16, trailing zero bits removed."""
    value = sum(1 << (15 - number) for number in numbers).to_bytes(2, "big").rstrip(b"\x00")
    last = value[-1] if value else 1
    return bits(value, (last & -last).bit_length() - 1)


def utc_time(seconds: int) -> bytes:
    return tlv(UTC_TIME, dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%y%m%d%H%M%SZ").encode())


def name(*attributes: tuple[str, str]) -> bytes:
    """A Name of single-valued RDNs; a country is a PrintableString, everything else is UTF-8, as AWS writes them."""
    return sequence(
        *(
            tlv(SET, sequence(oid(kind), tlv(PRINTABLE_STRING if kind == COUNTRY else UTF8_STRING, value.encode())))
            for kind, value in attributes
        )
    )


COMMON_NAME, COUNTRY, LOCALITY, STATE = "2.5.4.3", "2.5.4.6", "2.5.4.7", "2.5.4.8"
ORGANIZATION, UNIT = "2.5.4.10", "2.5.4.11"
