"""Whatever bytes come: a message or a WireError, and what decodes has no second encoding."""

from hypothesis import given
from hypothesis import strategies as st

from pcrgate.attestation.cbor import encode
from pcrgate.errors import WireError
from pcrgate.wire.frames import HEAD_BYTES, FrameHead, FrameType, parse_head
from pcrgate.wire.messages import decode_message, encode_message
from tests.unit.wire.test_messages import SAMPLES

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.binary(max_size=60) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=8,
)
NAMES = [
    "nonce",
    "phase",
    "failure",
    "counters",
    "hello",
    "sealed",
    "session_id",
    "receipts",
    "first",
    "code",
    "detail",
]


def attempt(raw: bytes) -> None:
    try:
        head = parse_head(raw[:HEAD_BYTES])
        message = decode_message(head, raw[HEAD_BYTES:])
    except WireError:
        return
    assert encode_message(message) == raw


@given(st.binary(max_size=80))
def test_any_bytes(raw: bytes) -> None:
    attempt(raw)


@given(st.sampled_from(FrameType), st.binary(max_size=80))
def test_any_payload(kind: FrameType, payload: bytes) -> None:
    attempt(len(payload).to_bytes(4, "big") + bytes((1, kind)) + payload)


@given(st.sampled_from(FrameType), st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=4))
def test_any_fields(kind: FrameType, fields: dict[str, object]) -> None:
    payload = encode(fields)  # type: ignore[arg-type]  # whatever Hypothesis makes is CBOR
    try:
        message = decode_message(FrameHead(kind=kind, payload_bytes=len(payload)), payload)
    except WireError:
        return
    assert encode_message(message)[HEAD_BYTES:] == payload


@given(st.sampled_from(SAMPLES), st.data())
def test_any_changed_byte(message: object, data: st.DataObject) -> None:
    frame = bytearray(encode_message(message))  # type: ignore[arg-type]  # sampled from messages
    place = data.draw(st.integers(0, len(frame) - 1))
    frame[place] ^= data.draw(st.integers(1, 255))
    attempt(bytes(frame))
