"""The errors of AWS KMS: the code and HTTP status a client sees, and a message that is never empty."""

from enum import Enum
from typing import Final


class AwsCode(Enum):
    """Name every error that the twin answers with.

    Attributes:
        code: the text of ``__type`` in the response.
        status: the HTTP status that goes with it.

    Spec: AWS KMS API Reference, "Common Errors" and the errors of each operation.
    """

    code: str
    status: int

    def __init__(self, code: str, status: int) -> None:
        self.code = code
        self.status = status

    ACCESS_DENIED = ("AccessDeniedException", 400)
    ALREADY_EXISTS = ("AlreadyExistsException", 400)
    CONFLICT = ("ConflictException", 400)
    DISABLED = ("DisabledException", 400)
    DRY_RUN = ("DryRunOperationException", 400)
    EXPIRED_IMPORT_TOKEN = ("ExpiredImportTokenException", 400)
    INCORRECT_KEY = ("IncorrectKeyException", 400)
    INCORRECT_KEY_MATERIAL = ("IncorrectKeyMaterialException", 400)
    INTERNAL = ("KMSInternalException", 500)
    INVALID_ALIAS_NAME = ("InvalidAliasNameException", 400)
    INVALID_ARN = ("InvalidArnException", 400)
    INVALID_CIPHERTEXT = ("InvalidCiphertextException", 400)
    INVALID_GRANT_ID = ("InvalidGrantIdException", 400)
    INVALID_GRANT_TOKEN = ("InvalidGrantTokenException", 400)
    INVALID_IMPORT_TOKEN = ("InvalidImportTokenException", 400)
    INVALID_KEY_USAGE = ("InvalidKeyUsageException", 400)
    INVALID_MAC = ("KMSInvalidMacException", 400)
    INVALID_MARKER = ("InvalidMarkerException", 400)
    INVALID_SIGNATURE = ("KMSInvalidSignatureException", 400)
    INVALID_STATE = ("KMSInvalidStateException", 400)
    LIMIT_EXCEEDED = ("LimitExceededException", 400)
    MALFORMED_POLICY = ("MalformedPolicyDocumentException", 400)
    NOT_AUTHORIZED = ("NotAuthorizedException", 400)
    NOT_FOUND = ("NotFoundException", 400)
    SERIALIZATION = ("SerializationException", 400)
    TAG = ("TagException", 400)
    UNKNOWN_OPERATION = ("UnknownOperationException", 400)
    UNSUPPORTED_OPERATION = ("UnsupportedOperationException", 400)
    VALIDATION = ("ValidationException", 400)


class AwsError(Exception):
    """Say what KMS would answer instead of a result.

    Attributes:
        code: the error; ``code.code`` is its text, ``code.status`` its HTTP status.
        message: what the client reads; never empty.
    """

    def __init__(self, code: AwsCode, message: str) -> None:
        super().__init__(f"{code.code}: {message}")
        self.code: Final = code
        self.message: Final = message

    def __reduce__(self) -> tuple[type["AwsError"], tuple[AwsCode, str]]:
        return type(self), (self.code, self.message)
