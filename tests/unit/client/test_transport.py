"""When a request is sent again and when no more; how long an answer may take; what of an answer is kept."""

import httpx
import pytest

from pcrgate.client.exchange import ANSWER_MAX_BYTES, Reply, Request
from pcrgate.client.transport import (
    BODY_TIMEOUT_S,
    PATIENCE_S,
    PAUSE_MOST_S,
    TRIES,
    Gathered,
    Tries,
    chance,
    no_cookies,
    pause_s,
)
from pcrgate.errors import ClientError, ErrorCode

AGAIN = Request(method="GET", path="/", repeatable=True)
ONCE = Request(method="POST", path="/")


def busy(retry_after_s: float | None = None) -> Reply:
    return Reply(status=503, body=b"", retry_after_s=retry_after_s)


@pytest.mark.parametrize("asked", [0.0, 1.0, PATIENCE_S])
def test_never_sooner_than_the_service_asks_and_up_to_half_as_much_later(asked: float) -> None:
    assert pause_s(AGAIN, busy(asked), 1, lambda: 0.0) == asked
    assert pause_s(AGAIN, busy(asked), 1, lambda: 1.0) == asked * 1.5


def test_who_is_asked_to_wait_longer_than_its_patience_is_told_at_once() -> None:
    assert pause_s(AGAIN, busy(PATIENCE_S + 1), 1) is None


def test_pauses_double_up_to_the_longest() -> None:
    assert [pause_s(AGAIN, busy(), tries, lambda: 0.0) for tries in range(1, TRIES)] == [0.25, 0.5, 1.0]
    assert 0.25 * 2**TRIES < PAUSE_MOST_S


def test_what_is_sent_once_is_never_sent_again() -> None:
    assert pause_s(ONCE, busy(1.0), 1) is None
    assert pause_s(ONCE, None, 1) is None
    assert pause_s(AGAIN, Reply(status=400, body=b""), 1) is None


def test_tries_end() -> None:
    tries, broken = Tries(AGAIN), httpx.ReadError("canary-of-a-cause")
    assert all(tries.failed(broken) > 0 for _ in range(TRIES - 1))
    with pytest.raises(ClientError) as caught:
        tries.failed(broken)
    assert caught.value.code is ErrorCode.CLIENT_TRANSPORT
    assert "canary" not in caught.value.message


def test_chance_is_a_share() -> None:
    found = {chance() for _ in range(200)}
    assert len(found) > 50
    assert min(found) >= 0
    assert max(found) <= 1


def test_a_body_that_drips_is_left_when_its_time_is_over() -> None:
    now = [0.0]
    gathered = Gathered(200, {}, clock=lambda: now[0])
    now[0] = BODY_TIMEOUT_S
    gathered.add(b"{")
    now[0] = BODY_TIMEOUT_S + 0.1
    with pytest.raises(ClientError) as caught:
        gathered.add(b"}")
    assert caught.value.code is ErrorCode.CLIENT_TRANSPORT


def test_the_longest_answer_and_one_byte_more() -> None:
    gathered = Gathered(200, {})
    gathered.add(bytes(ANSWER_MAX_BYTES))
    with pytest.raises(ClientError) as caught:
        gathered.add(b"x")
    assert caught.value.code is ErrorCode.CLIENT_ANSWER


@pytest.mark.parametrize(
    ("text", "found"),
    [("7", 7.0), ("", None), ("-1", None), ("1e9", None), ("123456", None), ("Wed, 21 Oct 2026 07:28:00 GMT", None)],
)
def test_retry_after_is_read_strictly(text: str, found: float | None) -> None:
    assert Gathered(503, {"retry-after": text}).reply().retry_after_s == found


def test_no_cookie_is_kept_or_sent() -> None:
    seen: list[str | None] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers.get("cookie"))
        return httpx.Response(200, headers={"Set-Cookie": "mark=agent-7; Path=/"})

    with httpx.Client(transport=httpx.MockTransport(answer), cookies=no_cookies()) as http:
        http.get("http://127.0.0.1/")
        http.get("http://127.0.0.1/")
        assert (seen, len(http.cookies.jar)) == ([None, None], 0)
