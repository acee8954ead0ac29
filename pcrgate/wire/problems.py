"""Say an error to whoever asked: as a message on the wire, and as RFC 9457 problem details on REST."""

from typing import Final

from pcrgate.errors import Category, ErrorCode, PcrgateError
from pcrgate.wire.messages import Problem

TYPE_PREFIX: Final = "urn:pcrgate:error:"
"""What stands before the code in a problem's ``type``. Spec: RFC 9457, 3.1.1."""

DETAIL_MAX_CHARACTERS: Final = 512
"""Longest detail; longer messages are cut: the code says what happened."""

_BY_CODE: Final = {member.code: member for member in ErrorCode}

_REFUSED: Final = 403
_STATUS_BY_CATEGORY: Final = {
    Category.MALFORMED: 400,
    Category.KEY_POLICY: 400,
    Category.RELEASE: 502,
    Category.DEVICE: 503,
    Category.USAGE: 400,
    Category.INTERNAL: 500,
}
_STATUS_BY_CODE: Final = {
    ErrorCode.WIRE_BUSY: 503,
    ErrorCode.WIRE_LINK: 502,
    ErrorCode.ENCLAVE_PHASE: 503,
}


def problem_of(error: Exception, receipt: bytes | None = None) -> Problem:
    """Return the message that refuses with an error; an error that is not ours says nothing of itself.

    Args:
        error: what was raised.
        receipt: of the refusal.
    """
    if not isinstance(error, PcrgateError):
        return Problem(
            code=ErrorCode.INTERNAL.code, detail="an error that was not foreseen, nothing was done", receipt=receipt
        )
    printable = "".join(mark if " " <= mark <= "~" else "?" for mark in error.message)
    return Problem(code=error.code.code, detail=printable[:DETAIL_MAX_CHARACTERS] or "-", receipt=receipt)


def code_of(problem: Problem) -> ErrorCode:
    """Return the code that a problem names; ``internal`` for one that is unknown here."""
    return _BY_CODE.get(problem.code, ErrorCode.INTERNAL)


def status_of(code: ErrorCode) -> int:
    """Return the HTTP status that fits a code."""
    return _STATUS_BY_CODE.get(code, _STATUS_BY_CATEGORY.get(code.category, _REFUSED))


def problem_details(problem: Problem) -> dict[str, str | int]:
    """Return the members of a problem details object.

    Spec: RFC 9457, 3.1.
    """
    code = code_of(problem)
    return {
        "type": f"{TYPE_PREFIX}{code.code}",
        "title": code.meaning,
        "status": status_of(code),
        "detail": problem.detail,
    }
