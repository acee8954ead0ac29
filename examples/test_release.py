"""A test with the pytest plugin: `kms_twin`, `nsm` and `attested_kms` are there once pcrgate[twin] is installed.

python -m pytest examples/test_release.py
"""

# ruff: noqa: S101 - a test asserts
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from pcrgate.kms.expectation import ReleaseExpectation
from pcrgate.twin.clients import boto_client
from pcrgate.twin.nsm import SoftwareNsm
from pcrgate.twin.server import Twin
from pcrgate.units import KeyArn

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_kms import KMSClient

CONTEXT = {"class": "weights", "name": "demo", "epoch": "1"}


def test_what_was_sealed_is_released_and_told(
    kms_twin: Twin, nsm: SoftwareNsm, attested_kms: "Callable[..., KMSClient]"
) -> None:
    """The audit record names the enclave that was released to."""
    kms = boto_client(kms_twin, "kms")
    key = kms.create_key()["KeyMetadata"]["Arn"]
    blob = kms.encrypt(KeyId=key, Plaintext=b"secret", EncryptionContext=CONTEXT)["CiphertextBlob"]
    expected = ReleaseExpectation(operation="Decrypt", key_arn=KeyArn.parse(key), encryption_context=CONTEXT)
    answer = attested_kms(expected).decrypt(KeyId=key, CiphertextBlob=blob, EncryptionContext=CONTEXT)
    assert answer["Plaintext"] == b"secret"
    record: Any = kms_twin.audit.records()[-1]
    assert record["additionalEventData"]["recipient"]["attestationDocumentModuleId"] == nsm.module_id


def test_another_context_is_refused(kms_twin: Twin, attested_kms: "Callable[..., KMSClient]") -> None:
    """What the ciphertext was sealed under is what opens it."""
    kms = boto_client(kms_twin, "kms")
    key = kms.create_key()["KeyMetadata"]["Arn"]
    blob = kms.encrypt(KeyId=key, Plaintext=b"secret", EncryptionContext=CONTEXT)["CiphertextBlob"]
    other = {**CONTEXT, "epoch": "2"}
    expected = ReleaseExpectation(operation="Decrypt", key_arn=KeyArn.parse(key), encryption_context=other)
    with pytest.raises(ClientError, match="InvalidCiphertextException"):
        attested_kms(expected).decrypt(KeyId=key, CiphertextBlob=blob, EncryptionContext=other)
