"""Find a receipt's place in its chain, to keep it there; whether it is authentic is for whoever reads it."""

import hashlib
from collections.abc import Iterable
from typing import Final

from pcrgate.attestation.cbor import decode
from pcrgate.errors import CborError, ReceiptError
from pcrgate.receipts.envelope import parse_receipt
from pcrgate.receipts.wire import ATTESTED, BOOTSEED, OBSERVED, SEQUENCE
from service.state_store import ReceiptRecord

BOOT_ID_BYTES: Final = 32

SEQUENCE_MAX: Final = (1 << 63) - 1
"""Highest number that the state's tables hold."""


def receipt_record(receipt: bytes | None) -> ReceiptRecord | None:
    """Return the receipt with its place, or None for what has none; nothing else in it is looked at."""
    if receipt is None:
        return None
    try:
        claims = decode(parse_receipt(receipt).payload)
    except (CborError, ReceiptError):
        return None
    attested, observed = (claims.get(ATTESTED), claims.get(OBSERVED)) if isinstance(claims, dict) else (None, None)
    if not isinstance(attested, dict) or not isinstance(observed, dict):
        return None
    boot_id, sequence = attested.get(BOOTSEED), observed.get(SEQUENCE)
    if type(boot_id) is not bytes or len(boot_id) != BOOT_ID_BYTES:
        return None
    if type(sequence) is not int or not 1 <= sequence <= SEQUENCE_MAX:
        return None
    return ReceiptRecord(
        boot_id=boot_id, sequence=sequence, receipt_id=hashlib.sha384(receipt).hexdigest(), receipt=receipt
    )


def receipt_records(receipts: Iterable[bytes]) -> list[ReceiptRecord]:
    """Return those that are receipts."""
    return [record for receipt in receipts if (record := receipt_record(receipt)) is not None]
