"""Signatures: AWS's published example, botocore as the independent signer, and every check broken once."""

import dataclasses
import datetime as dt
from collections.abc import Mapping

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from pcrgate.twin.faults import FaultCode, FrontDoorError
from pcrgate.twin.sigv4 import MAX_SKEW_S, HttpRequest, parse_authorization, verify_signature

SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
EXAMPLE_TIME = dt.datetime(2015, 8, 30, 12, 36, 0, tzinfo=dt.UTC)
EXAMPLE_SIGNATURE = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
"""Signature of ``get-vanilla`` in AWS's Signature Version 4 test suite."""


def example(**changes: object) -> HttpRequest:
    authorization = (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
        f"SignedHeaders=host;x-amz-date, Signature={EXAMPLE_SIGNATURE}"
    )
    headers = {"host": "example.amazonaws.com", "x-amz-date": "20150830T123600Z", "authorization": authorization}
    request = HttpRequest(
        method="GET", path="/", query="", headers=headers, body=b"", source_ip="127.0.0.1", secure=False
    )
    return dataclasses.replace(request, **changes)  # type: ignore[arg-type]


def check(request: HttpRequest, *, now: dt.datetime = EXAMPLE_TIME, service: str = "service") -> None:
    verify_signature(request, parse_authorization(request.headers), SECRET, service=service, now=now)


def refused(request: HttpRequest, *, now: dt.datetime = EXAMPLE_TIME, service: str = "service") -> FaultCode:
    with pytest.raises(FrontDoorError) as caught:
        check(request, now=now, service=service)
    assert caught.value.message
    return caught.value.code


def with_headers(**headers: str) -> HttpRequest:
    request = example()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return dataclasses.replace(request, headers={**request.headers, **named})


def test_the_published_example_verifies() -> None:
    check(example())


@pytest.mark.parametrize(
    "changes",
    [{"method": "POST"}, {"path": "/a"}, {"query": "a=b"}, {"body": b"x"}],
    ids=["method", "path", "query", "body"],
)
def test_anything_changed_is_another_signature(changes: Mapping[str, object]) -> None:
    assert refused(example(**changes)) is FaultCode.INVALID_SIGNATURE


def test_a_changed_signed_header_is_refused() -> None:
    assert refused(with_headers(host="evil.example")) is FaultCode.INVALID_SIGNATURE


@pytest.mark.parametrize("name", ["x_amz_target", "x_amz_security_token", "x_amz_anything"])
def test_a_header_that_steers_must_be_signed(name: str) -> None:
    request = with_headers(**{name: "TrentService.Decrypt"})
    with pytest.raises(FrontDoorError, match="must be a 'SignedHeader'"):
        check(request)


def test_the_host_must_be_signed() -> None:
    header = example().headers["authorization"].replace("host;", "")
    with pytest.raises(FrontDoorError, match="'host' must be a 'SignedHeader'"):
        check(with_headers(authorization=header))


def test_the_scope_names_the_service() -> None:
    assert refused(example(), service="kms") is FaultCode.INVALID_SIGNATURE


@pytest.mark.parametrize(("skew_s", "fine"), [(MAX_SKEW_S, True), (MAX_SKEW_S + 1, False)])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_date_is_five_minutes_away_at_most(skew_s: int, fine: bool, sign: int) -> None:
    now = EXAMPLE_TIME + sign * dt.timedelta(seconds=skew_s)
    if fine:
        check(example(), now=now)
    else:
        assert refused(example(), now=now) is FaultCode.INVALID_SIGNATURE


@pytest.mark.parametrize("date", ["", "2015-08-30T12:36:00Z", "20150830T123600", "20159930T123600Z"])
def test_a_date_that_is_none_is_incomplete(date: str) -> None:
    assert refused(with_headers(x_amz_date=date)) is FaultCode.INCOMPLETE_SIGNATURE


def test_the_date_agrees_with_the_scope() -> None:
    assert refused(with_headers(x_amz_date="20150831T000000Z")) is FaultCode.INVALID_SIGNATURE


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("", FaultCode.MISSING_TOKEN),
        ("Bearer abc", FaultCode.INCOMPLETE_SIGNATURE),
        ("AWS4-ECDSA-P256-SHA256 Credential=a/b/c/d/aws4_request, SignedHeaders=host, Signature=0", None),
        ("AWS4-HMAC-SHA256 Credential=a/b/c/d/aws4_request, SignedHeaders=host", None),
        ("AWS4-HMAC-SHA256 Credential=a/b/c/d/aws4_request, SignedHeaders=host, Signature=0, Signature=1", None),
        ("AWS4-HMAC-SHA256 Credential=a/b/c/aws4_request, SignedHeaders=host, Signature=0", None),
        ("AWS4-HMAC-SHA256 Credential=a/b/c/d/aws5_request, SignedHeaders=host, Signature=0", None),
    ],
)
def test_a_header_that_cannot_be_read(header: str, code: FaultCode | None) -> None:
    with pytest.raises(FrontDoorError) as caught:
        parse_authorization({"authorization": header} if header else {})
    assert caught.value.code is (code or FaultCode.INCOMPLETE_SIGNATURE)


_VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=20)


@given(
    body=st.binary(max_size=200),
    pairs=st.dictionaries(st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=8), _VALUES, max_size=4),
    header=_VALUES,
    token=st.one_of(st.none(), st.text("abcXYZ/+=", min_size=1, max_size=30)),
)
def test_what_botocore_signs_verifies(body: bytes, pairs: dict[str, str], header: str, token: str | None) -> None:
    signed = AWSRequest(
        method="POST",
        url="https://kms.eu-central-1.amazonaws.com/",
        params=pairs,
        data=body,
        headers={"X-Amz-Note": header},
    )
    SigV4Auth(Credentials("AKIDEXAMPLE", SECRET, token), "kms", "eu-central-1").add_auth(signed)
    prepared = signed.prepare()
    headers = {name.lower(): str(value) for name, value in signed.headers.items()}
    headers |= {"host": "kms.eu-central-1.amazonaws.com"}
    request = HttpRequest(
        method="POST",
        path="/",
        query=str(prepared.url).partition("?")[2],
        headers=headers,
        body=body,
        source_ip="127.0.0.1",
        secure=True,
    )
    now = dt.datetime.now(dt.UTC)
    verify_signature(request, parse_authorization(headers), SECRET, service="kms", now=now)
    with pytest.raises(FrontDoorError):
        verify_signature(request, parse_authorization(headers), SECRET + "x", service="kms", now=now)
