"""Hostile requests to the twin: whatever comes in, an AWS error or an answer comes out."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pcrgate.twin.kms.fields import Fields
from pcrgate.twin.kms.interface import Caller
from pcrgate.twin.kms.paging import page
from pcrgate.twin.kms.request_shape import operation_model
from pcrgate.twin.kms.service import OPERATIONS, KmsService
from pcrgate.twin.kms.service_errors import AwsError
from pcrgate.twin.kms.wire_json import parse_request, render_response

CALLER = Caller(account="111122223333", region="eu-central-1", arn="arn:aws:iam::111122223333:root")
SERVICE = KmsService()
CREATED: Any = SERVICE.prepare("CreateKey", {}, CALLER).execute()["KeyMetadata"]
KEY_ID = str(CREATED["KeyId"])


def _members(operation: str) -> list[str]:
    shape = operation_model(operation).input_shape
    return [] if shape is None else sorted(shape.members)


NAMES = sorted({name for operation in OPERATIONS for name in _members(operation)})
JSON = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.sampled_from([KEY_ID, "YQ=="])
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(NAMES), inner, max_size=3)),
    max_leaves=6,
)


def _run(operation: str, body: bytes) -> None:
    """Run a request; AWS errors with a message are answers too, anything else fails the test."""
    message = "answered"
    try:
        request = parse_request(operation, body)
        prepared = SERVICE.prepare(operation, request, CALLER)
        render_response(prepared.execute())
    except AwsError as error:
        message = error.message
    assert message


@given(st.sampled_from(sorted(OPERATIONS)), st.binary(max_size=40))
def test_bodies_that_are_no_requests(operation: str, body: bytes) -> None:
    _run(operation, body)


@given(st.sampled_from(sorted(OPERATIONS)), st.data())
@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
def test_members_of_any_type(operation: str, data: st.DataObject) -> None:
    own = _members(operation)
    request = data.draw(st.dictionaries(st.sampled_from(own), JSON, max_size=5))
    request |= {name: KEY_ID for name in own if name.endswith("KeyId") and data.draw(st.booleans())}
    _run(operation, json.dumps(request).encode())


@given(st.sampled_from([1e300, -1.0, float("nan"), float("inf"), 10**30, True, "soon", 253_402_300_799.5]))
def test_times_that_are_none(time: object) -> None:
    members = {"KeyId": KEY_ID, "ImportToken": "YQ==", "EncryptedKeyMaterial": "YQ==", "ValidTo": time}
    with pytest.raises(AwsError, match="'validTo' is of the wrong JSON type"):
        SERVICE.prepare("ImportKeyMaterial", parse_request("ImportKeyMaterial", json.dumps(members).encode()), CALLER)


@given(st.sets(st.text(st.characters(codec="utf-8"), min_size=1, max_size=5), max_size=12), st.integers(1, 5))
def test_pages_hold_every_item_once_in_order(names: set[str], limit: int) -> None:
    items = [(name, name) for name in sorted(names)]
    seen: list[object] = []
    request: dict[str, object] = {"Limit": limit}
    for _ in range(len(items) + 1):
        answer = page(items, "Items", Fields(request))
        shown = answer["Items"]
        assert isinstance(shown, list)
        assert len(shown) <= limit
        seen += shown
        if not answer["Truncated"]:
            break
        request["Marker"] = answer["NextMarker"]
    assert seen == sorted(names)
