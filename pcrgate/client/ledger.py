"""Keep an agent's receipts of one boot, and hold each new one to those before and after it."""

from typing import Final

from pcrgate.envelope.session_identity import VerifiedIdentity
from pcrgate.errors import ErrorCode, ReceiptError
from pcrgate.receipts.verification import VerifiedReceipt, verify_receipt


class Ledger:
    """Hold verified receipts by their number. The owner serialises access."""

    def __init__(self, identity: VerifiedIdentity) -> None:
        """Begin with none.

        Args:
            identity: of the boot.
        """
        self.identity: Final = identity
        self._receipts: Final[dict[int, VerifiedReceipt]] = {}

    def take(self, receipt: bytes) -> VerifiedReceipt:
        """Return the receipt, once it is authentic and fits those that are known.

        Raises:
            ReceiptError: ``receipt-form``, ``receipt-signature``, ``receipt-identity``, or ``receipt-chain`` when the
                enclave signed two chains.
        """
        verified = verify_receipt(receipt, self.identity)
        number = verified.claims.observed.sequence
        known = self._receipts.get(number)
        before, after = self._receipts.get(number - 1), self._receipts.get(number + 1)
        first = self.identity.digest if number == 1 else None
        previous = verified.claims.observed.previous
        if (
            (known is not None and known.digest != verified.digest)
            or (before is not None and previous != before.digest)
            or (first is not None and previous != first)
            or (after is not None and after.claims.observed.previous != verified.digest)
        ):
            raise ReceiptError(ErrorCode.RECEIPT_CHAIN, f"receipt {number} does not fit those next to it")
        self._receipts[number] = verified
        return verified

    @property
    def receipts(self) -> tuple[VerifiedReceipt, ...]:
        """All of them, in order."""
        return tuple(self._receipts[number] for number in sorted(self._receipts))
