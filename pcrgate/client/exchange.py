"""Describe one request and read its answer strictly; who sends it is another matter.

A flow is a generator that yields requests and is sent replies, so the same one serves the synchronous and the
asynchronous client.
"""

import base64
import binascii
import json
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from pcrgate.errors import ClientError, ErrorCode, PcrgateError, ReceiptError
from pcrgate.receipts.envelope import parse_receipt

ANSWER_MAX_BYTES: Final = 2 << 20
"""Longest answer that is read: a sealed result of 1 MiB in base64, and room."""

_T = TypeVar("_T")
_BY_CODE: Final = {member.code: member for member in ErrorCode}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Hold a request to send.

    Attributes:
        method: HTTP method.
        path: below the service's address.
        query: parameters.
        body: JSON; None for no body.
        headers: beside authorization.
        repeatable: whether sending it a second time has no second effect.
        pause_s: how long to wait before it is sent.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, str] | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)
    repeatable: bool = False
    pause_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """Hold an answer as it came.

    Attributes:
        status: HTTP status.
        body: at most ``ANSWER_MAX_BYTES``.
        retry_after_s: what the service asks to wait.
    """

    status: int
    body: bytes = field(repr=False)
    retry_after_s: float | None = None


Flow = Generator[Request, Reply, _T]


class RemoteRefusalError(PcrgateError):
    """The service, or the enclave through it, refused; nobody vouches for the reason but where a receipt does.

    Attributes:
        receipt: COSE_Sign1 of the refusal, not verified; None without one.
    """

    def __init__(self, code: ErrorCode, detail: str, receipt: bytes | None) -> None:
        """Take what the problem says."""
        super().__init__(code, detail)
        self.receipt: Final = receipt


class SessionLostError(RemoteRefusalError):
    """The enclave that is there does not know the session: another boot, or it is over; resuming tells which.

    Nobody vouches for that but where a receipt does; a parent that lies here makes an agent resume in vain, no more.
    """


def fields_of(reply: Reply, *names: str) -> dict[str, Any]:
    """Return the members of an answer that succeeded.

    Args:
        reply: as it came.
        names: members that must be there.

    Raises:
        RemoteRefusalError: with the problem's code when it did not succeed.
        ClientError: ``client-answer``.
    """
    try:
        value = json.loads(reply.body)
    except (ValueError, RecursionError) as error:
        raise _unreadable(f"an answer with status {reply.status} is not JSON") from error
    if type(value) is not dict:
        raise _unreadable("an answer is not a JSON object")
    if not 200 <= reply.status < 300:
        raise refusal_of(value)
    if not set(names) <= value.keys():
        raise _unreadable(f"an answer lacks one of {', '.join(names)}")
    return value


def refusal_of(problem: Mapping[str, Any]) -> RemoteRefusalError:
    """Return the error that a problem stands for; a code that is unknown here becomes ``client-answer``.

    That of a session which is not known is a :class:`SessionLostError`.
    """
    code, detail, receipt = problem.get("code"), problem.get("detail"), problem.get("receipt")
    known = _BY_CODE.get(code) if type(code) is str else None
    told = "".join(mark if " " <= mark <= "~" else "?" for mark in str(detail))[:512]
    found = None
    if type(receipt) is str:
        try:
            found = octets(receipt, "receipt")
            parse_receipt(found)
        except (ClientError, ReceiptError):
            found = None
    made = SessionLostError if known is ErrorCode.SESSION_UNKNOWN else RemoteRefusalError
    return made(known or ErrorCode.CLIENT_ANSWER, told or "no detail", found)


def octets(value: Any, name: str) -> bytes:
    """Return the bytes of a base64 member.

    Raises:
        ClientError: ``client-answer``.
    """
    if type(value) is str:
        try:
            return base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            pass
    raise _unreadable(f"{name} is not base64")


def to_base64(data: bytes) -> str:
    """Return base64."""
    return base64.b64encode(data).decode()


def _unreadable(fact: str) -> ClientError:
    return ClientError(ErrorCode.CLIENT_ANSWER, f"{fact}, expected what the API has")
