"""Credentials: fetched on demand, fetched again before they expire, hidden."""

import logging

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


def test_nothing_else_is_a_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAENVIRONMENT")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "environment")
    monkeypatch.setenv("AWS_PROFILE", "does-not-exist")
    monkeypatch.setenv("AWS_CA_BUNDLE", "does-not-exist")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    with ScriptedKms() as kms:
        client = attested_kms_client(
            kms.configuration(), nsm=nsm_client(), dialer=kms.dialer, credentials=StaticCredentials()
        )
        client.decrypt(**REQUEST)  # type: ignore[arg-type]
        client.close()
        assert "AKIAEXAMPLE" in kms.requests[0].headers["Authorization"]
        assert kms.requests[0].headers["Host"] == "kms.eu-central-1.amazonaws.com"


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
