"""Expectations cover exactly one kind of request."""

import hashlib
import threading
from typing import Any

import pytest

from pcrgate.errors import ErrorCode, ReleaseError, UsageError
from pcrgate.kms.expectation import CONTEXT_MAX_BYTES, ReleaseExpectation, expecting, find_expectation
from pcrgate.units import Sha384
from tests.unit.kms.scripted_kms import BLOB, CONTEXT, KEY_ARN, OTHER_ARN

PINNED = ReleaseExpectation(
    operation="Decrypt",
    key_arn=KEY_ARN,
    encryption_context=CONTEXT,
    blob_sha384=Sha384(hashlib.sha384(BLOB).digest()),
    plaintext_bytes=32,
)
REQUEST: dict[str, Any] = {"KeyId": str(KEY_ARN), "EncryptionContext": dict(CONTEXT), "CiphertextBlob": BLOB}


def test_the_expected_request_is_covered() -> None:
    assert PINNED.covers("Decrypt", REQUEST)
    assert find_expectation((PINNED,), "Decrypt", REQUEST) is PINNED


@pytest.mark.parametrize(
    ("operation", "changes"),
    [
        ("GenerateDataKey", {}),
        ("Decrypt", {"KeyId": str(OTHER_ARN)}),
        ("Decrypt", {"KeyId": KEY_ARN.key_id}),
        ("Decrypt", {"EncryptionContext": CONTEXT | {"epoch": "2"}}),
        ("Decrypt", {"EncryptionContext": CONTEXT | {"more": "x"}}),
        ("Decrypt", {"EncryptionContext": {"class": "weights"}}),
        ("Decrypt", {"EncryptionContext": {}}),
        ("Decrypt", {"EncryptionContext": {"Class": "weights", "name": "demo", "epoch": "1"}}),
        ("Decrypt", {"CiphertextBlob": BLOB + b"x"}),
        ("Decrypt", {"CiphertextBlob": bytearray(BLOB)}),
        ("Decrypt", {"CiphertextBlob": None}),
    ],
)
def test_any_other_request_is_not(operation: str, changes: dict[str, Any]) -> None:
    with pytest.raises(ReleaseError) as caught:
        find_expectation((PINNED,), operation, REQUEST | changes)
    assert caught.value.code is ErrorCode.KMS_CONTEXT


def test_an_expectation_without_blob_covers_any_blob() -> None:
    open_blob = ReleaseExpectation(operation="Decrypt", key_arn=KEY_ARN, encryption_context=CONTEXT)
    assert open_blob.covers("Decrypt", REQUEST | {"CiphertextBlob": b"another"})


def test_the_context_cannot_be_changed_afterwards() -> None:
    mutable = dict(CONTEXT)
    expectation = ReleaseExpectation(operation="Decrypt", key_arn=KEY_ARN, encryption_context=mutable)
    mutable["epoch"] = "2"
    assert expectation.encryption_context["epoch"] == "1"
    with pytest.raises(TypeError):
        expectation.encryption_context["epoch"] = "2"  # type: ignore[index]


def test_scoped_expectations_hold_inside_the_block_and_thread_only() -> None:
    found: list[bool] = []

    def elsewhere() -> None:
        try:
            find_expectation((), "Decrypt", REQUEST)
        except ReleaseError:
            found.append(False)
        else:
            found.append(True)

    with expecting(PINNED):
        assert find_expectation((), "Decrypt", REQUEST) is PINNED
        with expecting():
            assert find_expectation((), "Decrypt", REQUEST) is PINNED
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
    elsewhere()
    assert found == [False, False]


@pytest.mark.parametrize(
    ("operation", "context"),
    [
        ("Encrypt", CONTEXT),
        ("GenerateRandom", {}),
        ("Decrypt", {}),
        ("GenerateDataKey", {}),
        ("DeriveSharedSecret", CONTEXT),
        ("Decrypt", {"k": "v" * CONTEXT_MAX_BYTES}),
    ],
)
def test_what_cannot_be_meant_is_refused(operation: str, context: dict[str, str]) -> None:
    with pytest.raises(UsageError) as caught:
        ReleaseExpectation(operation=operation, key_arn=KEY_ARN, encryption_context=context)
    assert caught.value.code is ErrorCode.USAGE_KMS


def test_the_largest_context_is_taken() -> None:
    context = {"k": "v" * (CONTEXT_MAX_BYTES - 1)}
    assert ReleaseExpectation(operation="Decrypt", key_arn=KEY_ARN, encryption_context=context).covers(
        "Decrypt", {"KeyId": str(KEY_ARN), "EncryptionContext": context}
    )
