"""CloudTrail's LookupEvents over the twin's audit trail; every other operation of CloudTrail is moto's.

Spec: CloudTrail API Reference, LookupEvents.
"""

import base64
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, Final

from pcrgate.twin.accounts import Accounts
from pcrgate.twin.audit import AuditTrail, Record
from pcrgate.twin.clock import TwinClock
from pcrgate.twin.faults import FaultCode, FrontDoorError
from pcrgate.twin.http_edge import StartResponse, error_body, read_request, respond
from pcrgate.twin.kms.request_shape import check_structure, service_model
from pcrgate.twin.kms.service_errors import AwsError
from pcrgate.twin.kms_app import authenticate

WsgiApp = Callable[[dict[str, Any], Any], Iterable[bytes]]
"""A WSGI application. Spec: PEP 3333."""

MAX_RESULTS: Final = 50
"""Most events on a page. Spec: CloudTrail API Reference, LookupEvents."""

OFFSET_DIGITS: Final = 12
"""Longest offset in a token: more events than a twin ever keeps."""

_LOOKUP: Final = "LookupEvents"
_ATTRIBUTES: Final[Mapping[str, Callable[[Record], Iterable[object]]]] = {
    "AccessKeyId": lambda record: [_identity(record).get("accessKeyId")],
    "EventId": lambda record: [record["eventID"]],
    "EventName": lambda record: [record["eventName"]],
    "EventSource": lambda record: [record["eventSource"]],
    "ReadOnly": lambda record: [str(record["readOnly"]).lower()],
    "ResourceName": lambda record: [resource["ResourceName"] for resource in _resources(record)],
    "ResourceType": lambda record: [resource["ResourceType"] for resource in _resources(record)],
    "Username": lambda record: [_user_name(record)],
}


class CloudTrailApp:
    """Answer LookupEvents, and hand everything else on."""

    def __init__(self, *, audit: AuditTrail, accounts: Accounts, clock: TwinClock, otherwise: WsgiApp) -> None:
        self._audit = audit
        self._accounts = accounts
        self._clock = clock
        self._otherwise = otherwise

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request. Spec: PEP 3333."""
        if not environ.get("HTTP_X_AMZ_TARGET", "").endswith(f".{_LOOKUP}"):
            return self._otherwise(environ, start_response)
        try:
            request = read_request(environ)
            caller = authenticate(self._accounts, request, service="cloudtrail", clock=self._clock)
            page = look_up(self._audit.records(), _body(request.body), account=caller.account, region=caller.region)
            return respond(start_response, 200, json.dumps(page).encode())
        except FrontDoorError as error:
            return respond(start_response, error.code.status, error_body(error.code.code, error.message))


def look_up(records: Iterable[Record], query: Mapping[str, Any], *, account: str, region: str) -> dict[str, object]:
    """Return one page of events, newest first, as LookupEvents does.

    Args:
        records: the audit records, oldest first.
        query: the request's members.
        account: whose events.
        region: where they happened.

    Raises:
        FrontDoorError: ``SerializationException`` for members of other types, ``ValidationException`` for a query that
            cannot be meant.
    """
    try:
        check_structure(query, service_model("cloudtrail").operation_model(_LOOKUP).input_shape)
    except AwsError as error:  # both of its codes are the front door's, too
        raise FrontDoorError(FaultCode[error.code.name], error.message) from error
    query = {name: value for name, value in query.items() if value is not None}
    limit, start = query.get("MaxResults", MAX_RESULTS), _offset(query.get("NextToken"))
    found = [record for record in records if _matches(record, query, account, region)][::-1]
    page: dict[str, object] = {"Events": [_event(record) for record in found[start : start + limit]]}
    if start + limit < len(found):
        page["NextToken"] = base64.b64encode(str(start + limit).encode()).decode()
    return page


def _matches(record: Record, query: Mapping[str, Any], account: str, region: str) -> bool:
    if record["recipientAccountId"] != account or record["awsRegion"] != region:
        return False
    at_s = _event_time_s(record)
    if at_s < query.get("StartTime", at_s) or at_s > query.get("EndTime", at_s):
        return False
    return all(
        attribute["AttributeValue"] in _ATTRIBUTES[attribute["AttributeKey"]](record)
        for attribute in query.get("LookupAttributes", ())
    )


def _event(record: Record) -> dict[str, object]:
    event = {
        "EventId": record["eventID"],
        "EventName": record["eventName"],
        "ReadOnly": str(record["readOnly"]).lower(),
        "AccessKeyId": _identity(record).get("accessKeyId"),
        "EventTime": _event_time_s(record),
        "EventSource": record["eventSource"],
        "Username": _user_name(record),
        "Resources": list(_resources(record)),
        "CloudTrailEvent": json.dumps(record),
    }
    return {name: value for name, value in event.items() if value is not None}


def _resources(record: Record) -> Iterator[dict[str, object]]:
    resources = record["resources"]
    for resource in resources if isinstance(resources, list) else ():
        yield {"ResourceType": resource["type"], "ResourceName": resource["ARN"]}


def _identity(record: Record) -> Mapping[str, Any]:
    identity = record["userIdentity"]
    return identity if isinstance(identity, dict) else {}


def _user_name(record: Record) -> object:
    identity = _identity(record)
    if identity.get("type") == "AssumedRole":
        return str(identity["arn"]).rpartition("/")[2]
    return identity.get("userName", "root")


def _event_time_s(record: Record) -> int:
    return int(datetime.fromisoformat(str(record["eventTime"])).timestamp())


def _offset(token: object) -> int:
    if token is None:
        return 0
    with suppress(ValueError):
        text = base64.b64decode(str(token), validate=True)
        if text.isdigit() and len(text) <= OFFSET_DIGITS:
            return int(text)
    raise FrontDoorError(FaultCode.VALIDATION, "NextToken is not one that LookupEvents returned")


def _body(body: bytes) -> Mapping[str, Any]:
    try:
        query = json.loads(body or b"{}")
    except ValueError:
        query = None
    if not isinstance(query, dict):
        raise FrontDoorError(FaultCode.SERIALIZATION, "the body of the request is not a JSON object")
    return query
