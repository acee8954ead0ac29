"""Verify receipts against an attested identity: one by one, as a chain, and for what is missing.

Spec: docs/protocol.md, "Receipts".
"""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass

from pcrgate.envelope.session_identity import VerifiedIdentity
from pcrgate.envelope.session_signature import verify_es384
from pcrgate.errors import ErrorCode, ReceiptError
from pcrgate.receipts.claims import Claims, Decision
from pcrgate.receipts.envelope import parse_receipt, signed_bytes
from pcrgate.receipts.wire import parse_claims
from pcrgate.units import Sha384


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedReceipt:
    """Hold what an attested enclave signed. Only :func:`verify_receipt` makes one.

    Attributes:
        claims: what it says; ``claims.host_claimed`` is the parent's word all the same.
        digest: SHA-384 of the receipt.
        receipt: the bytes.
    """

    claims: Claims
    digest: Sha384
    receipt: bytes


def verify_receipt(receipt: bytes, identity: VerifiedIdentity) -> VerifiedReceipt:
    """Return the receipt once the attested key signed it for its own boot.

    Args:
        receipt: the signed bytes.
        identity: from :func:`pcrgate.envelope.session_identity.verify_identity`, over appraised evidence.

    Raises:
        ReceiptError: ``receipt-form``, ``receipt-signature`` or ``receipt-identity``.
    """
    # (1) form
    unverified = parse_receipt(receipt)
    # (2) the attested key signed it
    verify_es384(
        identity.receipt_key,
        unverified.signature,
        signed_bytes(unverified.payload),
        ReceiptError(ErrorCode.RECEIPT_SIGNATURE, "the signature is not that of the attested receipt key"),
    )
    # (3) it says what a receipt says
    claims = parse_claims(unverified.payload)
    # (4) of this boot, under this manifest
    statement = identity.statement
    if (claims.attested.boot_id, claims.attested.identity, claims.attested.manifest_digest) != (
        statement.boot_id,
        identity.digest,
        statement.manifest_digest,
    ):
        raise ReceiptError(
            ErrorCode.RECEIPT_IDENTITY, "the receipt names another boot or manifest than the attested identity"
        )
    return VerifiedReceipt(claims=claims, digest=Sha384(hashlib.sha384(receipt).digest()), receipt=receipt)


def match_receipt(
    receipt: VerifiedReceipt,
    *,
    request_digest: Sha384,
    result_digest: Sha384 | None,
    session_id: bytes | None,
    agent_id: str | None,
) -> Decision:
    """Return the decision once the receipt is about this very exchange.

    Args:
        receipt: a verified one.
        request_digest: of what was sent, from ``Session.content_digest``.
        result_digest: of what came back, or None for a refusal.
        session_id: 16 bytes, or None outside a session.
        agent_id: the agent, or None when it could not be known.

    Raises:
        ReceiptError: ``receipt-mismatch``.
    """
    observed = receipt.claims.observed
    if not hmac.compare_digest(observed.request_digest.digest, request_digest.digest):
        raise ReceiptError(ErrorCode.RECEIPT_MISMATCH, "the receipt is about another request")
    if (observed.result_digest, observed.session_id, observed.agent_id) != (result_digest, session_id, agent_id):
        raise ReceiptError(ErrorCode.RECEIPT_MISMATCH, "the receipt is about another result, session or agent")
    return observed.decision


def verify_chain(
    receipts: Sequence[bytes], identity: VerifiedIdentity, *, after: VerifiedReceipt | None = None
) -> tuple[VerifiedReceipt, ...]:
    """Return the receipts once they are a boot's chain without a gap.

    Args:
        receipts: in order.
        identity: of the boot.
        after: the receipt that the first must follow; None demands the beginning of the chain.

    Raises:
        ReceiptError: as :func:`verify_receipt`; ``receipt-gap`` when a number is missing, ``receipt-chain`` when a
            receipt does not name the one before it or goes back in time.
    """
    found: list[VerifiedReceipt] = []
    previous = after
    for receipt in receipts:
        verified = verify_receipt(receipt, identity)
        observed = verified.claims.observed
        expected = 1 if previous is None else previous.claims.observed.sequence + 1
        if observed.sequence > expected:
            raise ReceiptError(
                ErrorCode.RECEIPT_GAP, f"receipt {observed.sequence} comes where {expected} must, expected no gap"
            )
        if observed.sequence < expected:
            raise ReceiptError(
                ErrorCode.RECEIPT_CHAIN, f"receipt {observed.sequence} comes where {expected} must, expected the next"
            )
        if observed.previous != (identity.digest if previous is None else previous.digest):
            raise ReceiptError(ErrorCode.RECEIPT_CHAIN, f"receipt {observed.sequence} does not name the one before it")
        if previous is not None and observed.issued_s < previous.claims.observed.issued_s:
            raise ReceiptError(ErrorCode.RECEIPT_CHAIN, f"receipt {observed.sequence} is older than the one before it")
        found.append(verified)
        previous = verified
    return tuple(found)


def find_gaps(receipts: Sequence[VerifiedReceipt]) -> tuple[range, ...]:
    """Return the numbers missing between the first receipt of a boot and the newest of these.

    For an agent that holds its own receipts only: what lies between belongs to others, or was withheld.

    Args:
        receipts: of one boot, in any order, repeated or not.

    Raises:
        ReceiptError: ``receipt-identity`` when they are of several boots; ``receipt-chain`` when two differ under one
            number, or neighbours do not follow each other.
    """
    by_number: dict[int, VerifiedReceipt] = {}
    for receipt in receipts:
        if receipt.claims.attested.boot_id != receipts[0].claims.attested.boot_id:
            raise ReceiptError(ErrorCode.RECEIPT_IDENTITY, "the receipts are of several boots, expected one")
        number = receipt.claims.observed.sequence
        if by_number.setdefault(number, receipt).digest != receipt.digest:
            raise ReceiptError(ErrorCode.RECEIPT_CHAIN, f"there are two different receipts {number}")
    gaps: list[range] = []
    last = 0
    for number in sorted(by_number):
        if number > last + 1:
            gaps.append(range(last + 1, number))
        elif last and by_number[number].claims.observed.previous != by_number[last].digest:
            raise ReceiptError(ErrorCode.RECEIPT_CHAIN, f"receipt {number} does not name the one before it")
        last = number
    return tuple(gaps)
