import base64

import pytest

from pcrgate.attestation.text import TEXT_MAX_BYTES, read_document_text
from pcrgate.errors import ErrorCode, MalformedEvidenceError
from tests.unit.attestation.documents import document

DOCUMENT = document()


@pytest.mark.parametrize(
    "data",
    [
        DOCUMENT,
        DOCUMENT.hex().encode(),
        DOCUMENT.hex().upper().encode() + b"\n",
        base64.b64encode(DOCUMENT),
        base64.encodebytes(DOCUMENT),
        base64.b64encode(DOCUMENT) + b"\r\n",
    ],
)
def test_three_forms_give_the_same_document(data: bytes) -> None:
    assert read_document_text(data) == DOCUMENT


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", ErrorCode.INPUT_EMPTY),
        (b"A" * (TEXT_MAX_BYTES + 1), ErrorCode.INPUT_TOO_LARGE),
        (b"\n", ErrorCode.INPUT_ENCODING),
        (b"hEQ", ErrorCode.INPUT_ENCODING),
        (b"hEQ=\x00", ErrorCode.INPUT_ENCODING),
        (b"hE Q=", ErrorCode.INPUT_ENCODING),
        (b"hER=", ErrorCode.INPUT_ENCODING),
        (b"hE-_", ErrorCode.INPUT_ENCODING),
        (b"hEQ==", ErrorCode.INPUT_ENCODING),
        (b"=" * 4, ErrorCode.INPUT_ENCODING),
    ],
)
def test_anything_else_is_refused(data: bytes, code: ErrorCode) -> None:
    with pytest.raises(MalformedEvidenceError) as caught:
        read_document_text(data)
    assert caught.value.code is code


def test_the_longest_text_is_read() -> None:
    assert len(read_document_text(b"Z" * (TEXT_MAX_BYTES // 4 * 4))) == TEXT_MAX_BYTES // 4 * 3
