"""Check a request against the shapes of the installed botocore model, with the words that AWS uses."""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final

import botocore.session
from botocore.model import OperationModel, ServiceModel, Shape

from pcrgate.twin.kms.service_errors import AwsCode, AwsError

SHOWN_MAX_CHARACTERS: Final = 200
"""How much of a refused value a message repeats."""

TIME_MAX_S: Final = 253_402_300_799
"""Last second of the year 9999: what a timestamp of the protocol can name."""


@cache
def service_model(service: str = "kms") -> ServiceModel:
    """Return the model that the installed botocore has of a service."""
    return botocore.session.Session().get_service_model(service)


def operation_model(operation: str) -> OperationModel:
    """Return the model of one operation.

    Raises:
        AwsError: UnknownOperationException.
    """
    if operation not in service_model().operation_names:
        raise AwsError(
            AwsCode.UNKNOWN_OPERATION, f"the operation {operation[:SHOWN_MAX_CHARACTERS]} is not known to KMS"
        )
    return service_model().operation_model(operation)


def check_request(operation: str, request: Mapping[str, object]) -> None:
    """Accept a request whose members have the right types, lengths, patterns and values.

    Members that the model does not name are ignored as AWS does, apart from ``Recipient``: on an operation that
    cannot answer a recipient it would be ignored in silence, and the answer would hold the plaintext.

    Raises:
        AwsError: ValidationException, SerializationException for a wrong JSON type, or UnknownOperationException.
    """
    shape = operation_model(operation).input_shape
    members = {} if shape is None else shape.members
    if "Recipient" in request and "Recipient" not in members:
        raise AwsError(AwsCode.VALIDATION, f"{operation} does not support the Recipient parameter")
    if shape is not None:
        check_structure(request, shape)


def check_structure(value: object, shape: Any, path: str = "") -> None:
    """Accept an object whose members have the right types, lengths, patterns and values.

    Args:
        value: the object; members that are null count as left out.
        shape: botocore's structure.
        path: where it stands, for the message.

    Raises:
        AwsError: ValidationException, or SerializationException for a wrong JSON type.
    """
    if not isinstance(value, Mapping):
        raise _wrong_type(path)
    for name in shape.required_members:
        if value.get(name) is None:
            raise _violates("null", _member(path, name), "Member must not be null")
    for name, member in shape.members.items():
        if value.get(name) is not None:
            _check(value[name], member, _member(path, name))


def _check(value: object, shape: Any, path: str) -> None:
    kind = shape.type_name
    if kind == "structure":
        check_structure(value, shape, path)
    elif kind == "list":
        _check_list(value, shape, path)
    elif kind == "map":
        _check_map(value, shape, path)
    elif kind == "blob":
        if not isinstance(value, bytes):
            raise _wrong_type(path)
        _check_length(len(value), f"[{len(value)} bytes]", shape, path)
    elif kind == "string":
        _check_text(value, shape, path)
    elif kind == "boolean":
        if not isinstance(value, bool):
            raise _wrong_type(path)
    elif kind == "timestamp":
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= TIME_MAX_S:
            raise _wrong_type(path)  # the comparison refuses what is not a number, too
    else:
        _check_number(value, shape, path)


def _check_list(value: object, shape: Any, path: str) -> None:
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        raise _wrong_type(path)
    _check_length(len(value), f"[{len(value)} members]", shape, path)
    for number, item in enumerate(value, start=1):
        _check(item, shape.member, f"{path}.{number}.member")


def _check_map(value: object, shape: Any, path: str) -> None:
    if not isinstance(value, Mapping):
        raise _wrong_type(path)
    for name, item in value.items():
        _check(name, shape.key, path)
        _check(item, shape.value, f"{path}.{name}.member")


def _check_text(value: object, shape: Any, path: str) -> None:
    if not isinstance(value, str):
        raise _wrong_type(path)
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        raise _wrong_type(path)  # half a surrogate pair is no text, and has no UTF-8
    _check_length(len(value), value, shape, path)
    allowed = getattr(shape, "enum", None)
    if allowed and value not in allowed:
        raise _violates(value, path, f"Member must satisfy enum value set: [{', '.join(allowed)}]")
    pattern = shape.metadata.get("pattern")
    if pattern and not re.fullmatch(pattern, value, re.ASCII):
        raise _violates(value, path, f"Member must satisfy regular expression pattern: {pattern}")


def _check_number(value: object, shape: Shape, path: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _wrong_type(path)
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if low is not None and value < low:
        raise _violates(str(value), path, f"Member must have value greater than or equal to {low}")
    if high is not None and value > high:
        raise _violates(str(value), path, f"Member must have value less than or equal to {high}")


def _check_length(length: int, shown: str, shape: Shape, path: str) -> None:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if low is not None and length < low:
        raise _violates(shown, path, f"Member must have length greater than or equal to {low}")
    if high is not None and length > high:
        raise _violates(shown, path, f"Member must have length less than or equal to {high}")


def _member(path: str, name: str) -> str:
    own = name[:1].lower() + name[1:]
    return f"{path}.{own}" if path else own


def _wrong_type(path: str) -> AwsError:
    return AwsError(AwsCode.SERIALIZATION, f"the value at '{path or 'request'}' is of the wrong JSON type")


def violation(value: str, member: str, constraint: str) -> AwsError:
    """Return the ValidationException that AWS words this way, for checks that the model does not hold.

    Args:
        value: what was given, public.
        member: where, as ``keyId`` or ``recipient.attestationDocument``.
        constraint: what it must be, beginning with ``Member must``.
    """
    return _violates(value, member, constraint)


def _violates(value: str, path: str, constraint: str) -> AwsError:
    shown = "null" if value == "null" else f"'{value[:SHOWN_MAX_CHARACTERS]}'"
    text = f"1 validation error detected: Value {shown} at '{path}' failed to satisfy constraint: {constraint}"
    return AwsError(AwsCode.VALIDATION, text)
