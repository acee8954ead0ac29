"""Fetch every receipt of a boot, and hold the chain to what the agent has seen itself."""

from typing import Final

from pcrgate.client.exchange import Flow, Request, fields_of, octets
from pcrgate.client.ledger import Ledger
from pcrgate.errors import ClientError, ErrorCode, ReceiptError
from pcrgate.receipts.verification import VerifiedReceipt, verify_chain

RECEIPT_PAGES_MAX: Final = 4096
"""Most pages of a chain: a million receipts."""


def chain_of(ledger: Ledger) -> Flow[tuple[VerifiedReceipt, ...]]:
    """Return all receipts of the boot from the first on, once they are one chain that holds every one of the agent's.

    Raises:
        ReceiptError: ``receipt-gap`` when one is missing, or what a receipt is refused with.
        RemoteRefusalError: with the service's code.
    """
    boot, after, found = ledger.identity.statement.boot_id.hex(), 0, list[VerifiedReceipt]()
    for _ in range(RECEIPT_PAGES_MAX):
        query = {"boot": boot, "after": str(after)}
        reply = yield Request(method="GET", path="/v1/receipts", query=query, repeatable=True)
        entries = fields_of(reply, "receipts")["receipts"]
        if type(entries) is not list or not all(type(entry) is dict for entry in entries):
            raise ClientError(ErrorCode.CLIENT_ANSWER, "receipts is not a list of objects")
        if not entries:
            break
        page = [octets(entry.get("receipt"), "receipt") for entry in entries]
        found += verify_chain(page, ledger.identity, after=found[-1] if found else None)
        after = found[-1].claims.observed.sequence
    for receipt in found:
        ledger.take(receipt.receipt)
    own = ledger.receipts
    if len(own) > len(found):
        raise ReceiptError(
            ErrorCode.RECEIPT_GAP, f"the service told {len(found)} receipts, expected at least {len(own)}"
        )
    return tuple(found)
