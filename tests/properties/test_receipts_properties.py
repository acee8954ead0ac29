"""Receipts on arbitrary bytes: our errors, or the very bytes again."""

import dataclasses

from hypothesis import given, settings
from hypothesis import strategies as st

from pcrgate.errors import ErrorCode, ReceiptError
from pcrgate.receipts.bundle import parse_bundle
from pcrgate.receipts.claims import Attested, Claims, Decision, HostClaimed, Observed
from pcrgate.receipts.envelope import parse_receipt
from pcrgate.receipts.verification import find_gaps, verify_chain, verify_receipt
from pcrgate.receipts.wire import encode_claims, parse_claims
from pcrgate.units import Sha384
from tests.unit.envelope.session_stage import refusal
from tests.unit.receipts.receipt_stage import Book

BOOK = Book(6)
RECEIPT = BOOK.receipts[0]
PAYLOAD = parse_receipt(RECEIPT).payload
VERIFIED = verify_chain(BOOK.receipts, BOOK.identity)

digests = st.binary(min_size=48, max_size=48).map(Sha384)
names = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20)
numbers = st.integers(0, (1 << 53) - 1)


@st.composite
def claims(draw: st.DrawFn) -> Claims:
    refused = draw(st.booleans())
    observed = Observed(
        issued_s=draw(numbers),
        sequence=draw(st.integers(1, (1 << 53) - 1)),
        previous=draw(digests),
        request_digest=draw(digests),
        result_digest=None if refused else draw(st.none() | digests),
        decision=Decision.REFUSED if refused else Decision.ACCEPTED,
        code=draw(names) if refused else None,
        agent_id=draw(st.none() | names),
        session_id=draw(st.none() | st.binary(min_size=16, max_size=16)),
        workload=draw(st.none() | names),
        policy_hash=draw(st.none() | digests),
    )
    attested = Attested(
        boot_id=draw(st.binary(min_size=32, max_size=32)),
        identity=draw(digests),
        manifest_digest=draw(digests),
        secret_epochs=draw(st.dictionaries(names, numbers, max_size=4)),
    )
    host = HostClaimed(request_id=draw(st.none() | names), received_ms=draw(st.none() | numbers))
    return Claims(attested=attested, observed=observed, host_claimed=host)


@settings(max_examples=150, deadline=None)
@given(made=claims())
def test_claims_come_back(made: Claims) -> None:
    read = parse_claims(encode_claims(made))
    assert dataclasses.replace(read.attested, secret_epochs={}) == dataclasses.replace(made.attested, secret_epochs={})
    assert dict(read.attested.secret_epochs) == dict(made.attested.secret_epochs)
    assert (read.observed, read.host_claimed) == (made.observed, made.host_claimed)


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=300), at=st.integers(0, len(PAYLOAD)), cut=st.integers(0, 30))
def test_arbitrary_and_edited_claims_are_read_to_their_very_bytes_or_refused(data: bytes, at: int, cut: int) -> None:
    for payload in (data, PAYLOAD[:at] + data[:30] + PAYLOAD[at + cut :]):
        try:
            read = parse_claims(payload)
        except ReceiptError:
            continue
        assert encode_claims(read) == payload


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=300), at=st.integers(0, len(RECEIPT)), cut=st.integers(0, 30))
def test_arbitrary_and_edited_receipts_are_refused(data: bytes, at: int, cut: int) -> None:
    for receipt in (data, b"\xd2" + data, RECEIPT[:at] + data[:30] + RECEIPT[at + cut :]):
        if receipt != RECEIPT:
            code = refusal(lambda receipt=receipt: verify_receipt(receipt, BOOK.identity))
            assert code in {ErrorCode.RECEIPT_FORM, ErrorCode.RECEIPT_SIGNATURE}


@settings(max_examples=150, deadline=None)
@given(data=st.binary(max_size=200))
def test_arbitrary_bytes_are_no_bundle(data: bytes) -> None:
    assert refusal(lambda: parse_bundle(data)) is ErrorCode.RECEIPT_BUNDLE


@settings(max_examples=25, deadline=None)
@given(order=st.lists(st.integers(0, 5), max_size=7))
def test_only_the_chain_itself_is_a_chain(order: list[int]) -> None:
    receipts = [BOOK.receipts[n] for n in order]
    refused = refusal(lambda: verify_chain(receipts, BOOK.identity))
    assert (refused is None) == (order == list(range(len(order))))
    missing = {number for gap in find_gaps([VERIFIED[n] for n in order]) for number in gap}
    assert missing == set(range(1, max(order, default=-1) + 2)) - {n + 1 for n in order}
