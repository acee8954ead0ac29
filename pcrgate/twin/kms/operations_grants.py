"""Grants: permissions on one key for one principal, given without changing the key policy."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from pcrgate.twin.kms.call import Call, FoundKey
from pcrgate.twin.kms.grant_delegation import is_within
from pcrgate.twin.kms.interface import ContextValue, GrantDescription, Prepared, Response
from pcrgate.twin.kms.key_metadata import seconds
from pcrgate.twin.kms.key_specs import Family, Usage
from pcrgate.twin.kms.paging import page
from pcrgate.twin.kms.records import GrantRecord, KeyRecord
from pcrgate.twin.kms.service_errors import AwsCode, AwsError

_ANY_KEY: Final = frozenset({"CreateGrant", "RetireGrant", "DescribeKey"})
_WITH_CONTEXT: Final = frozenset(
    {
        "Encrypt",
        "Decrypt",
        "ReEncryptFrom",
        "ReEncryptTo",
        "GenerateDataKey",
        "GenerateDataKeyWithoutPlaintext",
        "GenerateDataKeyPair",
        "GenerateDataKeyPairWithoutPlaintext",
    }
)
_RSA_ENCRYPTION: Final = frozenset({"Encrypt", "Decrypt", "ReEncryptFrom", "ReEncryptTo", "GetPublicKey"})
_BY_USAGE: Final = {
    Usage.SIGN: frozenset({"Sign", "Verify", "GetPublicKey"}),
    Usage.MAC: frozenset({"GenerateMac", "VerifyMac"}),
    Usage.AGREE: frozenset({"DeriveSharedSecret", "GetPublicKey"}),
}


def _allowed_operations(key: KeyRecord) -> frozenset[str]:
    """Return the grant operations that fit a key. Spec: KMS Developer Guide, "Grants", grant operations."""
    if key.usage is Usage.ENCRYPT:
        own = _WITH_CONTEXT if key.spec.family is Family.SYMMETRIC else _RSA_ENCRYPTION
    else:
        own = _BY_USAGE[key.usage]
    return own | _ANY_KEY


def create_grant(call: Call) -> Prepared:
    """Give a principal permissions on a key. Spec: KMS API, CreateGrant."""
    request = call.request
    found = call.key()
    operations = tuple(sorted(set(request.texts("Operations"))))
    if request.has("GranteePrincipal") == request.has("GranteeServicePrincipal"):
        raise AwsError(AwsCode.VALIDATION, "Specify either GranteePrincipal or GranteeServicePrincipal.")
    if request.has("RetiringPrincipal") and request.has("RetiringServicePrincipal"):
        raise AwsError(AwsCode.VALIDATION, "Specify RetiringPrincipal or RetiringServicePrincipal, not both.")
    if not operations:
        raise AwsError(AwsCode.VALIDATION, "A grant needs at least one operation.")
    wanted = _description(call, operations)
    name = request.optional_text("Name")
    unfit = sorted(set(operations) - _allowed_operations(found.record))
    if unfit:
        raise AwsError(AwsCode.VALIDATION, f"Grant operations {', '.join(unfit)} are not valid for this key.")
    constrained = wanted.context_equals is not None or wanted.context_subset is not None
    if constrained and found.record.spec.family is not Family.SYMMETRIC:
        raise AwsError(AwsCode.VALIDATION, "An encryption context constraint is allowed with symmetric keys only.")

    def run() -> Response:
        call.usable(found.record)
        call.stop_if_dry_run()
        with call.keyring.lock:
            key = call.usable(found.record)
            grant = _same_grant(key, wanted, name) or _new_grant(call, wanted, name)
            if grant not in key.grants:
                call.keyring.put(key.with_grant(grant))
        return {"GrantToken": grant.description.token, "GrantId": grant.description.grant_id}

    check = replace(
        call.check(found, context=_grant_context(wanted)),
        counting_grants=frozenset(
            grant.description.grant_id for grant in found.record.grants if is_within(wanted, grant.description)
        ),
    )
    return call.prepared(check, run=run)


def _description(call: Call, operations: tuple[str, ...]) -> GrantDescription:
    request = call.request
    constraints = request.structure("Constraints")
    equals = subset = None
    source_arn = None
    if constraints is not None:
        # Terraform's provider sends the one that was not set as an empty map: empty is absent.
        equals = constraints.context("EncryptionContextEquals") or None
        subset = constraints.context("EncryptionContextSubset") or None
        source_arn = constraints.optional_text("SourceArn")
    if equals is not None and subset is not None:
        raise AwsError(AwsCode.VALIDATION, "A grant has one encryption context constraint: equals or subset.")
    return GrantDescription(
        grant_id="",
        grantee=request.text("GranteePrincipal") or request.text("GranteeServicePrincipal"),
        retiring=request.optional_text("RetiringPrincipal") or request.optional_text("RetiringServicePrincipal"),
        operations=operations,
        context_equals=equals,
        context_subset=subset,
        source_arn=source_arn,
        created_ms=0,
        token="",
    )


def _grant_context(grant: GrantDescription) -> dict[str, ContextValue]:
    context: dict[str, ContextValue] = {
        "kms:GrantOperations": grant.operations,
        "kms:GranteePrincipal": grant.grantee,
        "kms:GrantIsForAWSResource": "false",
    }
    if grant.retiring is not None:
        context["kms:RetiringPrincipal"] = grant.retiring
    if grant.context_equals is not None:
        context["kms:GrantConstraintType"] = "EncryptionContextEquals"
    if grant.context_subset is not None:
        context["kms:GrantConstraintType"] = "EncryptionContextSubset"
    return context


def _content(grant: GrantDescription) -> GrantDescription:
    return replace(grant, grant_id="", created_ms=0, token="")


def _same_grant(key: KeyRecord, wanted: GrantDescription, name: str | None) -> GrantRecord | None:
    """Return the live grant of the same name and content: CreateGrant with a Name can be repeated."""
    if name is None:
        return None
    alike = (one for one in key.grants if one.name == name and _content(one.description) == wanted)
    return next(alike, None)


def _new_grant(call: Call, wanted: GrantDescription, name: str | None) -> GrantRecord:
    seed = call.resources.randomness.read(32)
    return GrantRecord(
        description=replace(
            wanted,
            grant_id=hashlib.sha256(b"grant id\0" + seed).hexdigest(),
            created_ms=call.now_ms(),
            token="AQpA" + hashlib.sha256(b"grant token\0" + seed).hexdigest(),
        ),
        name=name,
        issuing_account=f"arn:{call.caller.partition}:iam::{call.caller.account}:root",
        grantee_is_service=call.request.has("GranteeServicePrincipal"),
        retiring_is_service=call.request.has("RetiringServicePrincipal"),
    )


def _entry(key: KeyRecord, grant: GrantRecord) -> dict[str, object]:
    shown = grant.description
    entry: dict[str, object] = {
        "KeyId": key.arn,
        "GrantId": shown.grant_id,
        "Name": grant.name or "",
        "CreationDate": seconds(shown.created_ms),
        "IssuingAccount": grant.issuing_account,
        "Operations": list(shown.operations),
        "GranteeServicePrincipal" if grant.grantee_is_service else "GranteePrincipal": shown.grantee,
    }
    if shown.retiring is not None:
        entry["RetiringServicePrincipal" if grant.retiring_is_service else "RetiringPrincipal"] = shown.retiring
    constraints: dict[str, object] = {}
    if shown.context_equals is not None:
        constraints["EncryptionContextEquals"] = dict(shown.context_equals)
    if shown.context_subset is not None:
        constraints["EncryptionContextSubset"] = dict(shown.context_subset)
    if shown.source_arn is not None:
        constraints["SourceArn"] = shown.source_arn
    return entry | {"Constraints": constraints} if constraints else entry


def list_grants(call: Call) -> Prepared:
    """List the grants on a key. Spec: KMS API, ListGrants."""
    found = call.key()
    wanted = {name: call.request.text(name) for name in ("GrantId", "GranteePrincipal", "GranteeServicePrincipal")}
    filters = {name: value for name, value in wanted.items() if value}

    def run() -> Response:
        key = call.usable(found.record)
        entries = [(grant.description.grant_id, _entry(key, grant)) for grant in key.grants]
        kept = [pair for pair in sorted(entries, key=lambda pair: pair[0]) if _matches(pair[1], filters)]
        if "GrantId" in filters and not kept:
            raise AwsError(AwsCode.INVALID_GRANT_ID, "The grant id is not of a grant on this key.")
        return page(kept, "Grants", call.request)

    return call.prepared(call.check(found), run=run)


def _matches(entry: Mapping[str, object], filters: Mapping[str, str]) -> bool:
    return all(entry.get(name) == value for name, value in filters.items())


def list_retirable_grants(call: Call) -> Prepared:
    """List the grants that a principal may retire. Spec: KMS API, ListRetirableGrants."""
    names = ("RetiringPrincipal", "RetiringServicePrincipal")
    filters = {name: call.request.text(name) for name in names if call.request.has(name)}
    if len(filters) != 1:
        raise AwsError(AwsCode.VALIDATION, "Specify either RetiringPrincipal or RetiringServicePrincipal.")

    def run() -> Response:
        entries = [
            (grant.description.grant_id, _entry(key, grant))
            for key in call.keyring.in_region(call.caller.region)
            for grant in key.grants
        ]
        kept = [pair for pair in sorted(entries, key=lambda pair: pair[0]) if _matches(pair[1], filters)]
        return page(kept, "Grants", call.request)

    return call.prepared(call.account_check(), run=run)


def revoke_grant(call: Call) -> Prepared:
    """Take a grant back, as one who manages the key. Spec: KMS API, RevokeGrant."""
    found = call.key()
    return _ending(call, found, call.request.text("GrantId"), permitted_principals=frozenset())


def retire_grant(call: Call) -> Prepared:
    """Give a grant up, as its retiring principal, or a grantee with RetireGrant. Spec: KMS API, RetireGrant."""
    request = call.request
    if request.has("GrantToken"):
        if request.has("GrantId") or request.has("KeyId"):
            raise AwsError(AwsCode.VALIDATION, "Specify either GrantToken, or KeyId and GrantId.")
        held = call.keyring.find_grant(token=request.text("GrantToken"))
        if held is None:
            raise AwsError(AwsCode.INVALID_GRANT_TOKEN, "The grant token is invalid or its grant was retired")
        found, grant = FoundKey(record=held[0], alias=None), held[1]
    else:
        if not request.has("GrantId") or not request.has("KeyId"):
            raise AwsError(AwsCode.VALIDATION, "Specify either GrantToken, or KeyId and GrantId.")
        found = call.key()
        grant = _grant_of(found.record, request.text("GrantId"))
    shown = grant.description
    permitted = {shown.retiring} if shown.retiring is not None else set()
    if "RetireGrant" in shown.operations:
        permitted.add(shown.grantee)
    return _ending(call, found, shown.grant_id, permitted_principals=frozenset(permitted))


def _grant_of(key: KeyRecord, grant_id: str) -> GrantRecord:
    for grant in key.grants:
        if grant.description.grant_id == grant_id:
            return grant
    raise AwsError(AwsCode.NOT_FOUND, f"Grant ID {grant_id} not found")


def _ending(call: Call, found: FoundKey, grant_id: str, *, permitted_principals: frozenset[str]) -> Prepared:
    def run() -> Response:
        with call.keyring.lock:
            key = call.usable(found.record)
            _grant_of(key, grant_id)
            call.stop_if_dry_run()
            call.keyring.put(key.without_grant(grant_id))
        return {}

    return call.prepared(call.check(found, permitted_principals=permitted_principals), run=run)
