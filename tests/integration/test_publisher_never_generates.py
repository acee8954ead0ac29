"""The decision that publishers only ever call Encrypt stands on how the stock Encryption SDK behaves: seen here."""

import secrets
from typing import Any

import aws_encryption_sdk
import boto3
import pytest
from aws_encryption_sdk.identifiers import Algorithm, CommitmentPolicy
from aws_encryption_sdk.key_providers.kms import (
    KMSMasterKey,
    KMSMasterKeyConfig,
    StrictAwsKmsMasterKeyProvider,
)
from aws_encryption_sdk.structures import DataKey
from moto import mock_aws

CONTEXT = {"class": "weights", "name": "tiny", "epoch": "1"}


class SealingKey(KMSMasterKey):  # type: ignore[misc]
    """Wrap a data key made here, instead of asking KMS for one."""

    def _generate_data_key(self, algorithm: Any, encryption_context: Any = None) -> DataKey:
        drawn = DataKey(
            key_provider=self.key_provider,
            data_key=secrets.token_bytes(algorithm.kdf_input_len),
            encrypted_data_key=b"",
        )
        wrapped = self._encrypt_data_key(drawn, algorithm, encryption_context)
        return DataKey(
            key_provider=wrapped.key_provider,
            data_key=drawn.data_key,
            encrypted_data_key=wrapped.encrypted_data_key,
        )


def test_sealing_calls_encrypt_alone_and_the_stock_provider_opens_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "local")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    with mock_aws():
        kms = boto3.client("kms", region_name="eu-central-1")
        arn = kms.create_key()["KeyMetadata"]["Arn"]
        calls: list[str] = []
        kms.meta.events.register("before-call.kms", lambda model, **_: calls.append(model.name))
        client = aws_encryption_sdk.EncryptionSDKClient(
            commitment_policy=CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT
        )
        message, header = client.encrypt(
            source=b"weights",
            key_provider=SealingKey(config=KMSMasterKeyConfig(key_id=arn, client=kms)),
            encryption_context=CONTEXT,
            algorithm=Algorithm.AES_256_GCM_HKDF_SHA512_COMMIT_KEY,
        )
        assert calls == ["Encrypt"]
        assert [one.key_provider.provider_id for one in header.encrypted_data_keys] == ["aws-kms"]
        plaintext, opened = client.decrypt(source=message, key_provider=StrictAwsKmsMasterKeyProvider(key_ids=[arn]))
        assert plaintext == b"weights"
        assert opened.encryption_context == CONTEXT
