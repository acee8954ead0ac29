"""Fields have one reading: no two messages share an encoding, and nothing else is read."""

import pytest

from pcrgate.envelope import session_labels
from pcrgate.envelope.session_fields import MESSAGE_MAX_BYTES, NUMBER_MAX, number, pack, sized, unpack
from pcrgate.errors import ErrorCode, SessionError


def test_the_encoding_is_what_the_protocol_says() -> None:
    assert pack(b"ab", b"c", 258, b"") == bytes.fromhex("00000002 6162 00000001 63 00000008 0000000000000102 00000000")


def test_fields_come_back() -> None:
    assert unpack(pack(b"label", b"one", b"", b"three"), b"label", 3) == (b"one", b"", b"three")
    assert unpack(pack(b"label"), b"label", 0) == ()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        pack(b"other", b"one"),
        pack(b"label"),
        pack(b"label", b"one", b"two"),
        pack(b"label", b"one")[:-1],
        pack(b"label", b"one") + b"\0",
        pack(b"label", b"one") + bytes(4),
        b"\xff\xff\xff\xff",
        pack(b"label")[:3],
    ],
)
def test_everything_else_is_refused(data: bytes) -> None:
    with pytest.raises(SessionError) as caught:
        unpack(data, b"label", 1)
    assert caught.value.code is ErrorCode.SESSION_MESSAGE


def test_the_bound_on_a_message() -> None:
    overhead = len(pack(b"label", b""))
    assert unpack(pack(b"label", bytes(MESSAGE_MAX_BYTES - overhead)), b"label", 1)
    with pytest.raises(SessionError, match="at most"):
        unpack(pack(b"label", bytes(MESSAGE_MAX_BYTES - overhead + 1)), b"label", 1)


@pytest.mark.parametrize("value", [0, 1, NUMBER_MAX])
def test_numbers_within_their_range(value: int) -> None:
    assert number(unpack(pack(b"label", value), b"label", 1)[0]) == value


@pytest.mark.parametrize("value", [-1, NUMBER_MAX + 1])
def test_numbers_outside_it(value: int) -> None:
    with pytest.raises(SessionError):
        pack(b"label", value)


@pytest.mark.parametrize("field", [b"", bytes(7), bytes(9), b"\x80" + bytes(7)])
def test_a_number_has_one_form(field: bytes) -> None:
    with pytest.raises(SessionError):
        number(field)


def test_a_field_has_its_length() -> None:
    assert sized(b"ab", 2) == b"ab"
    for length in (1, 3):
        with pytest.raises(SessionError):
            sized(b"ab", length)


def test_labels_are_apart() -> None:
    labels = [value for name, value in vars(session_labels).items() if name.isupper()]
    assert len(labels) == len(set(labels)) >= 17
    assert not [a for a in labels for b in labels if a != b and b.startswith(a)]
    assert all(label.startswith(b"pcrgate/") for label in labels)
