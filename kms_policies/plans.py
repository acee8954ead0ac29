"""Where policies come from: a policy's JSON, the answer of ``aws kms get-key-policy``, or a Terraform plan or state.

From ``terraform show -json`` every key policy is taken, under its address. A key whose policy the plan does not show
is refused: it would get AWS's default policy, or one that nobody has seen yet. Where an ``aws_kms_key_policy``
certainly belongs to a key (:mod:`kms_policies.plan_owners`), that resource counts, and not what the key showed before
the change.

Spec: Terraform, "JSON Output Format"; AWS CLI, ``kms get-key-policy``.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from kms_policies.document import Policy, PolicyKind, parse_policy
from kms_policies.plan_owners import KEY_POLICY, KEY_TYPES, PlannedResource, find_owners
from kms_policies.request import Grant
from kms_policies.strict_json import read_text, unambiguous
from pcrgate.errors import ErrorCode, KeyPolicyError
from pcrgate.units import Sha384

SOURCE_MAX_BYTES: Final = 64 * 1024 * 1024
"""Largest plan read: a plan of thousands of resources has some 10 MB."""

_GRANT: Final = "aws_kms_grant"

_WHITE_SPACE: Final = b" \t\r\n"
"""Spec: RFC 8259, 2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcedPolicy:
    """Hold one key policy and what its source says of the key.

    Attributes:
        address: the Terraform address, or ``policy`` for a policy of its own.
        policy: the policy.
        policy_sha384: SHA-384 of its text as the source has it, in UTF-8; of a policy of its own without the white
            space around it, since shells add a line end. A receipt's policy hash is made alike.
        grants: grants that the plan makes, on whichever key; a plan does not always tell which.
        multi_region: whether the source makes the key a multi-Region key.
        origin: the source of the key material, ``AWS_KMS`` unless the source says otherwise.
        key_spec: the key's spec, ``SYMMETRIC_DEFAULT`` unless the source says otherwise.
        key_usage: the key's usage, ``ENCRYPT_DECRYPT`` unless the source says otherwise.
    """

    address: str
    policy: Policy
    policy_sha384: Sha384
    grants: tuple[Grant, ...] = ()
    multi_region: bool = False
    origin: str = "AWS_KMS"
    key_spec: str = "SYMMETRIC_DEFAULT"
    key_usage: str = "ENCRYPT_DECRYPT"


def read_policies(source: bytes, *, kind: PolicyKind = PolicyKind.KEY) -> tuple[SourcedPolicy, ...]:
    """Return every policy of a source; at least one.

    Args:
        source: the JSON text as UTF-8.
        kind: how to read it; plans hold key policies only here.

    Raises:
        KeyPolicyError: ``policy-source`` when it is none of the forms or holds no key, ``policy-source-unknown`` when a
            plan does not show a policy, and whatever the parser refuses a policy with.
    """
    document = _load(source)
    if "Statement" in document:
        policy = parse_policy(source, kind=kind)
        return (SourcedPolicy(address="policy", policy=policy, policy_sha384=_sha384(source.strip(_WHITE_SPACE))),)
    if isinstance(text := document.get("Policy"), str):
        policy = parse_policy(text, kind=kind)
        return (SourcedPolicy(address="policy", policy=policy, policy_sha384=_sha384(text.encode())),)
    shown = document.get("planned_values") or document.get("values")
    if "format_version" in document and isinstance(shown, dict) and kind is PolicyKind.KEY:
        return _from_terraform(document, shown)
    raise KeyPolicyError(
        ErrorCode.POLICY_SOURCE,
        "neither a policy (Statement), nor get-key-policy's answer (Policy), nor terraform show -json",
    )


def _load(source: bytes) -> dict[str, Any]:
    text, _ = read_text(source, SOURCE_MAX_BYTES, "source")
    try:
        document = json.loads(text, object_pairs_hook=unambiguous)
    except (ValueError, RecursionError):
        raise KeyPolicyError(ErrorCode.POLICY_JSON, "the source is not JSON text in UTF-8") from None
    if not isinstance(document, dict):
        raise KeyPolicyError(ErrorCode.POLICY_SOURCE, "the source is not a JSON object")
    return document


def _from_terraform(document: dict[str, Any], shown: dict[str, Any]) -> tuple[SourcedPolicy, ...]:
    resources = list(_resources(shown.get("root_module")))
    unknown = _unknown_after_apply(document)
    owners = find_owners(resources, _dict(document.get("configuration")).get("root_module"))
    grants = tuple(_grant(one, unknown) for one in resources if one.type == _GRANT)
    keys = {one.address: one for one in resources if one.type in KEY_TYPES}
    with_resource = frozenset(owners.values())
    found: list[SourcedPolicy] = []
    for one in resources:
        if one.type in KEY_TYPES:
            if one.address in with_resource:
                continue
            text = one.values.get("policy")
            if isinstance(text, str) and text:
                found.append(_sourced(one.address, text, one, grants))
            else:
                raise KeyPolicyError(
                    ErrorCode.POLICY_SOURCE_UNKNOWN,
                    f"{one.address} shows no policy (none given, or only known after apply) and no "
                    f"{KEY_POLICY} certainly belongs to it: expected one, since AWS's default delegates to the account",
                )
        elif one.type == KEY_POLICY:
            text = one.values.get("policy")
            if not isinstance(text, str) or not text or one.address in unknown:
                raise KeyPolicyError(
                    ErrorCode.POLICY_SOURCE_UNKNOWN, f"{one.address} is not known before it is applied"
                )
            owner = keys[owners[one.address]] if one.address in owners else _only(keys)
            found.append(_sourced(one.address, text, owner, grants))
    if not found:
        raise KeyPolicyError(ErrorCode.POLICY_SOURCE, "the plan or state holds no KMS key with a policy")
    return tuple(found)


def _resources(module: object) -> Iterator[PlannedResource]:
    if not isinstance(module, dict):
        return
    for raw in _dicts(module.get("resources")):
        values = raw.get("values")
        if raw.get("mode", "managed") == "managed" and isinstance(values, dict):
            yield PlannedResource(address=str(raw.get("address")), type=str(raw.get("type")), values=values)
    for child in _dicts(module.get("child_modules")):
        yield from _resources(child)


def _unknown_after_apply(document: Mapping[str, Any]) -> frozenset[str]:
    """Return the addresses whose policy, grantee or operations are only known after apply."""
    unknown = set()
    for change in _dicts(document.get("resource_changes")):
        after = _dict(_dict(change.get("change")).get("after_unknown"))
        if any(after.get(name) for name in ("policy", "grantee_principal", "operations")):
            unknown.add(str(change.get("address")))
    return frozenset(unknown)


def _only(keys: Mapping[str, PlannedResource]) -> PlannedResource | None:
    """Return the key when there is one, else one that stands for the most that any of them allows."""
    owners = list(keys.values())
    if len(owners) < 2:
        return owners[0] if owners else None
    multi = [owner for owner in owners if owner.values.get("multi_region")]
    return multi[0] if multi else owners[0]


def _sourced(address: str, text: str, owner: PlannedResource | None, grants: tuple[Grant, ...]) -> SourcedPolicy:
    values: Mapping[str, Any] = {} if owner is None else owner.values
    external = owner is not None and "external" in owner.type
    replica = owner is not None and "replica" in owner.type
    try:
        policy = parse_policy(text, kind=PolicyKind.KEY)
    except KeyPolicyError as refusal:
        raise KeyPolicyError(refusal.code, f"{address}: {refusal.message}") from refusal
    return SourcedPolicy(
        address=address,
        policy=policy,
        policy_sha384=_sha384(text.encode()),
        grants=grants,
        multi_region=bool(values.get("multi_region")) or replica,
        origin="EXTERNAL" if external else "AWS_KMS",
        key_spec=str(values.get("customer_master_key_spec") or "SYMMETRIC_DEFAULT"),
        key_usage=str(values.get("key_usage") or "ENCRYPT_DECRYPT"),
    )


def _sha384(text: bytes) -> Sha384:
    return Sha384(hashlib.sha384(text).digest())


def _grant(one: PlannedResource, unknown: frozenset[str]) -> Grant:
    grantee, operations = one.values.get("grantee_principal"), one.values.get("operations")
    if one.address in unknown or not isinstance(grantee, str) or not isinstance(operations, list):
        raise KeyPolicyError(
            ErrorCode.POLICY_SOURCE_UNKNOWN, f"{one.address}: grantee or operations are not known before it is applied"
        )
    constraints = next(iter(_dicts(one.values.get("constraints"))), {})
    return Grant(
        grantee_principal=grantee,
        operations=frozenset(str(operation) for operation in operations),
        encryption_context_equals=_pairs(constraints.get("encryption_context_equals")),
        encryption_context_subset=_pairs(constraints.get("encryption_context_subset")),
        retiring_principal=str(one.values["retiring_principal"]) if one.values.get("retiring_principal") else None,
        grant_id=one.address,
    )


def _pairs(value: object) -> dict[str, str] | None:
    return {str(name): str(each) for name, each in _dict(value).items()} or None


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _dicts(value: object) -> list[dict[str, Any]]:
    return [member for member in _list(value) if isinstance(member, dict)]
