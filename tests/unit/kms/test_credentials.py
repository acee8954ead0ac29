"""Credentials: fetched on demand, fetched again before they expire, hidden."""

import logging
import re
from pathlib import Path

import pytest

from pcrgate.errors import ErrorCode, ReleaseError
from pcrgate.kms.client import attested_kms_client
from pcrgate.kms.credentials import CREDENTIAL_MAX_CHARACTERS, TemporaryCredentials
from tests.unit.kms.scripted_kms import CONTEXT, KEY_ARN, ScriptedKms, StaticCredentials, nsm_client

REQUEST = {"CiphertextBlob": b"blob", "KeyId": str(KEY_ARN), "EncryptionContext": CONTEXT}


def credentials(**changes: object) -> TemporaryCredentials:
    given: dict[str, object] = {
        "access_key_id": "AKIAEXAMPLE",
        "secret_access_key": "secret-canary",
        "session_token": "token-canary",
        "expires_at_s": 2_000_000_000,
    }
    return TemporaryCredentials(**(given | changes))  # type: ignore[arg-type]


def test_only_public_parts_show() -> None:
    text = repr(credentials())
    assert "AKIAEXAMPLE" in text
    assert "canary" not in text


@pytest.mark.parametrize(
    "changes",
    [
        {"access_key_id": ""},
        {"secret_access_key": ""},
        {"secret_access_key": "a\nb"},
        {"session_token": "a\r\nX-Header: b"},
        {"session_token": "é"},
        {"session_token": "x" * (CREDENTIAL_MAX_CHARACTERS + 1)},
    ],
)
def test_odd_parts_are_refused_without_showing_them(changes: dict[str, object]) -> None:
    with pytest.raises(ReleaseError) as caught:
        credentials(**changes)
    assert caught.value.code is ErrorCode.KMS_CREDENTIALS
    assert "canary" not in str(caught.value)


def test_bounds_and_long_term_credentials_are_taken() -> None:
    assert credentials(session_token="x" * CREDENTIAL_MAX_CHARACTERS).expires_at_s == 2_000_000_000
    assert credentials(session_token=None).session_token is None


def test_they_are_asked_for_on_demand_and_kept_until_they_near_their_end() -> None:
    source = StaticCredentials(valid_s=24 * 3600)
    with ScriptedKms() as kms:
        client = attested_kms_client(kms.configuration(), nsm=nsm_client(), dialer=kms.dialer, credentials=source)
        assert source.asked == []
        client.decrypt(**REQUEST)  # type: ignore[arg-type]
        client.decrypt(**REQUEST)  # type: ignore[arg-type]
        assert len(source.asked) == 1
        client.close()


def test_they_are_asked_for_again_when_they_are_about_to_expire() -> None:
    source = StaticCredentials(valid_s=700)  # botocore refreshes within fifteen minutes of the end
    with ScriptedKms() as kms:
        client = attested_kms_client(kms.configuration(), nsm=nsm_client(), dialer=kms.dialer, credentials=source)
        client.decrypt(**REQUEST)  # type: ignore[arg-type]
        client.decrypt(**REQUEST)  # type: ignore[arg-type]
        assert len(source.asked) > 1
        client.close()


HOSTILE_CONFIG = """
[default]
region = us-east-1
endpoint_url = http://127.0.0.1:9
services = elsewhere
use_fips_endpoint = true
use_dualstack_endpoint = true
retry_mode = legacy
max_attempts = 9
ca_bundle = does-not-exist
credential_process = /bin/false
[services elsewhere]
kms =
  endpoint_url = http://127.0.0.1:9
"""
AWAY = "http://127.0.0.1:9"
HOSTILE_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "AKIAENVIRONMENT",
    "AWS_SECRET_ACCESS_KEY": "environment",
    "AWS_SESSION_TOKEN": "environment",
    "AWS_BEARER_TOKEN_KMS": "environment",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI": AWAY,
    "AWS_EC2_METADATA_SERVICE_ENDPOINT": AWAY,
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ENDPOINT_URL": AWAY,
    "AWS_ENDPOINT_URL_KMS": AWAY,
    "AWS_USE_FIPS_ENDPOINT": "true",
    "AWS_USE_DUALSTACK_ENDPOINT": "true",
    "AWS_AUTH_SCHEME_PREFERENCE": "noAuth",
    "AWS_RETRY_MODE": "legacy",
    "AWS_MAX_ATTEMPTS": "9",
    "AWS_CA_BUNDLE": "does-not-exist",
    "REQUESTS_CA_BUNDLE": "does-not-exist",
    "SSL_CERT_FILE": "does-not-exist",
    "HTTP_PROXY": AWAY,
    "HTTPS_PROXY": AWAY,
    "ALL_PROXY": AWAY,
}


@pytest.mark.parametrize("profile", [None, "does-not-exist"])
def test_nothing_else_is_a_source(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, profile: str | None) -> None:
    hostile = tmp_path / "config"
    hostile.write_text(HOSTILE_CONFIG, encoding="utf-8")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "BOTO_CONFIG"):
        monkeypatch.setenv(name, str(hostile))
    for name, value in HOSTILE_ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    if profile is not None:
        monkeypatch.setenv("AWS_PROFILE", profile)
    with ScriptedKms() as kms:
        client = attested_kms_client(
            kms.configuration(), nsm=nsm_client(), dialer=kms.dialer, credentials=StaticCredentials()
        )
        client.decrypt(**REQUEST)  # type: ignore[arg-type]
        client.close()
        [request] = kms.requests
        assert re.search("Credential=AKIAEXAMPLE000000001/[0-9]+/eu-central-1/kms/", request.headers["Authorization"])
        assert request.headers["Host"] == "kms.eu-central-1.amazonaws.com"
        assert request.headers["amz-sdk-request"] == "attempt=1; max=1"
        assert "environment" not in str(request.headers).lower()


def test_not_even_a_debug_log_shows_them(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), ScriptedKms() as kms:
        client = attested_kms_client(
            kms.configuration(), nsm=nsm_client(), dialer=kms.dialer, credentials=StaticCredentials()
        )
        plaintext = client.decrypt(**REQUEST)["Plaintext"]  # type: ignore[arg-type]
        client.close()
    text = caplog.text
    assert "canary" not in text
    assert plaintext.hex() not in text
    assert repr(plaintext) not in text
