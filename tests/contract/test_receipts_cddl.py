"""The grammar of receipts, as a validator of CDDL that is not ours reads it, and our parser agree on the vectors and beside them."""

from typing import Any

import cbor2
import pytest

from pcrgate.errors import PcrgateError
from pcrgate.receipts.bundle import UnverifiedBundle, parse_bundle
from pcrgate.receipts.envelope import parse_receipt, sign_receipt
from pcrgate.receipts.wire import parse_claims
from tests.contract.grammar import Grammar, edits, ordered
from tests.vectors_session.catalogue import load
from tests.vectors_session.fixed_keys import boot

GRAMMAR = Grammar("receipts")
fits = GRAMMAR.fits
VECTORS = load("receipts")
KEY = boot("boot 1").receipt_key
ACCEPTED = [
    bytes.fromhex(receipt) for vector in VECTORS if vector["expect"] == "accepted" for receipt in vector["receipts"]
]
FULL, REFUSAL = ACCEPTED[0], ACCEPTED[1]
BEYOND_GRAMMAR = {"reject-high-s"}
"""Refused for its form by a rule that CDDL cannot say: of the two values of s, the lower."""


def parses(receipt: bytes) -> bool:
    try:
        parse_claims(parse_receipt(receipt).payload)
    except PcrgateError:
        return False
    return True


def claims_of(receipt: bytes) -> dict[int, Any]:
    claims: dict[int, Any] = cbor2.loads(parse_receipt(receipt).payload)
    return claims


def signed(claims: object) -> bytes:
    return sign_receipt(cbor2.dumps(ordered(claims)), KEY)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_the_grammar_takes_what_has_the_form(vector: dict[str, Any]) -> None:
    receipts = [bytes.fromhex(receipt) for receipt in vector["receipts"]]
    well_formed = vector["expect"] != "receipt-form" or vector["name"] in BEYOND_GRAMMAR
    assert all(fits(receipt, "receipt") for receipt in receipts) == well_formed
    assert all(parses(receipt) for receipt in receipts) == (vector["expect"] != "receipt-form")


OBSERVED, RESULT, DECISION, CODE = -70_002, -70_204, -70_205, -70_206


def observed(receipt: bytes, **changes: Any) -> dict[int, Any]:
    """Return the claims with those observed changed; None leaves one out."""
    claims = claims_of(receipt)
    keys = {"result": RESULT, "decision": DECISION, "code": CODE}
    inner = claims[OBSERVED] | {keys[name]: value for name, value in changes.items()}
    return {**claims, OBSERVED: {key: value for key, value in inner.items() if value is not None}}


@pytest.mark.parametrize(
    ("claims", "holds"),
    [
        (observed(FULL), True),
        (observed(FULL, result=None), True),
        (observed(FULL, code="manifest-no-grant"), False),
        (observed(FULL, decision="refused"), False),
        (observed(FULL, decision="refused", result=None), False),
        (observed(FULL, decision="refused", code="manifest-no-grant"), False),
        (observed(FULL, decision="refused", code="manifest-no-grant", result=None), True),
        (observed(REFUSAL), True),
        (observed(REFUSAL, code=None), False),
        (observed(REFUSAL, result=bytes(48)), False),
        (observed(REFUSAL, decision="accepted"), False),
        (observed(REFUSAL, decision="accepted", code=None), True),
        (observed(REFUSAL, decision="deferred"), False),
    ],
)
def test_an_error_code_is_in_every_refusal_and_only_there(claims: dict[int, Any], holds: bool) -> None:
    receipt = signed(claims)
    assert fits(receipt, "receipt") is holds
    assert parses(receipt) is holds


EDITS = [(f"{kind}: {name}", edited) for kind, one in (("full", FULL), ("refusal", REFUSAL)) for name, edited in edits(claims_of(one), open_maps={-70_103})]  # fmt: skip


def test_grammar_and_parser_agree_on_every_changed_claim() -> None:
    differ = {name for name, edited in EDITS if fits(signed(edited), "receipt") != parses(signed(edited))}
    assert differ == set()
    assert signed(claims_of(FULL)) == FULL
    assert sum(fits(signed(edited), "receipt") for _, edited in EDITS) > 5
    assert len(EDITS) > 200


def test_the_encoding_is_the_one_of_the_standard() -> None:
    claims = claims_of(FULL)
    backwards = cbor2.dumps(dict(reversed(claims.items())))
    assert GRAMMAR.fits(sign_receipt(backwards, KEY), "receipt", deterministic=False)
    assert not parses(sign_receipt(backwards, KEY))


def test_a_bundle_is_what_the_grammar_says() -> None:
    good = UnverifiedBundle(document=b"document", identity=b"identity", receipts=(FULL, REFUSAL)).encode()
    assert fits(good, "bundle")
    whole: dict[str, Any] = cbor2.loads(good)
    changed = [
        {key: whole[key] for key in whole if key != left_out} for left_out in whole
    ] + [
        {**whole, key: value}
        for key, value in (
            ("more", 1), ("kind", "pcrgate-receipt"), ("version", 2), ("version", "1"), ("document", "text"),
            ("identity", None), ("receipts", []), ("receipts", ["text"]), ("receipts", b""),
        )
    ]  # fmt: skip
    for value in changed:
        data = cbor2.dumps(ordered(value))
        assert not fits(data, "bundle"), value
        with pytest.raises(PcrgateError):
            parse_bundle(data)
