"""Requests as JSON: what a person writes down of a call that KMS denied, read into a typed request.

One object: ``principal`` (an ARN, or ``{"service": NAME}``), ``action``, ``key`` (the full ARN), and optionally
``role`` (the role's ARN with its path, when the principal is a session), ``encryption_context``, ``pcrs`` and
``nitrotpm_pcrs`` (index to hex, what the attestation document held) and ``context`` (further condition
keys, named as KMS does).
"""

from collections.abc import Mapping
from typing import Any, Final

from kms_policies.request import Principal, Request, attestation_context, encryption_context, nitrotpm_context
from kms_policies.strict_json import NumberText, parse_strict, read_text
from pcrgate.errors import ErrorCode, KeyPolicyError, UsageError
from pcrgate.units import KeyArn, PcrIndex, Sha384

REQUEST_MAX_BYTES: Final = 65_536
"""Largest request read: 32 PCRs, the 8 kB that KMS takes as encryption context, and room for context keys."""

_FIELDS: Final = frozenset(
    {"principal", "role", "action", "key", "encryption_context", "pcrs", "nitrotpm_pcrs", "context"}
)


def parse_request(source: str | bytes) -> Request:
    """Read a request.

    Raises:
        KeyPolicyError: ``policy-request``; ``policy-json`` and its kin when it is not strict JSON.
    """
    text, _ = read_text(source, REQUEST_MAX_BYTES, "request")
    raw = parse_strict(text, "request")
    if not isinstance(raw, dict):
        raise _refuse("the request is not an object")
    unknown = sorted(raw.keys() - _FIELDS)
    if unknown:
        raise _refuse(f"unknown field {unknown[0][:80]!a}, expected {', '.join(sorted(_FIELDS))}")
    context: dict[str, str | tuple[str, ...]] = {}
    context |= attestation_context(_pcrs(raw.get("pcrs", {})))
    context |= nitrotpm_context(_pcrs(raw.get("nitrotpm_pcrs", {})))
    context |= encryption_context(_texts(raw.get("encryption_context", {}), "encryption_context"))
    context |= _context(raw.get("context", {}))
    return make_request(
        principal=_principal(raw.get("principal"), raw.get("role")),
        action=raw.get("action"),
        key=raw.get("key"),
        context=context,
    )


def make_request(
    *, principal: Principal, action: object, key: object, context: Mapping[str, str | tuple[str, ...]]
) -> Request:
    """Return a request for an action on a key.

    Args:
        principal: who asks.
        action: with or without the ``kms:`` prefix.
        key: the full key ARN.
        context: condition keys and values.

    Raises:
        KeyPolicyError: ``policy-request``.
    """
    if not isinstance(action, str) or not action.removeprefix("kms:").isalpha() or not action.isascii():
        raise _refuse("the action is not the name of one KMS action, for example kms:Decrypt")
    try:
        arn = KeyArn.parse(str(key))
    except UsageError as refusal:
        raise _refuse(f"the key is {refusal.message}") from refusal
    return Request(principal=principal, action=f"kms:{action.removeprefix('kms:')}", resource=str(arn), context=context)


def _principal(value: object, role: object) -> Principal:
    if isinstance(value, dict) and value.keys() == {"service"}:
        return Principal.of_service(str(value["service"]))
    if not _is_text(value) or not (role is None or _is_text(role)):
        raise _refuse('the principal is not an ARN or {"service": NAME}')
    return Principal.from_arn(str(value), role_arn=None if role is None else str(role))


def _pcrs(value: object) -> dict[int, Sha384]:
    found: dict[int, Sha384] = {}
    for index, digest in _texts(value, "pcrs").items():
        try:
            found[PcrIndex(int(index)).index] = Sha384.from_hex(digest)
        except (UsageError, ValueError):
            raise _refuse("a PCR is not an index of 0 to 31 with 96 hex digits") from None
    return found


def _texts(value: object, what: str) -> dict[str, str]:
    if not isinstance(value, dict) or not all(map(_is_text, value.values())):
        raise _refuse(f"{what} is not an object of text")
    return {str(name): str(each) for name, each in value.items()}


def _context(value: Any) -> dict[str, str | tuple[str, ...]]:
    if not isinstance(value, dict):
        raise _refuse("context is not an object")
    found: dict[str, str | tuple[str, ...]] = {}
    for name, each in value.items():
        if isinstance(each, list) and all(isinstance(member, str) for member in each):
            found[name] = tuple(each)
        elif isinstance(each, str):
            found[name] = each
        else:
            raise _refuse(f"context key {name[:80]!a} is neither text nor a list of text")
    return found


def _is_text(value: object) -> bool:
    return isinstance(value, str) and not isinstance(value, NumberText)


def _refuse(fact: str) -> KeyPolicyError:
    return KeyPolicyError(ErrorCode.POLICY_REQUEST, fact)
