"""Whatever a signed request holds, the twin answers in AWS's words: a result or a refusal, never an accident."""

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.loaders import Loader
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kms_policies.operations import OPERATIONS
from pcrgate.twin.kms_app import TARGET_PREFIX
from pcrgate.twin.server import Twin
from pcrgate.twin.settings import TwinSettings
from tests.unit.twin.server.wsgi_caller import answer, environ

MODEL = Loader().load_service_model("kms", "service-2")
JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([-1, 0, 2**70, 1.5, 1e308, "", "alias/x", "arn:aws:kms:x:y:key/z", "*", "\u2028", "A" * 5000]),
    st.lists(st.text(max_size=3), max_size=2),
    st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2),
)


def _later(name: str) -> st.SearchStrategy[Any]:
    return st.deferred(lambda: value(name))


def value(name: str) -> st.SearchStrategy[Any]:
    """Return values for a shape of the model, right ones and others."""
    shape = MODEL["shapes"][name]
    members = {member: _later(told["shape"]) for member, told in shape.get("members", {}).items()}
    right: dict[str, st.SearchStrategy[Any]] = {
        "structure": st.fixed_dictionaries({}, optional=members),
        "string": st.sampled_from([*shape.get("enum", []), "KEY", "x"]),
        "blob": st.sampled_from(["", "AA==", "AAAA" * 64, "not base64"]),
        "integer": st.sampled_from([0, 1, 7, 30, 1024]),
        "long": st.sampled_from([0, 1]),
        "boolean": st.booleans(),
        "timestamp": st.sampled_from([0, 1e9, 1e20]),
    }
    if shape["type"] == "list":
        return st.one_of(st.lists(value(shape["member"]["shape"]), max_size=2), JUNK)
    if shape["type"] == "map":
        return st.one_of(
            st.dictionaries(st.sampled_from(["", "a", "A"]), value(shape["value"]["shape"]), max_size=2), JUNK
        )
    return st.one_of(right[shape["type"]], right[shape["type"]], JUNK)


def requests() -> st.SearchStrategy[tuple[str, Any]]:
    """Return operations with what might be sent to them."""
    return st.sampled_from(sorted(OPERATIONS)).flatmap(
        lambda name: st.tuples(
            st.just(name),
            value(MODEL["operations"][name]["input"]["shape"]) if "input" in MODEL["operations"][name] else JUNK,
        )
    )


class Stage:
    """A twin that listens nowhere, with one key."""

    def __init__(self) -> None:
        self.twin = Twin(TwinSettings(http_port=0, seed=b"hostile"))
        key = self.twin._bootstrap[0]
        self.credentials = Credentials(key.access_key_id, key.secret_access_key)
        _, made = self.send("CreateKey", b"{}")
        self.key_arn: str = made["KeyMetadata"]["Arn"]

    def send(self, operation: str, body: bytes) -> tuple[int, Any]:
        headers = {"X-Amz-Target": f"{TARGET_PREFIX}{operation}", "Content-Type": "application/x-amz-json-1.1"}
        signed = AWSRequest(method="POST", url="http://127.0.0.1:5600/", data=body, headers=headers)
        SigV4Auth(self.credentials, "kms", "eu-central-1").add_auth(signed)
        told = {f"HTTP_{name.upper().replace('-', '_')}": str(content) for name, content in signed.headers.items()}
        told["CONTENT_TYPE"] = told.pop("HTTP_CONTENT_TYPE")
        made = environ("POST", body=body, **told) | {"wsgi.input": io.BytesIO(body)}
        status, text = answer(self.twin._app, made)
        return status, json.loads(text)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    made = Stage()
    yield made
    made.twin.stop()


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(request=requests())
def test_every_request_has_an_answer(stage: Stage, request: tuple[str, Any]) -> None:
    operation, members = request
    body = json.dumps(members).replace('"KEY"', json.dumps(stage.key_arn)).encode()
    status, told = stage.send(operation, body)
    assert status in {200, 400}
    if status == 400:
        assert told["__type"].endswith("Exception")
        assert told["message"]
    assert stage.twin.audit.records()[-1]["eventName"] == operation


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 50_000])
def test_a_body_that_is_no_object_is_refused_or_empty(stage: Stage, body: bytes) -> None:
    status, told = stage.send("ListKeys", body)
    assert (status, told.get("__type")) in {(200, None), (400, "SerializationException")}


@pytest.mark.parametrize("operation", ["", "Nothing", "ListKeys.", "../ListKeys"])
def test_an_operation_that_is_none_is_refused(stage: Stage, operation: str) -> None:
    status, told = stage.send(operation, b"{}")
    assert (status, told["__type"]) == (400, "UnknownOperationException")
