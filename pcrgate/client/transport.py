"""Carry requests over HTTP: answers bounded, repeats only of what is safe to repeat, redirects never followed."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

import httpx

from pcrgate.client.exchange import ANSWER_MAX_BYTES, Reply, Request
from pcrgate.errors import ClientError, ErrorCode, UsageError

TIMEOUT_S: Final = 60.0
"""Longest silence of the service: above what it is asked to wait for a result."""

TRIES: Final = 4
"""How often a repeatable request is sent at most."""

PAUSE_FIRST_S: Final = 0.25
PAUSE_MOST_S: Final = 5.0
"""Pauses double from the first to the longest; a longer Retry-After is cut to it."""

_AGAIN: Final = frozenset({429, 502, 503, 504})


def base_url(url: str) -> str:
    """Return the service's address.

    Raises:
        UsageError: ``usage-arguments`` unless it is http or https with a host, http only on this machine.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise UsageError(ErrorCode.USAGE_ARGUMENTS, "the address is not http://HOST or https://HOST")
    if parts.scheme == "http" and parts.hostname not in {"127.0.0.1", "::1", "localhost"}:
        raise UsageError(ErrorCode.USAGE_ARGUMENTS, "the address sends the token in clear, expected https")
    return url.rstrip("/")


def headers_for(request: Request, token: str) -> dict[str, str]:
    """Return the headers of a request."""
    return {**request.headers, "Authorization": f"Bearer {token}", "Accept-Encoding": "identity"}


def pause_s(request: Request, reply: Reply | None, tries: int) -> float | None:
    """Return how long to wait before the next try; None when there is none.

    Args:
        request: that was sent.
        reply: what came; None when nothing did.
        tries: how often it was sent.
    """
    again = request.repeatable and (reply is None or reply.status in _AGAIN)
    if not again or tries >= TRIES:
        return None
    asked = reply.retry_after_s if reply is not None else None
    return min(asked if asked is not None else PAUSE_FIRST_S * 2 ** (tries - 1), PAUSE_MOST_S)


class Gathered:
    """Gather an answer, no more of it than the limit."""

    def __init__(self, status: int, headers: Mapping[str, str]) -> None:
        """Take the head of the answer."""
        self._status: Final = status
        self._body: Final = bytearray()
        text = headers.get("retry-after", "")
        self._retry_after_s = float(text) if text.isascii() and text.isdigit() and len(text) < 6 else None

    def add(self, piece: bytes) -> None:
        """Take a piece of the body.

        Raises:
            ClientError: ``client-answer`` beyond the limit.
        """
        self._body.extend(piece)
        if len(self._body) > ANSWER_MAX_BYTES:
            raise ClientError(ErrorCode.CLIENT_ANSWER, f"an answer is longer than {ANSWER_MAX_BYTES} bytes")

    def reply(self) -> Reply:
        """Return the answer."""
        return Reply(status=self._status, body=bytes(self._body), retry_after_s=self._retry_after_s)


def unreachable(error: httpx.HTTPError | httpx.InvalidURL) -> ClientError:
    """Return the error for a service that cannot be reached; only the type of the cause is told."""
    return ClientError(ErrorCode.CLIENT_TRANSPORT, f"no answer ({type(error).__name__}), expected one of the service")
