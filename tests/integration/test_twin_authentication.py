"""Who signs: users, sessions and root users are known, everybody else is refused before anything is looked at."""

import dataclasses
import datetime as dt
import json
import urllib.error
import urllib.request
from typing import Any

import pytest
from moto.sts.models import sts_backends

from pcrgate.kms.credentials import TemporaryCredentials
from pcrgate.twin.clients import boto_client, root_credentials
from pcrgate.twin.server import Twin
from pcrgate.twin.settings import TwinSettings
from tests.support.twin_stage import assume, make_role, refusal, root_client

pytestmark = pytest.mark.network

OTHER_ACCOUNT = "444455556666"


def list_keys(twin: Twin, credentials: TemporaryCredentials) -> Any:
    return boto_client(twin, "kms", credentials=credentials).list_keys


def make_user(twin: Twin) -> TemporaryCredentials:
    iam = root_client(twin, "iam")
    name = make_role(twin, "unique").rpartition("/")[2]
    iam.create_user(UserName=name)
    statement = {"Effect": "Allow", "Action": "kms:ListKeys", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": statement})
    iam.put_user_policy(UserName=name, PolicyName="kms", PolicyDocument=policy)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return dataclasses.replace(
        root_credentials(twin), access_key_id=key["AccessKeyId"], secret_access_key=key["SecretAccessKey"]
    )


def test_users_sessions_and_root_users_are_known(kms_twin: Twin) -> None:
    session = assume(kms_twin, make_role(kms_twin, "reader", "kms:ListKeys"))
    for credentials in (make_user(kms_twin), session, root_credentials(kms_twin)):
        assert list_keys(kms_twin, credentials)()["Keys"] == []


def test_a_wrong_secret_is_refused(kms_twin: Twin) -> None:
    wrong = dataclasses.replace(root_credentials(kms_twin), secret_access_key="x" * 40)
    code, message = refusal(list_keys(kms_twin, wrong))
    assert code == "InvalidSignatureException"
    assert "does not match" in message


@pytest.mark.parametrize("access_key_id", ["AKIAUNKNOWNUNKNOWNUN", "ASIAUNKNOWNUNKNOWNUN"])
def test_an_unknown_key_is_refused(kms_twin: Twin, access_key_id: str) -> None:
    unknown = dataclasses.replace(root_credentials(kms_twin), access_key_id=access_key_id)
    assert refusal(list_keys(kms_twin, unknown))[0] == "UnrecognizedClientException"


def test_an_inactive_key_is_refused(kms_twin: Twin) -> None:
    user = make_user(kms_twin)
    iam = root_client(kms_twin, "iam")
    name = iam.get_access_key_last_used(AccessKeyId=user.access_key_id)["UserName"]
    iam.update_access_key(UserName=name, AccessKeyId=user.access_key_id, Status="Inactive")
    assert refusal(list_keys(kms_twin, user))[0] == "UnrecognizedClientException"


@pytest.mark.parametrize("token", [None, "another token"])
def test_a_session_needs_its_token(kms_twin: Twin, token: str | None) -> None:
    session = assume(kms_twin, make_role(kms_twin, "reader", "kms:ListKeys"))
    without = dataclasses.replace(session, session_token=token)
    assert refusal(list_keys(kms_twin, without))[0] == "UnrecognizedClientException"


def test_a_long_term_key_has_no_token(kms_twin: Twin) -> None:
    with_token = dataclasses.replace(root_credentials(kms_twin), session_token="token")
    assert refusal(list_keys(kms_twin, with_token))[0] == "UnrecognizedClientException"


def test_a_session_ends(kms_twin: Twin) -> None:
    session = assume(kms_twin, make_role(kms_twin, "reader", "kms:ListKeys"))
    kept = sts_backends[kms_twin.settings.account]["aws"].assumed_roles[-1]
    kept.expiration = dt.datetime.now(dt.UTC).replace(tzinfo=None) - dt.timedelta(seconds=1)
    assert refusal(list_keys(kms_twin, session))[0] == "ExpiredTokenException"


def test_an_unsigned_request_is_refused(kms_twin: Twin) -> None:
    headers = {"X-Amz-Target": "TrentService.ListKeys", "Content-Type": "application/x-amz-json-1.1"}
    request = urllib.request.Request(kms_twin.http_url, data=b"{}", headers=headers)
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=10)
    with caught.value as answer:
        assert (answer.status, json.loads(answer.read())["__type"]) == (400, "MissingAuthenticationTokenException")


def test_a_relay_cannot_turn_one_operation_into_another(kms_twin: Twin) -> None:
    kms = boto_client(kms_twin, "kms")

    def redirect(request: Any, **_: object) -> None:
        request.headers["X-Amz-Target"] = b"TrentService.CreateKey"

    kms.meta.events.register("before-send.kms.ListKeys", redirect)
    assert refusal(kms.list_keys)[0] == "InvalidSignatureException"


def test_every_account_told_has_a_root_key_of_its_own() -> None:
    with Twin(TwinSettings(http_port=0, other_accounts=(OTHER_ACCOUNT,))) as twin:
        kms = boto_client(twin, "kms", credentials=root_credentials(twin, OTHER_ACCOUNT))
        assert f":{OTHER_ACCOUNT}:key/" in kms.create_key()["KeyMetadata"]["Arn"]
        assert root_client(twin, "kms").list_keys()["Keys"] == []
        sts = boto_client(twin, "sts", credentials=root_credentials(twin, OTHER_ACCOUNT))
        assert sts.get_caller_identity()["Arn"] == f"arn:aws:iam::{OTHER_ACCOUNT}:root"


def test_callers_are_told_who_they_are(kms_twin: Twin) -> None:
    role = make_role(kms_twin, "caller")
    session = boto_client(kms_twin, "sts", credentials=assume(kms_twin, role)).get_caller_identity()
    assert session["Arn"].endswith(f":assumed-role/{role.rpartition('/')[2]}/session")
    assert root_client(kms_twin, "sts").get_caller_identity()["UserId"] == kms_twin.settings.account
    wrong = dataclasses.replace(root_credentials(kms_twin), secret_access_key="x" * 40)
    code, _ = refusal(boto_client(kms_twin, "sts", credentials=wrong).get_caller_identity)
    assert code == "InvalidSignatureException"
