"""The behaviour that can be switched: throttling, outages, latency, propagation; and the control endpoint's way to it."""

import json
import time
import urllib.request
from typing import Any

import botocore.exceptions
import pytest
from botocore.config import Config

from pcrgate.twin.clients import boto_client
from pcrgate.twin.server import Twin
from tests.support.twin_stage import assume, make_role, refusal, root_client

pytestmark = pytest.mark.network


def control(twin: Twin, method: str, name: str, members: object = None) -> Any:
    body = None if members is None else json.dumps(members).encode()
    request = urllib.request.Request(f"{twin.http_url}/_twin/{name}", data=body, method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.loads(answer.read())


def once(twin: Twin) -> Any:
    """Return a client of the root user that sends a request once and never again."""
    return boto_client(twin, "kms", config=Config(retries={"total_max_attempts": 1}))


def test_throttling_has_its_own_error_and_the_clients_retries_help(kms_twin: Twin) -> None:
    control(kms_twin, "POST", "modes", {"throttle": {"rate_per_s": 0.001, "burst": 2}})
    client = once(kms_twin)
    client.list_keys()
    client.list_keys()
    code, message = refusal(client.list_keys)
    assert code == "ThrottlingException"
    assert "rate" in message
    control(kms_twin, "POST", "modes", {"throttle": None})
    client.list_keys()


@pytest.mark.parametrize(
    ("kind", "code"), [("internal", "KMSInternalException"), ("dependency-timeout", "DependencyTimeoutException")]
)
def test_an_outage_has_its_own_error(kms_twin: Twin, kind: str, code: str) -> None:
    control(kms_twin, "POST", "modes", {"outage": {"kind": kind, "operations": ["ListKeys"], "remaining": 1}})
    client = once(kms_twin)
    client.list_aliases()
    assert refusal(client.list_keys)[0] == code
    client.list_keys()


def test_a_short_outage_is_bridged_by_the_clients_retries(kms_twin: Twin) -> None:
    control(kms_twin, "POST", "modes", {"outage": {"kind": "internal", "remaining": 2}})
    assert root_client(kms_twin, "kms").list_keys()["ResponseMetadata"]["RetryAttempts"] == 2


def test_a_dropped_connection_is_no_answer(kms_twin: Twin) -> None:
    control(kms_twin, "POST", "modes", {"outage": {"kind": "drop", "remaining": 1}})
    client = once(kms_twin)
    with pytest.raises(botocore.exceptions.HTTPClientError):
        client.list_keys()
    client.list_keys()


def test_latency_is_added(kms_twin: Twin) -> None:
    client = root_client(kms_twin, "kms")
    client.list_keys()
    control(kms_twin, "POST", "modes", {"latency_ms": 120})
    before = time.monotonic()
    client.list_keys()
    assert time.monotonic() - before >= 0.12


def test_a_changed_policy_takes_its_time(kms_twin: Twin) -> None:
    kms = root_client(kms_twin, "kms")
    arn = kms.create_key()["KeyMetadata"]["Arn"]
    role = make_role(kms_twin, "late")
    client = boto_client(kms_twin, "kms", credentials=assume(kms_twin, role))
    control(kms_twin, "POST", "modes", {"propagation_delay_s": 60})
    administration = {
        "Effect": "Allow",
        "Principal": {"AWS": "arn:aws:iam::123456789012:root"},
        "Action": "kms:*",
        "Resource": "*",
    }
    allowing = {"Effect": "Allow", "Principal": {"AWS": role}, "Action": "kms:Encrypt", "Resource": "*"}
    for statements, before, after in (([administration, allowing], False, True), ([administration], True, False)):
        policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
        kms.put_key_policy(KeyId=arn, PolicyName="default", Policy=policy)
        # No request looks at the key in between: the change itself starts the delay.
        control(kms_twin, "POST", "clock/advance", {"seconds": 59})
        assert _may_encrypt(client, arn) is before
        control(kms_twin, "POST", "clock/advance", {"seconds": 1})
        assert _may_encrypt(client, arn) is after


def test_a_grant_takes_its_time_unless_its_token_is_shown(kms_twin: Twin) -> None:
    kms = root_client(kms_twin, "kms")
    arn = kms.create_key()["KeyMetadata"]["Arn"]
    role = make_role(kms_twin, "late")
    client = boto_client(kms_twin, "kms", credentials=assume(kms_twin, role))
    assert not _may_encrypt(client, arn)
    control(kms_twin, "POST", "modes", {"propagation_delay_s": 300})
    token = kms.create_grant(KeyId=arn, GranteePrincipal=role, Operations=["Encrypt"])["GrantToken"]
    assert not _may_encrypt(client, arn)
    assert client.encrypt(KeyId=arn, Plaintext=b"x", GrantTokens=[token])["CiphertextBlob"]
    control(kms_twin, "POST", "clock/advance", {"seconds": 300})
    assert _may_encrypt(client, arn)


def test_settings_and_counters_are_shown(kms_twin: Twin) -> None:
    root_client(kms_twin, "kms").generate_random(NumberOfBytes=1)
    assert control(kms_twin, "GET", "counters")["not_attested"] == 1
    assert control(kms_twin, "GET", "modes")["replay"] == "accepted"
    assert control(kms_twin, "GET", "environment") == dict(kms_twin.environment())


def _may_encrypt(client: Any, arn: str) -> bool:
    try:
        client.encrypt(KeyId=arn, Plaintext=b"x")
    except client.exceptions.ClientError as error:
        if error.response["Error"]["Code"] != "AccessDeniedException":
            raise
        return False
    return True
