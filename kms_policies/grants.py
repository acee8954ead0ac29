"""Grants: who may do what by one, and reading them from what ListGrants and DescribeKey answer.

Spec: KMS Developer Guide, "Grants in AWS KMS"; KMS API Reference, GrantConstraints, GrantListEntry, KeyMetadata.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from kms_policies.operations import OPERATIONS, PREFIX
from kms_policies.patterns import Context
from kms_policies.request import ENCRYPTION_CONTEXT_PREFIX, Grant, KeyMetadata, KeyState, PrincipalKind, Request
from kms_policies.strict_json import parse_strict, read_text
from pcrgate.errors import ErrorCode, KeyPolicyError, UsageError
from pcrgate.units import KeyArn

GRANTS_TEXT_MAX_BYTES: Final = 16_777_216
"""Longest grant list read: over 15 000 grants as ListGrants prints them; nobody can overlook what more would allow."""

KEY_METADATA_TEXT_MAX_BYTES: Final = 262_144
"""Longest key description read: DescribeKey answers a few kilobytes, with long descriptions and replicas more."""

_CONTEXT_ACTIONS: Final = frozenset(
    action.lower()
    for operation in OPERATIONS.values()
    if operation.takes_encryption_context
    for action in operation.actions
)
_CONTEXT_PREFIX: Final = ENCRYPTION_CONTEXT_PREFIX.lower()


def _speaks_of(named: str | None, request: Request) -> bool:
    principal = request.principal
    if named is None:
        return False
    if principal.kind is PrincipalKind.SERVICE:
        return named == principal.service
    if principal.account is None:
        return False
    if named in (principal.arn, principal.role_arn, principal.unique_id, principal.account):
        return True
    parts = named.split(":", 5)
    return len(parts) == 6 and parts[5] == "root" and parts[4] == principal.account


def _pairs(context: Context) -> dict[str, str | tuple[str, ...]]:
    return {
        name.removeprefix(_CONTEXT_PREFIX): value for name, value in context.items() if name.startswith(_CONTEXT_PREFIX)
    }


def _constraints_hold(grant: Grant, request: Request, action: str) -> bool:
    if grant.source_arn is not None and request.folded.get("aws:sourcearn") != grant.source_arn:
        return False
    if action not in _CONTEXT_ACTIONS:
        return True
    carried = _pairs(request.folded)
    if grant.encryption_context_equals is not None and carried != _folded_names(grant.encryption_context_equals):
        return False
    subset = grant.encryption_context_subset
    return subset is None or _folded_names(subset).items() <= carried.items()


def _folded_names(pairs: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in pairs.items()}


def find_grant(grants: Iterable[Grant], request: Request) -> Grant | None:
    """Return the first grant that allows the request, or ``None``.

    A grantee, or the retiring principal, may retire the grant if it says so. Encryption context constraints bind only
    operations that carry an encryption context, and compare names without regard to case.
    """
    action = request.action.lower()
    name = action.removeprefix(PREFIX)
    for grant in grants:
        if action == "kms:retiregrant" and _speaks_of(grant.retiring_principal, request):
            return grant
        if not any(name == operation.lower() for operation in grant.operations):
            continue
        if _speaks_of(grant.grantee_principal, request) and _constraints_hold(grant, request, action):
            return grant
    return None


def _refuse(fact: str) -> KeyPolicyError:
    return KeyPolicyError(ErrorCode.POLICY_REQUEST, fact)


def _text(entry: Mapping[str, Any], name: str) -> str | None:
    value = entry.get(name)
    if value is not None and not isinstance(value, str):
        raise _refuse(f"{name} is not a string")
    return value


def _mapping(entry: Mapping[str, Any], name: str) -> Mapping[str, str] | None:
    value = entry.get(name)
    if value is None:
        return None
    if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
        raise _refuse(f"{name} is not an object of strings")
    return value


def _grant(entry: Any) -> Grant:
    if not isinstance(entry, dict):
        raise _refuse("a grant is not an object")
    operations = entry.get("Operations")
    grantee = _text(entry, "GranteePrincipal") or _text(entry, "GranteeServicePrincipal")
    if not isinstance(operations, list) or not all(isinstance(name, str) and name for name in operations):
        raise _refuse("Operations of a grant is not a list of names")
    if grantee is None:
        raise _refuse("a grant has no GranteePrincipal")
    constraints = entry.get("Constraints", {})
    if not isinstance(constraints, dict):
        raise _refuse("Constraints of a grant is not an object")
    unknown = sorted(set(constraints) - {"EncryptionContextEquals", "EncryptionContextSubset", "SourceArn"})
    if unknown:
        raise _refuse(f"unknown grant constraint {unknown[0][:80]!a}")
    return Grant(
        grantee_principal=grantee,
        operations=frozenset(operations),
        encryption_context_equals=_mapping(constraints, "EncryptionContextEquals"),
        encryption_context_subset=_mapping(constraints, "EncryptionContextSubset"),
        source_arn=_text(constraints, "SourceArn"),
        retiring_principal=_text(entry, "RetiringPrincipal") or _text(entry, "RetiringServicePrincipal"),
        grant_id=_text(entry, "GrantId") or "",
    )


def parse_grants(text: str | bytes) -> tuple[Grant, ...]:
    """Read what ``aws kms list-grants`` prints, or a bare list of grants.

    Raises:
        KeyPolicyError: ``policy-json``, ``policy-duplicate-key``, ``policy-too-large`` or ``policy-request``, the last
            also for a listing that says ``Truncated``.
    """
    source, _ = read_text(text, GRANTS_TEXT_MAX_BYTES, "grant list")
    document = parse_strict(source, "grant list")
    if isinstance(document, dict):
        if document.get("Truncated") is True:
            raise _refuse("the grant list is truncated, expected all grants of the key")
        document = document.get("Grants")
    if not isinstance(document, list):
        raise _refuse("not a list of grants")
    return tuple(_grant(entry) for entry in document)


def parse_key_metadata(text: str | bytes) -> KeyMetadata:
    """Read what ``aws kms describe-key`` prints, or the ``KeyMetadata`` object alone.

    Raises:
        KeyPolicyError: ``policy-json``, ``policy-duplicate-key``, ``policy-too-large`` or ``policy-request``.
    """
    source, _ = read_text(text, KEY_METADATA_TEXT_MAX_BYTES, "key description")
    document = parse_strict(source, "key description")
    entry = document.get("KeyMetadata", document) if isinstance(document, dict) else None
    if not isinstance(entry, dict):
        raise _refuse("not a key description")
    states = {state.value: state for state in KeyState}
    state, arn = _text(entry, "KeyState"), _text(entry, "Arn")
    origin, spec, usage = _text(entry, "Origin"), _text(entry, "KeySpec"), _text(entry, "KeyUsage")
    multi_region = entry.get("MultiRegion")
    if state not in states or not origin or not spec or not usage or not isinstance(multi_region, bool):
        raise _refuse("a key description lacks KeyState, Origin, KeySpec, KeyUsage or MultiRegion")
    try:
        key_arn = KeyArn.parse(arn or "")
    except UsageError as error:
        raise _refuse(error.message) from None
    return KeyMetadata(
        arn=key_arn, state=states[state], origin=origin, multi_region=multi_region, key_spec=spec, key_usage=usage
    )
