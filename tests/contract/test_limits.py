"""Limits that two parts know, each from its own side, are the same; what one part may say, the next can carry."""

import dataclasses
from typing import Any

import pytest

from pcrgate.client import transport
from pcrgate.envelope.session_fields import MESSAGE_MAX_BYTES
from pcrgate.manifest.signature import SIGNED_MAX_BYTES
from pcrgate.receipts import claims, envelope
from pcrgate.receipts.claims import Attested, Claims, Decision, HostClaimed, Observed
from pcrgate.receipts.envelope import sign_receipt
from pcrgate.receipts.wire import encode_claims
from pcrgate.units import Sha384
from pcrgate.wire import limits
from pcrgate.wire.fields import Count, Field, Maybe, Octets, Several, Tally, Text
from pcrgate.wire.frames import HEAD_BYTES, PAYLOAD_MAX_BYTES
from pcrgate.wire.messages import _FIELDS, CLASSES, Message, encode_message
from service import pace
from tests.vectors_session.fixed_keys import boot

DIGEST = Sha384(b"\xff" * 48)
NAME = "n" * claims.NAME_MAX_BYTES


def test_the_wire_carries_what_receipts_and_manifests_may_be() -> None:
    assert limits.RECEIPT_MAX_BYTES == envelope.RECEIPT_MAX_BYTES
    assert limits.MANIFEST_MAX_BYTES == SIGNED_MAX_BYTES
    assert MESSAGE_MAX_BYTES == 24_576


def test_the_client_waits_for_as_long_as_the_service_may_ask() -> None:
    assert pace.RETRY_MOST_S <= transport.PATIENCE_S


@pytest.mark.parametrize("decision", Decision)
def test_the_longest_receipt_fits(decision: Decision) -> None:
    refused = decision is Decision.REFUSED
    longest = Claims(
        attested=Attested(
            boot_id=bytes(32),
            identity=DIGEST,
            manifest_digest=DIGEST,
            secret_epochs={f"{n:0128}": claims.NUMBER_MAX for n in range(claims.EPOCHS_MAX)},
        ),
        observed=Observed(
            issued_s=claims.NUMBER_MAX,
            sequence=claims.NUMBER_MAX,
            previous=DIGEST,
            request_digest=DIGEST,
            result_digest=None if refused else DIGEST,
            decision=decision,
            code=NAME if refused else None,
            agent_id=NAME,
            session_id=bytes(16),
            workload=NAME,
            policy_hash=DIGEST,
        ),
        host_claimed=HostClaimed(request_id=NAME, received_ms=claims.NUMBER_MAX),
    )
    receipt = sign_receipt(encode_claims(longest), boot("boot 1").receipt_key)
    assert 3_000 < len(receipt) <= envelope.RECEIPT_MAX_BYTES


def longest_of(field: Field) -> Any:
    match field:
        case Octets():
            return bytes(field.most)
        case Text():
            return "a" * field.most
        case Count():
            return field.most
        case Several():
            return (longest_of(field.each),) * field.most
        case Tally():
            return {f"{n:064}": (1 << 63) - 1 for n in range(field.most)}
        case Maybe():
            return longest_of(field.field)
    raise AssertionError(field)


@pytest.mark.parametrize("kind", CLASSES.values(), ids=lambda kind: kind.__name__)
def test_the_longest_message_of_a_type_fits_its_frame(kind: type[Message]) -> None:
    longest = kind(**{entry.name: longest_of(_FIELDS[kind][entry.name]) for entry in dataclasses.fields(kind)})
    assert len(encode_message(longest)) - HEAD_BYTES <= PAYLOAD_MAX_BYTES[kind.KIND]
