"""The answers that come before KMS is asked at all: authentication, throttling, outages."""

from enum import Enum
from typing import Final


class FaultCode(Enum):
    """Name every error of the front door.

    Attributes:
        code: the text of ``__type`` in the response.
        status: the HTTP status that goes with it.

    Spec: AWS KMS API Reference, "Common Errors".
    """

    code: str
    status: int

    def __init__(self, code: str, status: int) -> None:
        self.code = code
        self.status = status

    DEPENDENCY_TIMEOUT = ("DependencyTimeoutException", 500)
    EXPIRED_TOKEN = ("ExpiredTokenException", 400)
    INCOMPLETE_SIGNATURE = ("IncompleteSignatureException", 400)
    INTERNAL = ("KMSInternalException", 500)
    INVALID_PARAMETER = ("InvalidParameterCombinationException", 400)
    INVALID_SIGNATURE = ("InvalidSignatureException", 400)
    MISSING_TOKEN = ("MissingAuthenticationTokenException", 400)
    REQUEST_TOO_LARGE = ("RequestEntityTooLargeException", 413)
    SERIALIZATION = ("SerializationException", 400)
    THROTTLING = ("ThrottlingException", 400)
    UNRECOGNIZED_CLIENT = ("UnrecognizedClientException", 400)
    VALIDATION = ("ValidationException", 400)


class FrontDoorError(Exception):
    """Say what the front door answers instead of a result.

    Attributes:
        code: the error; ``code.code`` is its text, ``code.status`` its HTTP status.
        message: what the client reads; never empty.
    """

    def __init__(self, code: FaultCode, message: str) -> None:
        super().__init__(f"{code.code}: {message}")
        self.code: Final = code
        self.message: Final = message

    def __reduce__(self) -> tuple[type["FrontDoorError"], tuple[FaultCode, str]]:
        return type(self), (self.code, self.message)


class DroppedConnectionError(Exception):
    """The injected outage ends the connection without an answer."""
