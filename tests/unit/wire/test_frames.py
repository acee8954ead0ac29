"""Frames: one head, bounded by type; one byte past a limit is refused."""

import pytest

from pcrgate.errors import ErrorCode, WireError
from pcrgate.wire.frames import (
    CONTROL_MAX_BYTES,
    HEAD_BYTES,
    MANIFEST_FRAME_MAX_BYTES,
    PAYLOAD_MAX_BYTES,
    SEALED_MAX_BYTES,
    FrameType,
    encode_frame,
    parse_head,
)


def head(length: int, version: int = 1, kind: int = FrameType.STATUS) -> bytes:
    return length.to_bytes(4, "big") + bytes((version, kind))


@pytest.mark.parametrize("kind", list(FrameType))
def test_each_type_takes_its_limit_and_not_one_byte_more(kind: FrameType) -> None:
    limit = PAYLOAD_MAX_BYTES[kind]
    assert parse_head(head(limit, kind=kind)).payload_bytes == limit
    with pytest.raises(WireError) as refused:
        parse_head(head(limit + 1, kind=kind))
    assert refused.value.code is ErrorCode.WIRE_FRAME
    assert len(encode_frame(kind, bytes(limit))) == HEAD_BYTES + limit
    with pytest.raises(WireError):
        encode_frame(kind, bytes(limit + 1))


def test_the_limits() -> None:
    assert (CONTROL_MAX_BYTES, SEALED_MAX_BYTES, MANIFEST_FRAME_MAX_BYTES) == (65_536, 1_053_696, 1_052_672)


@pytest.mark.parametrize(
    "raw",
    [b"", bytes(5), bytes(7), head(0, version=0), head(0, version=2), head(0, kind=0), head(0, kind=0x7F)],
)
def test_another_head_is_refused(raw: bytes) -> None:
    with pytest.raises(WireError) as refused:
        parse_head(raw)
    assert refused.value.code is ErrorCode.WIRE_FRAME


def test_a_frame_is_its_head_and_payload() -> None:
    frame = encode_frame(FrameType.STATUS, b"\xa0")
    assert frame == b"\x00\x00\x00\x01\x01\x01\xa0"
