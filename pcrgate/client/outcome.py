"""Say what came of a request: a result, a refusal by the enclave, or nothing yet."""

from dataclasses import dataclass, field
from typing import Final

from pcrgate.errors import ClientError, ErrorCode, PcrgateError
from pcrgate.receipts.verification import VerifiedReceipt


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Hold the result of a request, with what proves it.

    Attributes:
        result: as the workload defines it; hidden.
        receipt: verified, and about exactly this request and result.
        report_signature: 96 bytes by the receipt key over the result, for workloads that report; verified.
        result_id: the service's name for it.
    """

    result: bytes = field(repr=False)
    receipt: VerifiedReceipt
    report_signature: bytes | None
    result_id: str


class WorkloadRefusalError(PcrgateError):
    """The enclave refused a request, and its receipt says so.

    Attributes:
        receipt: verified, and about exactly this request.
    """

    def __init__(self, code: ErrorCode, detail: str, receipt: VerifiedReceipt) -> None:
        """Take what the enclave said under the session's key."""
        super().__init__(code, detail)
        self.receipt: Final = receipt


class PendingError(ClientError):
    """The result was not there in time.

    Attributes:
        result_id: to ask again with.
    """

    def __init__(self, result_id: str) -> None:
        """Take the service's name for the result."""
        super().__init__(ErrorCode.CLIENT_PENDING, f"result {result_id} is not there yet, expected it in time")
        self.result_id: Final = result_id
