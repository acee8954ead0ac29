"""Messages: what is encoded decodes to itself, and nothing else is taken."""

from typing import Any

import cbor2
import pytest

from pcrgate.errors import ErrorCode, PcrgateError, ReleaseError, WireError
from pcrgate.wire import messages as wire
from pcrgate.wire.fields import Count, Maybe, Octets, Several, Tally, Text
from pcrgate.wire.frames import HEAD_BYTES, FrameHead, FrameType, parse_head
from pcrgate.wire.messages import CLASSES, Message, decode_message, encode_message
from pcrgate.wire.problems import code_of, problem_details, problem_of, status_of

SAMPLES: tuple[Message, ...] = (
    wire.StatusRequest(),
    wire.StatusAnswer(phase="live", failure=None, counters={"requests": 16}),
    wire.EvidenceRequest(nonce=bytes(16)),
    wire.EvidenceAnswer(document=b"d", identity=b"i"),
    wire.SessionOpen(hello=b"h"),
    wire.SessionOpenAnswer(response=b"w", receipt=b"r"),
    wire.SessionConfirm(ticket=b"c"),
    wire.SessionConfirmAnswer(session_id=bytes(16), receipt=b"r"),
    wire.SessionResume(hello=b"h", ticket=b"t"),
    wire.SessionResumeAnswer(response=b"w", receipt=b"r"),
    wire.SessionEnd(record=b"s"),
    wire.SessionEndAnswer(receipt=b"r"),
    wire.Invoke(record=b"s"),
    wire.InvokeAnswer(record=b"s", receipt=b"r"),
    wire.ReceiptsRequest(first=0),
    wire.ReceiptsAnswer(receipts=(b"a", b"b")),
    wire.Drain(),
    wire.DrainAnswer(),
    wire.BlobRequest(sha384=bytes(48), offset=1 << 40),
    wire.BlobAnswer(follows_bytes=1 << 40),
    wire.CredentialsRequest(),
    wire.CredentialsAnswer(access_key_id="A", secret_access_key="S", session_token=None, expires_at_s=1),
    wire.ManifestRequest(),
    wire.ManifestAnswer(manifest=b"m"),
    wire.Problem(code="wire-busy", detail="later", receipt=None),
)


def decoded(frame: bytes) -> Message:
    return decode_message(parse_head(frame[:HEAD_BYTES]), frame[HEAD_BYTES:])


def test_there_is_a_sample_of_every_type() -> None:
    assert {type(sample) for sample in SAMPLES} == set(CLASSES.values())
    assert set(CLASSES) == set(FrameType)


@pytest.mark.parametrize("message", SAMPLES, ids=lambda message: type(message).__name__)
def test_a_message_comes_back(message: Message) -> None:
    frame = encode_message(message)
    assert decoded(frame) == message
    assert isinstance(cbor2.loads(frame[HEAD_BYTES:]), dict)


def of(kind: FrameType, value: Any) -> Message:
    payload = cbor2.dumps(value)
    return decode_message(FrameHead(kind=kind, payload_bytes=len(payload)), payload)


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"nonce": bytes(15)},
        {"nonce": bytes(65)},
        {"nonce": "0123456789abcdef"},
        {"nonce": bytes(16), "more": 1},
        [bytes(16)],
        {"nonce": None},
        {"nonce": 1.5},
    ],
)
def test_another_shape_is_refused(value: Any) -> None:
    with pytest.raises(WireError) as refused:
        of(FrameType.EVIDENCE, value)
    assert refused.value.code is ErrorCode.WIRE_MESSAGE


def test_one_message_has_one_encoding() -> None:
    # The same two fields, in the other order.
    payload = b"\xa2\x68identity\x41i\x68document\x41d"
    with pytest.raises(WireError, match="deterministic"):
        decode_message(FrameHead(kind=FrameType.EVIDENCE_ANSWER, payload_bytes=len(payload)), payload)


def test_a_payload_of_another_length_than_announced_is_refused() -> None:
    with pytest.raises(WireError):
        decode_message(FrameHead(kind=FrameType.STATUS, payload_bytes=2), b"\xa0")


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        (Octets(1, 2), (b"a", b"ab"), (b"", b"abc", "a", bytearray(b"a"))),
        (Text(3), ("a", "abc", "a b"), ("", "abcd", "a\n", "\x7f", "\xe4", b"a", 1)),
        (Count(3), (0, 3), (-1, 4, True, "1", None)),
        (Several(Count(1), 2), ([], [0, 1]), ([0, 0, 0], [2], 1, None, b"ab")),
        (Tally(1), ({}, {"a_1": 2}), ({"a": 1, "b": 2}, {"A": 1}, {1: 1}, {"a": -1}, [])),
        (Maybe(Count(1)), (None, 1), (2, "", False)),
    ],
)
def test_fields_take_their_values_and_nothing_beside(field: Any, good: Any, bad: Any) -> None:
    for value in good:
        assert field.check("name", value) == value
    for value in bad:
        with pytest.raises(WireError):
            field.check("name", value)


def test_encoding_is_as_strict_as_decoding() -> None:
    with pytest.raises(WireError):
        encode_message(wire.EvidenceRequest(nonce=b"short"))


def test_credentials_do_not_show() -> None:
    shown = repr(
        wire.CredentialsAnswer(access_key_id="A", secret_access_key="hidden", session_token="too", expires_at_s=1)
    )
    assert "hidden" not in shown
    assert "too" not in shown


def test_an_error_becomes_a_problem_and_its_details() -> None:
    problem = problem_of(ReleaseError(ErrorCode.KMS_RESPONSE, "a fact\nand ümläuts " + "x" * 600))
    assert problem.code == "kms-response"
    assert problem.detail.startswith("a fact?and ?ml?uts ")
    assert len(problem.detail) == 512
    assert decoded(encode_message(problem)) == problem
    details = problem_details(problem)
    assert details["type"] == "urn:pcrgate:error:kms-response"
    assert details["status"] == 502
    assert details["title"] == ErrorCode.KMS_RESPONSE.meaning


def test_an_error_that_is_not_ours_says_nothing_of_itself() -> None:
    problem = problem_of(KeyError("secret value"))
    assert problem.code == "internal"
    assert "secret" not in problem.detail
    assert problem_of(PcrgateError(ErrorCode.WIRE_BUSY, "")).detail == "-"


def test_unknown_codes_are_internal_and_every_code_has_a_status() -> None:
    assert code_of(wire.Problem(code="not-a-code", detail="x")) is ErrorCode.INTERNAL
    assert {status_of(code) for code in ErrorCode} <= {400, 403, 500, 502, 503}
    assert status_of(ErrorCode.WIRE_BUSY) == 503
