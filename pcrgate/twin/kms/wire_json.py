"""The JSON of the protocol: blobs as base64, times as seconds since 1970.

Spec: "AWS JSON 1.1 protocol" (Smithy), sections on shape serialisation and operation errors.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

from pcrgate.twin.kms.interface import Response
from pcrgate.twin.kms.request_shape import operation_model
from pcrgate.twin.kms.service_errors import AwsCode, AwsError


def parse_request(operation: str, body: bytes) -> dict[str, object]:
    """Turn the body of a request into native values; blobs become bytes.

    Raises:
        AwsError: SerializationException for what is no JSON object or no base64, UnknownOperationException.
    """
    shape = operation_model(operation).input_shape
    try:
        value = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        raise AwsError(AwsCode.SERIALIZATION, "the body of the request is not JSON") from None
    if not isinstance(value, dict):
        raise AwsError(AwsCode.SERIALIZATION, "the body of the request is not a JSON object")
    return value if shape is None else _decode_structure(value, shape)


def _decode_structure(value: dict[str, Any], shape: Any) -> dict[str, object]:
    return {
        name: _decode(item, shape.members[name]) if name in shape.members else item
        for name, item in value.items()
        if item is not None
    }


def _decode(value: Any, shape: Any) -> object:
    if shape.type_name == "blob" and isinstance(value, str):
        try:
            return base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            raise AwsError(AwsCode.SERIALIZATION, "a blob of the request is not base64") from None
    if shape.type_name == "structure" and isinstance(value, dict):
        return _decode_structure(value, shape)
    return value


def render_response(response: Response) -> bytes:
    """Turn an answer into the body of a response; bytes become base64."""
    return json.dumps(response, default=_encode).encode()


def _encode(value: object) -> object:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"no JSON for {type(value).__name__}")


def render_error(error: AwsError) -> bytes:
    """Turn an error into the body of a response; the HTTP status is ``error.code.status``."""
    return json.dumps({"__type": error.code.code, "message": error.message}).encode()
