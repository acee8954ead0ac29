"""Rotation: new material for new ciphertexts, the old kept for old ones."""

from dataclasses import replace
from typing import Final

from pcrgate.twin.kms.call import Call, Resources
from pcrgate.twin.kms.interface import ContextValue, Prepared, Response
from pcrgate.twin.kms.key_metadata import seconds
from pcrgate.twin.kms.key_specs import Family
from pcrgate.twin.kms.key_state import ENABLED, state_of
from pcrgate.twin.kms.material import make_secret, material_id
from pcrgate.twin.kms.paging import KEYS_DEFAULT_LIMIT, page
from pcrgate.twin.kms.records import DAY_MS, KeyRecord, MaterialVersion
from pcrgate.twin.kms.service_errors import AwsCode, AwsError

PERIOD_DEFAULT_DAYS: Final = 365
"""Rotation period when none is given. Spec: KMS API, EnableKeyRotation."""

ON_DEMAND_MAX_COUNT: Final = 25
"""On-demand rotations of one key. Spec: KMS Developer Guide, "Resource quotas" (on-demand rotation)."""


def _rotatable(key: KeyRecord) -> KeyRecord:
    if key.spec.family is not Family.SYMMETRIC or key.origin != "AWS_KMS":
        raise AwsError(
            AwsCode.UNSUPPORTED_OPERATION,
            f"{key.arn} cannot be rotated: its key spec is {key.spec_name} and its origin {key.origin}.",
        )
    return key


def _primary(key: KeyRecord) -> KeyRecord:
    if key.is_replica:
        raise AwsError(AwsCode.UNSUPPORTED_OPERATION, f"{key.arn} is a replica key: rotate its primary key.")
    return _rotatable(key)


def enable_key_rotation(call: Call) -> Prepared:
    """Rotate every so many days from now on. Spec: KMS API, EnableKeyRotation."""
    found = call.key()
    given = call.request.number("RotationPeriodInDays")

    def change(key: KeyRecord) -> KeyRecord:
        key = call.usable(_primary(key))
        days = given or key.rotation_period_days or PERIOD_DEFAULT_DAYS
        started_ms = key.rotation_from_ms if key.rotation_period_days is not None else None
        return replace(key, rotation_period_days=days, rotation_from_ms=started_ms or call.now_ms())

    def run() -> Response:
        call.keyring.update(found.record.arn, change)
        return {}

    context: dict[str, ContextValue] = {} if given is None else {"kms:RotationPeriodInDays": str(given)}
    return call.prepared(call.check(found, context=context), run=run)


def disable_key_rotation(call: Call) -> Prepared:
    """Rotate no more by itself. Spec: KMS API, DisableKeyRotation."""
    found = call.key()

    def change(key: KeyRecord) -> KeyRecord:
        return replace(call.usable(_primary(key)), rotation_period_days=None, rotation_from_ms=None)

    def run() -> Response:
        call.keyring.update(found.record.arn, change)
        return {}

    return call.prepared(call.check(found), run=run)


def get_key_rotation_status(call: Call) -> Prepared:
    """Say whether and when the key rotates; a replica answers for its primary, a key that cannot rotate says no.

    Spec: KMS API, GetKeyRotationStatus.
    """
    found = call.key()

    def run() -> Response:
        key = call.usable(found.record)
        source = call.keyring.siblings(key)[0]
        days, from_ms = source.rotation_period_days, source.rotation_from_ms
        # Disabling leaves the status as it is; while a deletion is scheduled it is false.
        if days is None or from_ms is None or key.pending_window_days is not None:
            return {"KeyRotationEnabled": False, "KeyId": key.arn}
        return {
            "KeyRotationEnabled": True,
            "KeyId": key.arn,
            "RotationPeriodInDays": days,
            "NextRotationDate": seconds(from_ms + days * DAY_MS),
        }

    return call.prepared(call.check(found), run=run)


def rotate_key_on_demand(call: Call) -> Prepared:
    """Rotate now; the period of automatic rotation stays. Spec: KMS API, RotateKeyOnDemand."""
    found = call.key()

    def run() -> Response:
        with call.keyring.lock:
            key = _primary(call.usable(found.record))
            done = sum(version.rotation == "ON_DEMAND" for version in key.materials)
            if done >= ON_DEMAND_MAX_COUNT:
                raise AwsError(
                    AwsCode.LIMIT_EXCEEDED, f"A key can be rotated on demand at most {ON_DEMAND_MAX_COUNT} times"
                )
            _rotate(call.resources, key, "ON_DEMAND", call.now_ms())
        return {"KeyId": key.arn}

    return call.prepared(call.check(found), run=run)


def list_key_rotations(call: Call) -> Prepared:
    """List past rotations, and on request every material. Spec: KMS API, ListKeyRotations."""
    found = call.key()

    def run() -> Response:
        key = call.usable(found.record)
        if key.spec.family is not Family.SYMMETRIC:
            _rotatable(key)
        everything = call.request.text("IncludeKeyMaterial") == "ALL_KEY_MATERIAL"
        entries = [
            (f"{number:08d}", _entry(key, version))
            for number, version in enumerate(key.materials)
            if everything or version.rotation is not None
        ]
        return page(entries, "Rotations", call.request, default_limit=KEYS_DEFAULT_LIMIT)

    return call.prepared(call.check(found), run=run)


def _entry(key: KeyRecord, version: MaterialVersion) -> dict[str, object]:
    entry: dict[str, object] = {
        "KeyId": key.arn,
        "KeyMaterialId": version.material_id,
        "KeyMaterialState": "CURRENT" if version is key.current else "NON_CURRENT",
    }
    if version.rotation is not None:
        entry |= {"RotationDate": seconds(version.created_ms), "RotationType": version.rotation}
    if key.origin == "EXTERNAL":
        entry["ImportState"] = "PENDING_IMPORT" if version.secret is None else "IMPORTED"
    if version.description is not None:
        entry["KeyMaterialDescription"] = version.description
    return entry


def rotate_due(resources: Resources) -> None:
    """Rotate every key whose period is over: once, however many periods went by while nobody asked."""
    now_ms = resources.clock_ms()
    keyring = resources.keyring
    for arn in keyring.arns():
        key = keyring.find(arn)
        if key is None or not _is_due(key, now_ms):
            continue
        with keyring.lock:
            current = keyring.find(arn)
            if current is not None and _is_due(current, now_ms):
                _rotate(resources, current, "AUTOMATIC", now_ms)


def _is_due(key: KeyRecord, now_ms: int) -> bool:
    days, from_ms = key.rotation_period_days, key.rotation_from_ms
    if days is None or from_ms is None or key.is_replica or state_of(key, now_ms) != ENABLED:
        return False
    return from_ms + days * DAY_MS <= now_ms


def _rotate(resources: Resources, key: KeyRecord, kind: str, now_ms: int) -> None:
    secret = make_secret(key.spec, resources.randomness)
    version = MaterialVersion(
        material_id=material_id(key.key_id, secret), secret=secret, created_ms=now_ms, rotation=kind
    )
    restarted_ms = now_ms if kind == "AUTOMATIC" else key.rotation_from_ms
    changed = [
        replace(
            one,
            materials=(*one.materials, version),
            rotation_from_ms=restarted_ms if one.arn == key.arn else one.rotation_from_ms,
        )
        for one in resources.keyring.siblings(key)
    ]
    resources.keyring.put(*changed)
