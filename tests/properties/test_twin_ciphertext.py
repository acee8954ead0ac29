"""The ciphertext format of the twin: every byte string is either one of ours or InvalidCiphertextException."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pcrgate.twin.kms.ciphertext import (
    KEY_ID_BYTES,
    MAGIC,
    OVERHEAD_BYTES,
    canonical_context,
    open_ciphertext,
    parse_ciphertext,
    seal_ciphertext,
)
from pcrgate.twin.kms.service_errors import AwsCode, AwsError

SECRET = bytes(range(32))
ARN = "arn:aws:kms:eu-central-1:111122223333:key/11111111-2222-3333-4444-555555555555"
KEY_IDS = st.text("0123456789abcdefmrk-", min_size=1, max_size=KEY_ID_BYTES)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
CONTEXTS = st.dictionaries(TEXTS, TEXTS, max_size=4)


def _seal(plaintext: bytes, key_id: str, context: dict[str, str]) -> bytes:
    return seal_ciphertext(
        plaintext,
        secret=SECRET,
        key_id=key_id,
        material_id="ab" * 32,
        bound_arn=ARN,
        context=context,
        iv=bytes(12),
    )


@given(st.one_of(st.binary(max_size=300), st.binary(max_size=300).map(lambda tail: MAGIC + tail)))
@example(b"")
@example(MAGIC + bytes(OVERHEAD_BYTES))
@example(MAGIC + b"a" + bytes(OVERHEAD_BYTES))
def test_parsing_never_raises_anything_else(blob: bytes) -> None:
    parts, code = None, None
    try:
        parts = parse_ciphertext(blob)
    except AwsError as error:
        code = error.code
    if parts is None:
        assert code is AwsCode.INVALID_CIPHERTEXT
        return
    assert parts.encode() == blob
    with pytest.raises(AwsError) as caught:
        open_ciphertext(parts, secret=SECRET, bound_arn=ARN, context={})
    assert caught.value.code is AwsCode.INVALID_CIPHERTEXT


@given(st.binary(min_size=1, max_size=200), KEY_IDS, CONTEXTS)
def test_what_was_sealed_opens(plaintext: bytes, key_id: str, context: dict[str, str]) -> None:
    blob = _seal(plaintext, key_id, context)
    assert len(blob) == len(plaintext) + OVERHEAD_BYTES
    parts = parse_ciphertext(blob)
    assert (parts.key_id, parts.material_id, parts.encode()) == (key_id, "ab" * 32, blob)
    assert open_ciphertext(parts, secret=SECRET, bound_arn=ARN, context=context) == plaintext


@given(st.binary(min_size=1, max_size=50), KEY_IDS, CONTEXTS, st.data())
def test_any_changed_bit_any_cut_and_any_other_binding_is_refused(
    plaintext: bytes, key_id: str, context: dict[str, str], data: st.DataObject
) -> None:
    blob = _seal(plaintext, key_id, context)
    bit = data.draw(st.integers(0, 8 * len(blob) - 1))
    changed = bytearray(blob)
    changed[bit // 8] ^= 1 << bit % 8
    other = data.draw(CONTEXTS.filter(lambda drawn: drawn != context))
    cut = data.draw(st.integers(0, len(blob) - 1))
    attempts = [
        (bytes(changed), SECRET, ARN, context),
        (blob[:cut], SECRET, ARN, context),
        (blob + b"\0", SECRET, ARN, context),
        (blob, SECRET, ARN, other),
        (blob, SECRET, ARN + "0", context),
        (blob, bytes(32), ARN, context),
    ]
    for attempt, secret, arn, bound in attempts:
        with pytest.raises(AwsError) as caught:
            open_ciphertext(parse_ciphertext(attempt), secret=secret, bound_arn=arn, context=bound)
        assert caught.value.code is AwsCode.INVALID_CIPHERTEXT


@given(CONTEXTS, CONTEXTS)
@example({"ab": "c"}, {"a": "bc"})
@example({"a": "b", "c": "d"}, {"a": "bc", "": "d"})
@settings(max_examples=300)
def test_two_contexts_have_one_encoding_only_when_they_are_equal(left: dict[str, str], right: dict[str, str]) -> None:
    assert (canonical_context(left) == canonical_context(right)) == (left == right)
    assert canonical_context(dict(reversed(left.items()))) == canonical_context(left)
