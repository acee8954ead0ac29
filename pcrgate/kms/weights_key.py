"""Open the header of sealed weights with the stock Encryption SDK on an attested client."""

import io
from typing import TYPE_CHECKING, Any

from aws_encryption_sdk import CommitmentPolicy, EncryptionSDKClient
from aws_encryption_sdk.exceptions import DecryptKeyError
from aws_encryption_sdk.key_providers.kms import KMSMasterKey, KMSMasterKeyConfig
from botocore.exceptions import BotoCoreError, ClientError

from pcrgate.envelope.weights_header import DATA_KEYS_MAX, HEADER_MAX_BYTES, OpenedHeader
from pcrgate.errors import ErrorCode, PcrgateError, ReleaseError
from pcrgate.units import KeyArn

if TYPE_CHECKING:
    from mypy_boto3_kms import KMSClient


class _AskedKey(KMSMasterKey):  # type: ignore[misc]  # the SDK ships no types
    """Let KMS's refusal through, which the SDK's own key on KMS drops for an error without a cause."""

    def _decrypt_data_key(self, *arguments: Any, **named: Any) -> Any:
        try:
            return super()._decrypt_data_key(*arguments, **named)
        except DecryptKeyError as error:
            if isinstance(error.__cause__, ClientError):
                raise error.__cause__ from None
            raise


class SdkHeaderOpener:
    """Let the SDK unwrap the data key, check its commitment and authenticate the header; frames it never sees."""

    def __init__(self, key_provider: Any) -> None:
        """Take a master key provider of the SDK.

        Args:
            key_provider: whom the SDK asks for the data key; see ``on_kms`` for the one on KMS.
        """
        self._key_provider = key_provider
        self._sdk = EncryptionSDKClient(
            commitment_policy=CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT, max_encrypted_data_keys=DATA_KEYS_MAX
        )

    @classmethod
    def on_kms(cls, client: "KMSClient", key_arn: KeyArn) -> "SdkHeaderOpener":
        """Return an opener for messages under exactly this KMS key, through an attested client."""
        return cls(_AskedKey(config=KMSMasterKeyConfig(key_id=str(key_arn), client=client)))

    def open_header(self, raw: bytes) -> OpenedHeader:
        """Return the derived key and the encryption context of an authentic header.

        Args:
            raw: the header and its authentication tag, at most 16384 bytes.

        Raises:
            ReleaseError: ``weights-header``, or whatever the attested client refuses with.
            ClientError: when KMS refuses, with the error that it names.
            BotoCoreError: when KMS cannot be reached.
        """
        if len(raw) > HEADER_MAX_BYTES:
            raise ReleaseError(ErrorCode.WEIGHTS_HEADER, f"the header is longer than {HEADER_MAX_BYTES} bytes")
        try:
            stream = self._sdk.stream(mode="decrypt-unsigned", source=io.BytesIO(raw), key_provider=self._key_provider)
            header = stream.header
            # There is no public way to the derived key. The SDK's version is pinned, and a test holds this to be it.
            derived_key: bytes = stream._derived_data_key  # noqa: SLF001
        except (PcrgateError, BotoCoreError, ClientError):
            raise
        except Exception as error:  # whatever the SDK and what lies below it raise on a header that was tampered with
            raise ReleaseError(ErrorCode.WEIGHTS_HEADER, "no data key fits, or the header is not authentic") from error
        return OpenedHeader(derived_key=derived_key, encryption_context=dict(header.encryption_context))
