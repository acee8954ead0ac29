"""Find a receipt's place in its chain, to keep it there; whether it is authentic is for whoever reads it."""

import hashlib
from collections.abc import Iterable

from pcrgate.errors import ReceiptError
from pcrgate.receipts.envelope import parse_receipt
from pcrgate.receipts.wire import parse_claims
from service.state_store import ReceiptRecord


def receipt_record(receipt: bytes | None) -> ReceiptRecord | None:
    """Return the receipt with its place, or None for what is no receipt."""
    if receipt is None:
        return None
    try:
        claims = parse_claims(parse_receipt(receipt).payload)
    except ReceiptError:
        return None
    return ReceiptRecord(
        boot_id=claims.attested.boot_id,
        sequence=claims.observed.sequence,
        receipt_id=hashlib.sha384(receipt).hexdigest(),
        receipt=receipt,
    )


def receipt_records(receipts: Iterable[bytes]) -> list[ReceiptRecord]:
    """Return those that are receipts."""
    return [record for receipt in receipts if (record := receipt_record(receipt)) is not None]
