"""Aliases: other names for keys, authorised both on the alias (IAM alone) and on the key."""

import re
from dataclasses import replace
from typing import Final

from pcrgate.twin.kms.call import Call, FoundKey
from pcrgate.twin.kms.interface import Prepared, Response
from pcrgate.twin.kms.key_metadata import seconds
from pcrgate.twin.kms.key_state import require_state
from pcrgate.twin.kms.paging import page
from pcrgate.twin.kms.records import AliasRecord
from pcrgate.twin.kms.service_errors import AwsCode, AwsError

_NAME: Final = re.compile(r"alias/[a-zA-Z0-9/_-]+")


def _alias_arn(call: Call) -> str:
    """Return the ARN of the request's alias, whether it exists or not.

    Raises:
        AwsError: ValidationException without the prefix, NotAuthorizedException for names that belong to AWS.
    """
    name = call.request.text("AliasName")
    if not name.startswith("alias/"):
        raise AwsError(AwsCode.VALIDATION, "Invalid identifier: an alias name begins with alias/")
    if name.startswith("alias/aws/"):
        raise AwsError(AwsCode.NOT_AUTHORIZED, "Alias names that begin with alias/aws/ are reserved for AWS")
    if not _NAME.fullmatch(name):
        raise AwsError(AwsCode.INVALID_ALIAS_NAME, "An alias name has letters, digits, / _ and - after alias/")
    caller = call.caller
    return f"arn:{caller.partition}:kms:{caller.region}:{caller.account}:{name}"


def _existing(call: Call, arn: str) -> AliasRecord:
    alias = call.keyring.find_alias(arn)
    if alias is None:
        raise AwsError(AwsCode.NOT_FOUND, f"Alias {arn} is not found.")
    return alias


def create_alias(call: Call) -> Prepared:
    """Point a new alias at a key. Spec: KMS API, CreateAlias."""
    arn = _alias_arn(call)
    found = call.key("TargetKeyId")

    def run() -> Response:
        with call.keyring.lock:
            key = call.usable(found.record)
            if call.keyring.find_alias(arn) is not None:
                raise AwsError(AwsCode.ALREADY_EXISTS, f"An alias with the name {arn} already exists")
            now_ms = call.now_ms()
            alias = AliasRecord(
                arn=arn,
                name=call.request.text("AliasName"),
                target_key_id=key.key_id,
                created_ms=now_ms,
                updated_ms=now_ms,
            )
            call.keyring.put_alias(alias)
        return {}

    named = FoundKey(record=found.record, alias=call.request.text("AliasName"))
    return call.prepared(call.account_check(resource=arn), call.check(named), run=run)


def update_alias(call: Call) -> Prepared:
    """Point an alias at another key of the same kind. Spec: KMS API, UpdateAlias."""
    arn = _alias_arn(call)
    alias = _existing(call, arn)
    old = call.keyring.require(alias.target_arn)
    new = call.key("TargetKeyId").record

    def run() -> Response:
        with call.keyring.lock:
            key = call.usable(new)
            current = _existing(call, arn)
            if (old.spec.family, old.usage) != (key.spec.family, key.usage):
                raise AwsError(AwsCode.VALIDATION, "The current and the new key must be of the same type and key usage")
            call.keyring.put_alias(replace(current, target_key_id=key.key_id, updated_ms=call.now_ms()))
        return {}

    return call.prepared(
        call.account_check(resource=arn),
        call.check(FoundKey(record=old, alias=alias.name)),
        call.check(FoundKey(record=new, alias=alias.name)),
        run=run,
    )


def delete_alias(call: Call) -> Prepared:
    """Remove an alias; the key stays. Spec: KMS API, DeleteAlias."""
    arn = _alias_arn(call)
    alias = _existing(call, arn)
    key = call.keyring.require(alias.target_arn)

    def run() -> Response:
        with call.keyring.lock:
            require_state(key, call.operation, call.now_ms())
            _existing(call, arn)
            call.keyring.delete_alias(arn)
        return {}

    return call.prepared(call.account_check(resource=arn), call.check(FoundKey(record=key, alias=alias.name)), run=run)


def list_aliases(call: Call) -> Prepared:
    """List the aliases of the account in the Region, or of one key. Spec: KMS API, ListAliases."""
    target = call.key().record.arn if call.request.has("KeyId") else None

    def run() -> Response:
        entries = [
            (
                alias.name,
                {
                    "AliasName": alias.name,
                    "AliasArn": alias.arn,
                    "TargetKeyId": alias.target_key_id,
                    "CreationDate": seconds(alias.created_ms),
                    "LastUpdatedDate": seconds(alias.updated_ms),
                },
            )
            for alias in call.keyring.aliases(call.caller.account, call.caller.region)
            if target in {None, alias.target_arn}
        ]
        return page(entries, "Aliases", call.request)

    return call.prepared(call.account_check(), run=run)
