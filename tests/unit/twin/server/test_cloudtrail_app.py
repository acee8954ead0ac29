import base64
import json
from typing import Any

import pytest

from kms_policies.request import Principal
from pcrgate.twin.accounts import Accounts, Identity
from pcrgate.twin.audit import AuditTrail, Call, Record
from pcrgate.twin.clock import TwinClock
from pcrgate.twin.cloudtrail_app import _ATTRIBUTES, MAX_RESULTS, CloudTrailApp, _body, look_up
from pcrgate.twin.faults import FaultCode, FrontDoorError
from pcrgate.twin.kms.request_shape import service_model
from tests.unit.twin.server.wsgi_caller import answer, environ

ACCOUNT, REGION = "111122223333", "eu-central-1"
KEY_ARN = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/11111111-2222-4333-8444-555555555555"
ALICE = Identity(
    principal=Principal.from_arn(f"arn:aws:iam::{ACCOUNT}:user/alice"), partition="aws", access_key_id="AKIAALICE"
)
SESSION = Identity(
    principal=Principal.from_arn(f"arn:aws:sts::{ACCOUNT}:assumed-role/parent/boot"),
    partition="aws",
    access_key_id="ASIASESSION",
)


def records(count: int = 4, **changes: Any) -> tuple[Record, ...]:
    clock = TwinClock.frozen(1_000_000)
    trail = AuditTrail(clock_ms=clock)
    for number in range(count):
        told: dict[str, Any] = {
            "request_id": str(number),
            "operation": "Decrypt" if number % 2 else "CreateKey",
            "region": REGION,
            "identity": SESSION if number % 2 else ALICE,
            "source_ip": "127.0.0.1",
            "user_agent": "tests",
            "request": {},
            "key_arns": (KEY_ARN,) if number % 2 else (),
            "response": {},
            **changes,
        }
        trail.add(Call(**told))
        clock.advance(10)
    return trail.records()


def found(
    query: dict[str, Any], kept: tuple[Record, ...] | None = None, *, account: str = ACCOUNT, region: str = REGION
) -> list[str]:
    page: Any = look_up(records() if kept is None else kept, query, account=account, region=region)
    return [json.loads(event["CloudTrailEvent"])["requestID"] for event in page["Events"]]


def test_events_come_newest_first() -> None:
    assert found({}) == ["3", "2", "1", "0"]


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("EventName", "Decrypt", ["3", "1"]),
        ("EventSource", "kms.amazonaws.com", ["3", "2", "1", "0"]),
        ("EventSource", "s3.amazonaws.com", []),
        ("ReadOnly", "false", ["2", "0"]),
        ("AccessKeyId", "AKIAALICE", ["2", "0"]),
        ("Username", "alice", ["2", "0"]),
        ("Username", "boot", ["3", "1"]),
        ("ResourceName", KEY_ARN, ["3", "1"]),
        ("ResourceType", "AWS::KMS::Key", ["3", "1"]),
    ],
)
def test_events_are_found_by_attribute(key: str, value: str, expected: list[str]) -> None:
    assert found({"LookupAttributes": [{"AttributeKey": key, "AttributeValue": value}]}) == expected


def test_an_event_is_found_by_its_id() -> None:
    kept = records()
    query = {"LookupAttributes": [{"AttributeKey": "EventId", "AttributeValue": kept[1]["eventID"]}]}
    assert found(query, kept) == ["1"]


def test_events_are_found_by_time() -> None:
    assert found({"StartTime": 1010, "EndTime": 1020}) == ["2", "1"]


@pytest.mark.parametrize("where", [{"account": "444455556666"}, {"region": "us-east-1"}])
def test_other_accounts_and_regions_have_their_own_events(where: dict[str, str]) -> None:
    assert found({}, account=where.get("account", ACCOUNT), region=where.get("region", REGION)) == []


def test_pages_follow_each_other() -> None:
    kept = records(5)
    seen: list[str] = []
    token = None
    while True:
        query: dict[str, Any] = {"MaxResults": 2, "NextToken": token}
        page: Any = look_up(kept, query, account=ACCOUNT, region=REGION)
        seen += [event["EventId"] for event in page["Events"]]
        token = page.get("NextToken")
        if token is None:
            break
    assert seen == [record["eventID"] for record in reversed(kept)]


def test_a_page_has_fifty_events_at_most() -> None:
    kept = records(MAX_RESULTS + 1)
    assert len(found({}, kept)) == MAX_RESULTS
    assert len(found({"MaxResults": MAX_RESULTS}, kept)) == MAX_RESULTS


@pytest.mark.parametrize(
    "query",
    [
        {"MaxResults": 0},
        {"MaxResults": MAX_RESULTS + 1},
        {"NextToken": "no token"},
        {"NextToken": base64.b64encode(b"-1").decode()},
        {"NextToken": base64.b64encode(b"9" * 13).decode()},
        {"LookupAttributes": [{"AttributeKey": "Colour", "AttributeValue": "red"}]},
    ],
)
def test_a_query_that_cannot_be_meant_is_refused(query: dict[str, Any]) -> None:
    with pytest.raises(FrontDoorError) as caught:
        found(query)
    assert caught.value.code is FaultCode.VALIDATION


@pytest.mark.parametrize(
    "query",
    [
        {"MaxResults": "5"},
        {"MaxResults": True},
        {"NextToken": 1},
        {"StartTime": "yesterday"},
        {"EndTime": [1]},
        {"LookupAttributes": 5},
        {"LookupAttributes": {"AttributeKey": "EventName"}},
        {"LookupAttributes": ["EventName"]},
        {"LookupAttributes": [{"AttributeKey": ["EventName"], "AttributeValue": "Decrypt"}]},
    ],
)
def test_members_of_other_types_are_refused(query: dict[str, Any]) -> None:
    with pytest.raises(FrontDoorError) as caught:
        found(query)
    assert caught.value.code is FaultCode.SERIALIZATION


def test_every_attribute_that_the_service_knows_is_found_by() -> None:
    shape: Any = service_model("cloudtrail").operation_model("LookupEvents").input_shape
    known = shape.members["LookupAttributes"].member.members["AttributeKey"].enum
    assert sorted(_ATTRIBUTES) == sorted(known)


def test_null_is_a_member_that_is_not_there() -> None:
    nothing = dict.fromkeys(("MaxResults", "NextToken", "StartTime", "EndTime", "LookupAttributes"))
    assert found(nothing) == found({})


def test_roots_are_called_root() -> None:
    root = Identity(principal=Principal.of_root(ACCOUNT), partition="aws")
    kept = records(1, identity=root)
    assert found({"LookupAttributes": [{"AttributeKey": "Username", "AttributeValue": "root"}]}, kept) == ["0"]


def test_an_unsigned_lookup_is_refused_and_other_operations_are_handed_on() -> None:
    def otherwise(_: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Length", "4")])
        return [b"moto"]

    clock = TwinClock.running()
    app = CloudTrailApp(audit=AuditTrail(clock_ms=clock), accounts=Accounts([]), clock=clock, otherwise=otherwise)
    target = "com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101"
    assert answer(app, environ("POST", HTTP_X_AMZ_TARGET=f"{target}.ListTrails")) == (200, b"moto")
    status, body = answer(app, environ("POST", HTTP_X_AMZ_TARGET=f"{target}.LookupEvents"))
    assert (status, json.loads(body)["__type"]) == (400, "MissingAuthenticationTokenException")


@pytest.mark.parametrize("body", [b"{", b"[]"])
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(FrontDoorError) as caught:
        _body(body)
    assert caught.value.code is FaultCode.SERIALIZATION
