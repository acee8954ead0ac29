"""Operations that the twin does not do: authorised like all others, then refused."""

from kms_policies.operations import OPERATIONS
from pcrgate.twin.kms.call import Call
from pcrgate.twin.kms.interface import Prepared, Response
from pcrgate.twin.kms.service_errors import AwsCode, AwsError


def refuse_operation(call: Call) -> Prepared:
    """Ask whether the caller may, then say that the twin cannot: who may not learns nothing else."""
    check = call.check(call.key(aliases=True)) if OPERATIONS[call.operation].names_key else call.account_check()

    def run() -> Response:
        raise AwsError(AwsCode.UNSUPPORTED_OPERATION, f"The twin does not do {call.operation}")

    return call.prepared(check, run=run)
