"""Claims are a closed map with one encoding, and say nothing that cannot be meant."""

import dataclasses
from collections.abc import Callable
from typing import Any

import cbor2
import pytest

from pcrgate.attestation.cbor import encode
from pcrgate.errors import ErrorCode, ReceiptError, UsageError
from pcrgate.receipts import wire
from pcrgate.receipts.claims import (
    EPOCHS_MAX,
    NAME_MAX_BYTES,
    NUMBER_MAX,
    Attested,
    Claims,
    Decision,
    HostClaimed,
    Observed,
)
from pcrgate.receipts.wire import encode_claims, parse_claims
from pcrgate.units import Sha384
from tests.unit.receipts.receipt_stage import SESSION, sha384

ATTESTED = Attested(
    boot_id=bytes(32), identity=sha384(b"identity"), manifest_digest=sha384(b"manifest"), secret_epochs={"weights": 3}
)
OBSERVED = Observed(
    issued_s=1_800_000_000,
    sequence=1,
    previous=sha384(b"identity"),
    request_digest=sha384(b"request"),
    result_digest=sha384(b"result"),
    decision=Decision.ACCEPTED,
    agent_id="agent-1",
    session_id=SESSION,
    workload="validate",
    policy_hash=sha384(b"policy"),
)
FULL = Claims(attested=ATTESTED, observed=OBSERVED, host_claimed=HostClaimed(request_id="r-1", received_ms=5))
REFUSAL = Claims(
    attested=dataclasses.replace(ATTESTED, secret_epochs={}),
    observed=Observed(
        issued_s=0,
        sequence=2,
        previous=sha384(b""),
        request_digest=sha384(b""),
        decision=Decision.REFUSED,
        code="session-hello",
    ),
)


def tree(claims: Claims = FULL) -> dict[Any, Any]:
    decoded: dict[Any, Any] = cbor2.loads(encode_claims(claims))
    return decoded


@pytest.mark.parametrize("claims", [FULL, REFUSAL])
def test_claims_come_back(claims: Claims) -> None:
    assert parse_claims(encode_claims(claims)) == claims


def test_registered_claims_have_their_registered_keys() -> None:
    found = tree()
    assert found[265] == wire.PROFILE
    assert found[wire.OBSERVED][6] == 1_800_000_000
    assert found[wire.OBSERVED][2] == "agent-1"
    assert found[wire.ATTESTED][268] == bytes(32)


def test_our_own_keys_are_in_the_range_for_private_use() -> None:
    ours = [
        value
        for name, value in vars(wire).items()
        if name.isupper() and isinstance(value, int) and not name.endswith("_BYTES")
    ]
    registered = {2, 6, 265, 268}
    assert {value for value in ours if value >= -65_536} == registered
    assert len(ours) == len(set(ours)) == 21


def test_absent_claims_are_not_there() -> None:
    found = tree(REFUSAL)
    assert found[wire.HOST_CLAIMED] == {}
    assert set(found[wire.OBSERVED]) == {
        6, wire.SEQUENCE, wire.PREVIOUS, wire.REQUEST_DIGEST, wire.DECISION, wire.CODE,
    }  # fmt: skip


Change = Callable[[dict[Any, Any]], object]
CHANGES: dict[str, Change] = {
    "unknown claim at the top": lambda t: t.update({-70_004: {}}),
    "registered claim that is not ours": lambda t: t.update({7: b"cti"}),
    "unknown attested claim": lambda t: t[wire.ATTESTED].update({-1: 1}),
    "unknown observed claim": lambda t: t[wire.OBSERVED].update({"x": 1}),
    "unknown host's claim": lambda t: t[wire.HOST_CLAIMED].update({1: 1}),
    "claim under another label": lambda t: t[wire.HOST_CLAIMED].update({6: t[wire.OBSERVED].pop(6)}),
    "no attested claims": lambda t: t.pop(wire.ATTESTED),
    "no host's claims": lambda t: t.pop(wire.HOST_CLAIMED),
    "attested claims are a list": lambda t: t.update({wire.ATTESTED: []}),
    "no decision": lambda t: t[wire.OBSERVED].pop(wire.DECISION),
    "another decision": lambda t: t[wire.OBSERVED].update({wire.DECISION: "perhaps"}),
    "decision is a number": lambda t: t[wire.OBSERVED].update({wire.DECISION: 1}),
    "code of an acceptance": lambda t: t[wire.OBSERVED].update({wire.CODE: "session-hello"}),
    "refusal without code": lambda t: t[wire.OBSERVED].update({wire.DECISION: "refused"}),
    "another profile": lambda t: t.update({265: "https://example.com"}),
    "profile is bytes": lambda t: t.update({265: b"x"}),
    "short digest": lambda t: t[wire.OBSERVED].update({wire.REQUEST_DIGEST: bytes(47)}),
    "digest is text": lambda t: t[wire.OBSERVED].update({wire.REQUEST_DIGEST: "x" * 48}),
    "short boot id": lambda t: t[wire.ATTESTED].update({268: bytes(31)}),
    "short session id": lambda t: t[wire.OBSERVED].update({wire.SESSION_ID: bytes(15)}),
    "time is true": lambda t: t[wire.OBSERVED].update({6: True}),
    "time is negative": lambda t: t[wire.OBSERVED].update({6: -1}),
    "sequence zero": lambda t: t[wire.OBSERVED].update({wire.SEQUENCE: 0}),
    "epochs is a list": lambda t: t[wire.ATTESTED].update({wire.SECRET_EPOCHS: []}),
    "epoch is text": lambda t: t[wire.ATTESTED].update({wire.SECRET_EPOCHS: {"weights": "3"}}),
    "epoch of a number": lambda t: t[wire.ATTESTED].update({wire.SECRET_EPOCHS: {3: 3}}),
    "result is null": lambda t: t[wire.OBSERVED].update({wire.RESULT_DIGEST: None}),
    "agent with a control character": lambda t: t[wire.OBSERVED].update({2: "a\x1b"}),
}


@pytest.mark.parametrize("name", CHANGES)
def test_everything_else_is_refused(name: str) -> None:
    changed = tree()
    CHANGES[name](changed)
    with pytest.raises(ReceiptError) as caught:
        parse_claims(encode(changed))
    assert caught.value.code is ErrorCode.RECEIPT_FORM


def test_keys_in_another_order_are_refused() -> None:
    shuffled = cbor2.dumps(dict(reversed(list(tree().items()))))
    assert cbor2.loads(shuffled) == tree()
    with pytest.raises(ReceiptError, match="one encoding"):
        parse_claims(shuffled)


@pytest.mark.parametrize("payload", [b"", b"\xff", b"\x80", encode_claims(FULL) + b"\0", encode_claims(FULL)[:-1]])
def test_other_bytes_are_refused(payload: bytes) -> None:
    with pytest.raises(ReceiptError) as caught:
        parse_claims(payload)
    assert caught.value.code is ErrorCode.RECEIPT_FORM


BOUNDS: list[Callable[[], object]] = [
    lambda: dataclasses.replace(ATTESTED, secret_epochs={f"s{n}": n for n in range(EPOCHS_MAX)}),
    lambda: dataclasses.replace(OBSERVED, workload="w" * NAME_MAX_BYTES),
    lambda: dataclasses.replace(OBSERVED, sequence=NUMBER_MAX),
    lambda: HostClaimed(received_ms=0),
]
BEYOND: list[Callable[[], object]] = [
    lambda: dataclasses.replace(ATTESTED, secret_epochs={f"s{n}": n for n in range(EPOCHS_MAX + 1)}),
    lambda: dataclasses.replace(ATTESTED, secret_epochs={"": 1}),
    lambda: dataclasses.replace(ATTESTED, secret_epochs={"a": -1}),
    lambda: dataclasses.replace(OBSERVED, workload="w" * (NAME_MAX_BYTES + 1)),
    lambda: dataclasses.replace(OBSERVED, workload=""),
    lambda: dataclasses.replace(OBSERVED, sequence=NUMBER_MAX + 1),
    lambda: dataclasses.replace(OBSERVED, decision=Decision.REFUSED, code="x"),
    lambda: dataclasses.replace(OBSERVED, session_id=bytes(17)),
    lambda: HostClaimed(received_ms=-1),
    lambda: HostClaimed(request_id="a\nb"),
]


@pytest.mark.parametrize("make", BOUNDS)
def test_fields_within_their_bounds(make: Callable[[], object]) -> None:
    assert make() is not None


@pytest.mark.parametrize("make", BEYOND)
def test_fields_beyond_them(make: Callable[[], object]) -> None:
    with pytest.raises(UsageError) as caught:
        make()
    assert caught.value.code is ErrorCode.USAGE_RECEIPT


def test_a_digest_is_one() -> None:
    assert parse_claims(encode_claims(FULL)).observed.policy_hash == Sha384(sha384(b"policy").digest)
