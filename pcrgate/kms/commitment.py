"""Commit to a request to KMS: what the document's ``user_data`` says is what goes over the wire, or nothing goes.

The commitment is SHA-384 over the canonical CBOR of [label, operation, parameters without Recipient]. CBOR gives every
field its length and type, the label keeps other uses of ``user_data`` apart.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from typing import Final

from pcrgate.attestation.cbor import CborValue, encode
from pcrgate.errors import CborError, ErrorCode, ReleaseError
from pcrgate.kms.operations import BLOB_FIELDS

COMMITMENT_LABEL: Final = "pcrgate kms request v1"
"""Domain of the commitment; the identity statement for agents has another."""


def request_commitment(operation: str, parameters: Mapping[str, object]) -> bytes:
    """Return the 48 bytes that a request's document carries as ``user_data``.

    Args:
        operation: as KMS names it.
        parameters: text, whole numbers, bytes and the context map; without Recipient.

    Raises:
        ReleaseError: ``kms-request`` for a value of another type.
    """
    preimage: list[CborValue] = [COMMITMENT_LABEL, operation, {name: _value(parameters[name]) for name in parameters}]
    try:
        return hashlib.sha384(encode(preimage)).digest()
    except CborError as error:
        raise ReleaseError(ErrorCode.KMS_REQUEST, "a request parameter cannot be committed to") from error


def _value(value: object) -> CborValue:
    if type(value) is str or type(value) is int or type(value) is bytes:
        return value
    if isinstance(value, dict) and all(type(name) is str and type(text) is str for name, text in value.items()):
        return dict(value)
    raise ReleaseError(ErrorCode.KMS_REQUEST, "a request parameter is not text, number, bytes or a map of text")


def wire_commitment(operation: str, body: bytes) -> tuple[bytes, bytes | None]:
    """Return the commitment and the attestation document that the JSON of a request holds, read back from the wire.

    Args:
        operation: as KMS names it.
        body: the request's body.

    Raises:
        ReleaseError: ``kms-request`` when it is not the JSON of a request.
    """
    try:
        fields = json.loads(body)
        recipient = fields.pop("Recipient", None)
        document = None if recipient is None else base64.b64decode(recipient["AttestationDocument"], validate=True)
        for name in BLOB_FIELDS & fields.keys():
            fields[name] = base64.b64decode(fields[name], validate=True)
    except (ValueError, TypeError, AttributeError, KeyError, binascii.Error) as error:
        raise ReleaseError(ErrorCode.KMS_REQUEST, "a request body is not the JSON of a KMS request") from error
    return request_commitment(operation, fields), document
