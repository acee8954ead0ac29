"""Receipts of one boot, and what must be refused."""

import hashlib
from typing import Any

from pcrgate.attestation.cbor import decode, encode
from pcrgate.attestation.cose import P384_ORDER
from pcrgate.receipts.claims import Decision, HostClaimed
from pcrgate.receipts.envelope import parse_receipt, sign_receipt
from pcrgate.receipts.report import describe_claims
from pcrgate.receipts.signer import Event, ReceiptSigner
from pcrgate.receipts.wire import parse_claims
from pcrgate.units import Sha384
from tests.vectors_session.fixed_keys import AGENT, NOW_MS, boot, octets

Vector = dict[str, Any]


def receipt_vectors() -> list[Vector]:
    """Return every vector of the folder ``receipts``; each is a list of receipts to be judged as a chain."""
    keys = boot("boot 1")
    signer = ReceiptSigner(keys)
    digest = Sha384(hashlib.sha384(b"request").digest())
    first = signer.issue(
        Event(
            request_digest=digest,
            result_digest=Sha384(hashlib.sha384(b"result").digest()),
            decision=Decision.ACCEPTED,
            agent_id=AGENT,
            session_id=octets("session id", 16),
            workload="validate",
            secret_epochs={"weights": 3},
            policy_hash=Sha384(hashlib.sha384(b"policy").digest()),
            host_claimed=HostClaimed(request_id="r-1", received_ms=NOW_MS - 5),
        ),
        now_ms=NOW_MS,
    ).receipt
    refused = Event(request_digest=digest, decision=Decision.REFUSED, code="session-hello")
    second, third = (signer.issue(refused, now_ms=NOW_MS + 1_000 * n).receipt for n in (1, 2))
    payload = parse_receipt(first).payload
    claims = decode(payload)
    assert isinstance(claims, dict)
    unknown = sign_receipt(encode({**claims, -70_999: 1}), keys.receipt_key)
    parts = decode(first[1:])
    assert isinstance(parts, list)
    signature = parts[3]
    assert isinstance(signature, bytes)
    s = P384_ORDER - int.from_bytes(signature[48:], "big")
    high = b"\xd2" + encode([*parts[:3], signature[:48] + s.to_bytes(48, "big")])
    with_kid = b"\xd2" + encode([parts[0], {4: b"kid"}, *parts[2:]])
    cases = [
        ("accept-one", "an accepted request", "accepted", [first]),
        ("accept-chain", "an acceptance and two refusals", "accepted", [first, second, third]),
        ("reject-gap", "the refusal in the middle was withheld", "receipt-gap", [first, third]),
        ("reject-not-from-the-first", "the first was withheld", "receipt-gap", [second, third]),
        ("reject-repeated", "one receipt twice", "receipt-chain", [first, first]),
        ("reject-fork", "a second history of the same key", "receipt-chain",
         [ReceiptSigner(keys).issue(refused, now_ms=NOW_MS).receipt, second]),
        ("reject-key", "signed by another key", "receipt-signature", [sign_receipt(payload, boot("boot 2").receipt_key)]),
        ("reject-other-boot", "of another boot", "receipt-signature",
         [ReceiptSigner(boot("boot 2")).issue(refused, now_ms=NOW_MS).receipt]),
        ("reject-unknown-claim", "signed, with a claim that is none", "receipt-form", [unknown]),
        ("reject-high-s", "the other s of the same signature", "receipt-form", [high]),
        ("reject-unprotected", "a key id in the unprotected header", "receipt-form", [with_kid]),
        ("reject-untagged", "without tag 18", "receipt-form", [first[1:]]),
        ("reject-flipped", "one bit of the payload", "receipt-signature", [first[:200] + bytes((first[200] ^ 1,)) + first[201:]]),
    ]  # fmt: skip
    return [
        {
            "name": name,
            "description": description,
            "expect": expect,
            "statement": keys.statement.encode().hex(),
            "user_data": keys.statement.digest.hex(),
            "public_key": keys.statement.receipt_key.hex(),
            "receipts": [receipt.hex() for receipt in receipts],
            "claims": [describe_claims(parse_claims(parse_receipt(receipt).payload)) for receipt in receipts]
            if expect == "accepted"
            else None,
        }
        for name, description, expect, receipts in cases
    ]
