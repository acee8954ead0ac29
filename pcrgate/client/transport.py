"""Carry requests over HTTP: answers bounded in length and time, repeats only of what is safe to repeat.

Redirects are never followed, cookies never kept, and a body is read as it came: whatever encoding it claims to have.
"""

import secrets
import time
from collections.abc import Callable, Mapping
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Final, TypedDict
from urllib.parse import urlsplit

import httpx

from pcrgate.client.exchange import ANSWER_MAX_BYTES, Reply, Request
from pcrgate.errors import ClientError, ErrorCode, UsageError

TIMEOUT_S: Final = 60.0
"""Longest silence of the service: above what it is asked to wait for a result."""

BODY_TIMEOUT_S: Final = 60.0
"""Longest from an answer's head to the end of its body: two megabytes over a slow line, and no drip without end."""

ANSWER_TIMEOUT_S: Final = TIMEOUT_S + BODY_TIMEOUT_S
"""Longest from a request to the end of its answer, of the asynchronous client: no head comes a byte a minute. The
synchronous one has no such end: nothing of httpx's can end a read of another thread."""

TRIES: Final = 4
"""How often a repeatable request is sent at most."""

PAUSE_FIRST_S: Final = 0.25
PAUSE_MOST_S: Final = 5.0
"""Pauses double from the first to the longest where the service does not say how long."""

PATIENCE_S: Final = 10.0
"""Longest Retry-After that is waited for; of a longer one the caller is told at once, instead of asking too early."""

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


class HttpOptions(TypedDict):
    """Name what every client of ours asks of httpx."""

    base_url: str
    timeout: float
    trust_env: bool
    verify: bool | str
    cookies: CookieJar


def http_options(url: str, *, verify: bool | str) -> HttpOptions:
    """Return what makes a client: no proxy and no file out of the environment, no cookies, redirects not followed.

    Raises:
        UsageError: ``usage-arguments`` for an address that cannot be used.
    """
    return {
        "base_url": base_url(url),
        "timeout": TIMEOUT_S,
        "trust_env": False,
        "verify": verify,
        "cookies": no_cookies(),
    }


def headers_for(request: Request, token: str) -> dict[str, str]:
    """Return the headers of a request."""
    return {**request.headers, "Authorization": f"Bearer {token}", "Accept-Encoding": "identity"}


def no_cookies() -> CookieJar:
    """Return a jar that takes nothing: a parent has no means to mark an agent."""
    return CookieJar(policy=DefaultCookiePolicy(allowed_domains=[]))


def chance() -> float:
    """Return a number from 0 to 1."""
    return secrets.randbelow(1001) / 1000


def pause_s(request: Request, reply: Reply | None, tries: int, jitter: Callable[[], float] = chance) -> float | None:
    """Return how long to wait before the next try; None when there is none.

    That is never less than Retry-After, and up to half as much more, so that agents who were sent away together do not
    come again together.

    Args:
        request: that was sent.
        reply: what came; None when nothing did.
        tries: how often it was sent.
        jitter: a number from 0 to 1, by chance.
    """
    again = request.repeatable and (reply is None or reply.status in _AGAIN)
    if not again or tries >= TRIES:
        return None
    asked = reply.retry_after_s if reply is not None else None
    if asked is not None and asked > PATIENCE_S:
        return None
    least = asked if asked is not None else min(PAUSE_FIRST_S * 2 ** (tries - 1), PAUSE_MOST_S)
    return least * (1 + jitter() / 2)


class Gathered:
    """Gather an answer, no more of it than the limit, and for no longer."""

    def __init__(self, status: int, headers: Mapping[str, str], *, clock: Callable[[], float] = time.monotonic) -> None:
        """Take the head of the answer, and a clock in seconds that never goes back."""
        self._status: Final = status
        self._clock: Final = clock
        self._end_s: Final = clock() + BODY_TIMEOUT_S
        self._body: Final = bytearray()
        text = headers.get("retry-after", "")
        self._retry_after_s = float(text) if text.isascii() and text.isdigit() and len(text) < 6 else None

    def add(self, piece: bytes) -> None:
        """Take a piece of the body.

        Raises:
            ClientError: ``client-answer`` beyond the limit, ``client-transport`` when the body takes too long.
        """
        self._body.extend(piece)
        if self._clock() > self._end_s:
            raise ClientError(
                ErrorCode.CLIENT_TRANSPORT, f"an answer took longer than {BODY_TIMEOUT_S:g} s, expected it sooner"
            )
        if len(self._body) > ANSWER_MAX_BYTES:
            raise ClientError(ErrorCode.CLIENT_ANSWER, f"an answer is longer than {ANSWER_MAX_BYTES} bytes")

    def reply(self) -> Reply:
        """Return the answer."""
        return Reply(status=self._status, body=bytes(self._body), retry_after_s=self._retry_after_s)


class Tries:
    """Count the tries of one request, and say how long to wait before the next."""

    def __init__(self, request: Request) -> None:
        """Begin with none."""
        self._request: Final = request
        self._tries = 0

    def failed(self, error: httpx.HTTPError | httpx.InvalidURL) -> float:
        """Return how long to wait after a try without an answer.

        Raises:
            ClientError: ``client-transport`` when it was the last one.
        """
        pause = self.answered(None)
        if pause is None:
            raise unreachable(error) from error
        return pause

    def answered(self, reply: Reply | None) -> float | None:
        """Return how long to wait after an answer; None when it counts."""
        self._tries += 1
        return pause_s(self._request, reply, self._tries)


def unreachable(error: httpx.HTTPError | httpx.InvalidURL) -> ClientError:
    """Return the error for a service that cannot be reached; only the type of the cause is told."""
    return ClientError(ErrorCode.CLIENT_TRANSPORT, f"no answer ({type(error).__name__}), expected one of the service")
