"""Ask the enclave on behalf of REST, and keep every receipt that comes back, also those of refusals."""

import asyncio
from typing import Final, Protocol, TypeVar

from pcrgate.wire.limits import RECEIPTS_MAX
from pcrgate.wire.messages import (
    Invoke,
    Message,
    ReceiptsAnswer,
    ReceiptsRequest,
    SessionConfirmAnswer,
    SessionEndAnswer,
    SessionOpenAnswer,
    SessionResumeAnswer,
)
from service.enclave_link import EnclaveRefusedError
from service.receipt_records import receipt_record, receipt_records
from service.state_store import StateStore

PAGES_MAX: Final = 128
"""Most pages of receipts fetched at once: above what an enclave keeps, so that a loop ends."""

_Answer = TypeVar("_Answer", bound=Message)
_WITH_RECEIPT: Final = (
    SessionOpenAnswer, SessionResumeAnswer, SessionConfirmAnswer, SessionEndAnswer,
)  # fmt: skip


class Link(Protocol):
    """Carry one message to an enclave and its answer back."""

    async def ask(self, message: Message, expected: type[_Answer]) -> _Answer:
        """Return the answer; raise what ``EnclaveLink.ask`` raises."""
        ...

    async def close(self) -> None:
        """Close the connections that are kept."""
        ...


class EnclaveDesk:
    """Stand between REST and one enclave."""

    def __init__(self, link: Link, state: StateStore) -> None:
        """Take the link and where receipts are kept."""
        self._link: Final = link
        self._state: Final = state

    async def ask(self, message: Message, expected: type[_Answer]) -> _Answer:
        """Return the enclave's answer, after its receipt was kept; that of an invocation is kept with its result.

        Raises:
            EnclaveRefusedError: when the enclave refused; its receipt is kept too.
            WireError: ``wire-link``, ``wire-frame`` or ``wire-message``.
            ServiceError: ``service-store``.
        """
        try:
            answer = await self._link.ask(message, expected)
        except EnclaveRefusedError as error:
            if isinstance(message, Invoke):
                raise
            await self._keep(error.problem.receipt)
            raise
        if isinstance(answer, _WITH_RECEIPT):
            await self._keep(answer.receipt)
        return answer

    async def close(self) -> None:
        """Close the link."""
        await self._link.close()

    async def collect_receipts(self) -> bytes | None:
        """Fetch what the enclave has and the store lacks, and return the boot it is of; None before the first.

        Raises:
            EnclaveRefusedError: when the enclave refused.
            WireError: as :meth:`ask`.
            ServiceError: ``service-store``.
        """
        first = 1
        boot_id = None
        for _ in range(PAGES_MAX):
            answer = await self._link.ask(ReceiptsRequest(first=first), ReceiptsAnswer)
            records = receipt_records(answer.receipts)
            if not records:
                break
            await asyncio.to_thread(self._state.add_receipts, records)
            boot_id = records[-1].boot_id
            if len(answer.receipts) < RECEIPTS_MAX:
                break
            first = await asyncio.to_thread(self._next_missing, boot_id, records[-1].sequence)
        return boot_id

    def _next_missing(self, boot_id: bytes, after: int) -> int:
        while known := self._state.receipts(boot_id, after=after, limit=RECEIPTS_MAX):
            for record in known:
                if record.sequence != after + 1:
                    return after + 1
                after = record.sequence
        return after + 1

    async def _keep(self, receipt: bytes | None) -> None:
        record = receipt_record(receipt)
        if record is not None:
            await asyncio.to_thread(self._state.add_receipts, [record])
