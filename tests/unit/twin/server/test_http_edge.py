import io
from typing import Any

import pytest

from pcrgate.twin import http_edge
from pcrgate.twin.faults import FaultCode, FrontDoorError
from pcrgate.twin.http_edge import drop_connection, read_request
from tests.unit.twin.server.wsgi_caller import environ


def refused(made: dict[str, Any]) -> FaultCode:
    with pytest.raises(FrontDoorError) as caught:
        read_request(made)
    return caught.value.code


def test_a_request_is_read_whole() -> None:
    made = environ("POST", "/a%20b?x=1", body=b"body", CONTENT_TYPE="application/json", HTTP_X_AMZ_DATE="now") | {
        "wsgi.url_scheme": "https"
    }
    request = read_request(made)
    assert (request.method, request.path, request.query, request.body) == ("POST", "/a%20b", "x=1", b"body")
    assert (request.source_ip, request.secure) == ("127.0.0.1", True)
    assert request.headers["x-amz-date"] == "now"
    assert request.headers["content-type"] == "application/json"


def test_nothing_beyond_the_declared_length_is_read() -> None:
    made = environ("POST", body=b"body") | {"CONTENT_LENGTH": "2"}
    assert read_request(made).body == b"bo"


@pytest.mark.parametrize("declared", ["-1", "abc", "1e3", "²"])
def test_a_length_that_is_none_is_refused(declared: str) -> None:
    assert refused(environ() | {"CONTENT_LENGTH": declared}) is FaultCode.REQUEST_TOO_LARGE


def test_the_largest_body_is_read_and_one_byte_more_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_edge, "BODY_MAX_BYTES", 8)
    assert read_request(environ(body=bytes(8))).body == bytes(8)
    assert refused(environ(body=bytes(9))) is FaultCode.REQUEST_TOO_LARGE


def test_a_body_without_length_is_read_up_to_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_edge, "BODY_MAX_BYTES", 8)
    chunked = {"CONTENT_LENGTH": "", "wsgi.input_terminated": True}
    assert read_request(environ() | chunked | {"wsgi.input": io.BytesIO(bytes(8))}).body == bytes(8)
    assert refused(environ() | chunked | {"wsgi.input": io.BytesIO(bytes(9))}) is FaultCode.REQUEST_TOO_LARGE


def test_a_body_that_breaks_off_is_refused() -> None:
    assert refused(environ(body=b"half") | {"CONTENT_LENGTH": "8"}) is FaultCode.SERIALIZATION


def test_a_dropped_connection_is_one_for_the_server_too() -> None:
    with pytest.raises(ConnectionAbortedError):
        drop_connection(environ())
