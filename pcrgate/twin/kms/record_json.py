"""Turn records into JSON objects for the store, and back."""

import base64
from collections.abc import Mapping
from typing import Any

from pcrgate.twin.kms.interface import GrantDescription
from pcrgate.twin.kms.key_specs import KEY_SPECS, Usage
from pcrgate.twin.kms.material import Secret
from pcrgate.twin.kms.records import AliasRecord, GrantRecord, KeyRecord, MaterialVersion

JsonObject = dict[str, Any]
"""What ``json`` gives for an object; narrowed by the constructors below."""


def key_to_json(key: KeyRecord) -> JsonObject:
    """Return the key with its material: keep it where the material may be."""
    return {
        "partition": key.partition,
        "region": key.region,
        "account": key.account,
        "key_id": key.key_id,
        "spec": key.spec_name,
        "usage": key.usage.value,
        "origin": key.origin,
        "created_ms": key.created_ms,
        "description": key.description,
        "policy": key.policy,
        "enabled": key.enabled,
        "tags": dict(key.tags),
        "materials": [_material_to_json(version) for version in key.materials],
        "grants": [_grant_to_json(grant) for grant in key.grants],
        "primary_region": key.primary_region,
        "replica_regions": list(key.replica_regions),
        "pending_window_days": key.pending_window_days,
        "deletion_ms": key.deletion_ms,
        "rotation_period_days": key.rotation_period_days,
        "rotation_from_ms": key.rotation_from_ms,
    }


def key_from_json(value: JsonObject) -> KeyRecord:
    """Return the key that :func:`key_to_json` wrote.

    Raises:
        KeyError, ValueError, TypeError: the object is of another form.
    """
    spec_name = _text(value["spec"])
    if spec_name not in KEY_SPECS:
        raise ValueError("the key spec is not known")
    return KeyRecord(
        partition=_text(value["partition"]),
        region=_text(value["region"]),
        account=_text(value["account"]),
        key_id=_text(value["key_id"]),
        spec_name=spec_name,
        usage=Usage(value["usage"]),
        origin=_text(value["origin"]),
        created_ms=int(value["created_ms"]),
        description=_text(value["description"]),
        policy=_text(value["policy"]),
        enabled=bool(value["enabled"]),
        tags=_texts(value["tags"]),
        materials=tuple(_material_from_json(version) for version in value["materials"]),
        grants=tuple(_grant_from_json(grant) for grant in value["grants"]),
        primary_region=_optional_text(value["primary_region"]),
        replica_regions=tuple(_text(region) for region in value["replica_regions"]),
        pending_window_days=_optional_int(value["pending_window_days"]),
        deletion_ms=_optional_int(value["deletion_ms"]),
        rotation_period_days=_optional_int(value["rotation_period_days"]),
        rotation_from_ms=_optional_int(value["rotation_from_ms"]),
    )


def alias_to_json(alias: AliasRecord) -> JsonObject:
    """Return the alias as a JSON object."""
    return {
        "arn": alias.arn,
        "name": alias.name,
        "target_key_id": alias.target_key_id,
        "created_ms": alias.created_ms,
        "updated_ms": alias.updated_ms,
    }


def alias_from_json(value: JsonObject) -> AliasRecord:
    """Return the alias that :func:`alias_to_json` wrote.

    Raises:
        KeyError, ValueError, TypeError: the object is of another form.
    """
    return AliasRecord(
        arn=_text(value["arn"]),
        name=_text(value["name"]),
        target_key_id=_text(value["target_key_id"]),
        created_ms=int(value["created_ms"]),
        updated_ms=int(value["updated_ms"]),
    )


def _material_to_json(version: MaterialVersion) -> JsonObject:
    secret = version.secret
    return {
        "material_id": version.material_id,
        "secret": None if secret is None else base64.b64encode(secret.reveal).decode("ascii"),
        "created_ms": version.created_ms,
        "rotation": version.rotation,
        "description": version.description,
        "valid_to_ms": version.valid_to_ms,
    }


def _material_from_json(value: JsonObject) -> MaterialVersion:
    secret = _optional_text(value["secret"])
    return MaterialVersion(
        material_id=_text(value["material_id"]),
        secret=None if secret is None else Secret(base64.b64decode(secret, validate=True)),
        created_ms=int(value["created_ms"]),
        rotation=_optional_text(value["rotation"]),
        description=_optional_text(value["description"]),
        valid_to_ms=_optional_int(value["valid_to_ms"]),
    )


def _grant_to_json(grant: GrantRecord) -> JsonObject:
    shown = grant.description
    return {
        "grant_id": shown.grant_id,
        "grantee": shown.grantee,
        "retiring": shown.retiring,
        "operations": list(shown.operations),
        "context_equals": None if shown.context_equals is None else dict(shown.context_equals),
        "context_subset": None if shown.context_subset is None else dict(shown.context_subset),
        "source_arn": shown.source_arn,
        "created_ms": shown.created_ms,
        "token": shown.token,
        "name": grant.name,
        "issuing_account": grant.issuing_account,
        "grantee_is_service": grant.grantee_is_service,
        "retiring_is_service": grant.retiring_is_service,
    }


def _grant_from_json(value: JsonObject) -> GrantRecord:
    equals, subset = value["context_equals"], value["context_subset"]
    return GrantRecord(
        description=GrantDescription(
            grant_id=_text(value["grant_id"]),
            grantee=_text(value["grantee"]),
            retiring=_optional_text(value["retiring"]),
            operations=tuple(_text(operation) for operation in value["operations"]),
            context_equals=None if equals is None else _texts(equals),
            context_subset=None if subset is None else _texts(subset),
            source_arn=_optional_text(value["source_arn"]),
            created_ms=int(value["created_ms"]),
            token=_text(value["token"]),
        ),
        name=_optional_text(value["name"]),
        issuing_account=_text(value["issuing_account"]),
        grantee_is_service=bool(value["grantee_is_service"]),
        retiring_is_service=bool(value["retiring_is_service"]),
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("expected text")
    return value


def _optional_text(value: object) -> str | None:
    return None if value is None else _text(value)


def _optional_int(value: object) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int):
        raise TypeError("expected a whole number")
    return value


def _texts(value: object) -> Mapping[str, str]:
    if not isinstance(value, dict):
        raise TypeError("expected an object")
    return {_text(name): _text(text) for name, text in value.items()}
