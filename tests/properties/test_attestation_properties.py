"""No input raises anything but our errors; what is accepted has one encoding; changes do not go unnoticed."""

import base64

import cbor2
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from pcrgate.attestation.cbor import CborValue, decode, encode
from pcrgate.attestation.certificate import parse_certificate
from pcrgate.attestation.chain import ChainCache
from pcrgate.attestation.cose import parse_sign1
from pcrgate.attestation.document import parse_payload
from pcrgate.attestation.text import read_document_text
from pcrgate.attestation.verifier import Recorded, verify
from pcrgate.errors import CborError, EvidenceError, MalformedEvidenceError
from tests.unit.attestation.documents import ROOTS, document

DOCUMENT = document(nonce=b"n" * 20, user_data=b"u", public_key=b"k" * 30)
CACHE = ChainCache()
PARSED = parse_payload(parse_sign1(DOCUMENT).payload)

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**64), 2**64 - 1), st.binary(max_size=80), st.text(max_size=40)
)
keys = st.one_of(st.integers(-(2**64), 2**64 - 1), st.text(max_size=20))
values: st.SearchStrategy[CborValue] = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=5), st.dictionaries(keys, inner, max_size=5)),
    max_leaves=20,
)


def _depth(value: CborValue) -> int:
    if isinstance(value, dict):
        return 1 + max((_depth(entry) for entry in value.values()), default=0)
    return 1 + max((_depth(entry) for entry in value), default=0) if isinstance(value, list) else 0


@given(values.filter(lambda value: _depth(value) <= 8))
def test_encoding_round_trips_and_agrees_with_an_independent_reader(value: CborValue) -> None:
    encoded = encode(value)
    assert decode(encoded) == value
    assert cbor2.loads(encoded) == value


@given(st.binary(max_size=200), st.booleans())
def test_what_decodes_has_no_second_encoding(data: bytes, indefinite: bool) -> None:
    try:
        value = decode(data, indefinite_top=indefinite)
    except CborError:
        return
    if not indefinite:
        # key order is the one freedom left: sorting it again must give the same length and value
        assert len(encode(value)) == len(data)
    assert decode(encode(value)) == value


@given(st.binary(max_size=400))
def test_arbitrary_bytes_are_refused_with_our_errors(data: bytes) -> None:
    for read in (parse_sign1, parse_payload, read_document_text, parse_certificate):
        try:
            read(data or b"\0")
        except EvidenceError:
            continue


edits = st.lists(
    st.tuples(st.integers(0, len(DOCUMENT) - 1), st.integers(0, 4), st.binary(max_size=6)), min_size=1, max_size=4
)


@given(edits)
def test_edited_documents_never_verify(changes: list[tuple[int, int, bytes]]) -> None:
    changed = DOCUMENT
    for position, removed, inserted in changes:
        changed = changed[:position] + inserted + changed[position + removed :]
    if changed in (DOCUMENT, b"\xd2" + DOCUMENT):
        return
    try:
        verify(changed, ROOTS, Recorded(), cache=CACHE)
    except EvidenceError:
        return
    raise AssertionError("an edited document verifies")


def parse_issuer(level: int) -> bytes:
    return parse_certificate(PARSED.cabundle[level]).subject


@given(st.integers(0, 3), st.integers(0, 900), st.binary(min_size=1, max_size=3))
def test_a_certificate_we_read_is_read_alike_by_an_independent_reader(level: int, at: int, patch: bytes) -> None:
    der = (*PARSED.cabundle[1:], PARSED.certificate)[level]
    at %= len(der)
    edited = der[:at] + patch + der[at + len(patch) :]
    try:
        ours = parse_certificate(edited)
    except EvidenceError:
        return
    if ours.issuer != parse_issuer(level):
        return  # never read: the chain demands that it equals, byte for byte, the subject above, which was
    theirs = x509.load_der_x509_certificate(edited)
    assert ours.serial == theirs.serial_number
    assert ours.tbs == theirs.tbs_certificate_bytes
    assert ours.signature == theirs.signature
    assert ours.not_before_s == theirs.not_valid_before_utc.timestamp()
    assert ours.not_after_s == theirs.not_valid_after_utc.timestamp()
    assert ours.subject == theirs.subject.public_bytes()


@given(st.binary(min_size=1, max_size=200).map(lambda data: b"\x84" + data))
def test_three_text_forms_give_one_document(raw: bytes) -> None:
    if raw.isascii():
        return
    for form in (raw, raw.hex().encode(), base64.b64encode(raw)):
        assert read_document_text(form) == raw


@given(st.text(alphabet="0123456789abcdefABCDEFghXYZ+/=-_ \r\n", max_size=60))
def test_text_that_is_read_has_one_form(text: str) -> None:
    try:
        document_read = read_document_text(text.encode())
    except MalformedEvidenceError:
        return
    bare = text.replace("\r", "").replace("\n", "")
    assert bare.lower() == document_read.hex() or bare == base64.b64encode(document_read).decode()
