"""CreateKey, DescribeKey, ListKeys, and what changes a key's state or description."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from pcrgate.twin.kms.call import Call
from pcrgate.twin.kms.interface import ContextValue, Prepared, Response
from pcrgate.twin.kms.key_metadata import key_metadata, seconds
from pcrgate.twin.kms.key_specs import KEY_SPECS, Family, KeySpec, Usage
from pcrgate.twin.kms.key_state import PENDING_DELETION, PENDING_REPLICA_DELETION, state_of
from pcrgate.twin.kms.material import make_secret, material_id
from pcrgate.twin.kms.paging import KEYS_DEFAULT_LIMIT, page
from pcrgate.twin.kms.policy_guard import check_policy_text, default_policy
from pcrgate.twin.kms.randomness import uuid_text
from pcrgate.twin.kms.records import DAY_MS, KeyRecord, MaterialVersion
from pcrgate.twin.kms.request_shape import violation
from pcrgate.twin.kms.service_errors import AwsCode, AwsError

WINDOW_MIN_DAYS: Final = 7
"""Shortest waiting period. Spec: KMS API, ScheduleKeyDeletion."""

WINDOW_MAX_DAYS: Final = 30
"""Longest waiting period, and the default. Spec: KMS API, ScheduleKeyDeletion."""


def create_key(call: Call) -> Prepared:
    """Make a key. Spec: KMS API, CreateKey."""
    request = call.request
    spec, usage = _spec_and_usage(call)
    origin = request.text("Origin", "AWS_KMS")
    if origin not in {"AWS_KMS", "EXTERNAL"} or request.has("CustomKeyStoreId") or request.has("XksKeyId"):
        raise AwsError(AwsCode.UNSUPPORTED_OPERATION, "The twin has no custom key stores")
    tags = request.tags()
    bypass = request.flag("BypassPolicyLockoutSafetyCheck")
    multi_region = request.flag("MultiRegion")
    policy = request.text("Policy", default_policy(call.caller.partition, call.caller.account))
    check_policy_text(policy)
    context: dict[str, ContextValue] = {
        "kms:KeySpec": spec.name,
        "kms:KeyUsage": usage.value,
        "kms:KeyOrigin": origin,
        "kms:MultiRegion": "true" if multi_region else "false",
        "kms:BypassPolicyLockoutSafetyCheck": "true" if bypass else "false",
        **tag_context(tags),
    }
    if multi_region:
        context["kms:MultiRegionKeyType"] = "PRIMARY"

    def run() -> Response:
        now_ms = call.now_ms()
        randomness = call.resources.randomness
        name = uuid_text(randomness)
        key = KeyRecord(
            partition=call.caller.partition,
            region=call.caller.region,
            account=call.caller.account,
            key_id="mrk-" + name.replace("-", "") if multi_region else name,
            spec_name=spec.name,
            usage=usage,
            origin=origin,
            created_ms=now_ms,
            description=request.text("Description"),
            policy=policy,
            tags=tags,
            primary_region=call.caller.region if multi_region else None,
        )
        if origin == "AWS_KMS":
            secret = make_secret(spec, randomness)
            version = MaterialVersion(material_id=material_id(key.key_id, secret), secret=secret, created_ms=now_ms)
            key = replace(key, materials=(version,))
        described = call.keyring.describe(key)
        call.resources.guard.check(policy, described, call.caller, bypass_lockout_check=bypass)
        call.keyring.put(key)
        return {"KeyMetadata": key_metadata(key, now_ms)}

    checks = [call.account_check(context=context)]
    if tags:
        checks.append(call.account_check(action="kms:TagResource", context=tag_context(tags)))
    return call.prepared(*checks, run=run)


def tag_context(tags: dict[str, str]) -> dict[str, ContextValue]:
    """Return the condition keys that tags in a request give."""
    context: dict[str, ContextValue] = {f"aws:RequestTag/{name}": text for name, text in tags.items()}
    return context | {"aws:TagKeys": tuple(tags)} if tags else context


def _spec_and_usage(call: Call) -> tuple[KeySpec, Usage]:
    request = call.request
    if request.has("KeySpec") and request.has("CustomerMasterKeySpec"):
        raise AwsError(AwsCode.VALIDATION, "You cannot specify KeySpec and CustomerMasterKeySpec in the same request")
    name = request.text("KeySpec") or request.text("CustomerMasterKeySpec") or "SYMMETRIC_DEFAULT"
    spec = KEY_SPECS.get(name)
    if spec is None:
        raise AwsError(AwsCode.UNSUPPORTED_OPERATION, f"The twin makes no keys of spec {name}")
    wanted = request.optional_text("KeyUsage")
    if wanted is None and spec.family is not Family.SYMMETRIC:
        raise AwsError(
            AwsCode.VALIDATION, "You must specify a KeyUsage value for all KMS keys except for symmetric ones"
        )
    for usage in spec.usages:
        if wanted in {None, usage.value}:
            return spec, usage
    raise AwsError(AwsCode.VALIDATION, f"KeyUsage {wanted} is not compatible with KeySpec {name}")


def describe_key(call: Call) -> Prepared:
    """Show a key's metadata. Spec: KMS API, DescribeKey."""
    found = call.key(aliases=True)

    def run() -> Response:
        return {"KeyMetadata": key_metadata(call.usable(found.record), call.now_ms())}

    return call.prepared(call.check(found), run=run)


def list_keys(call: Call) -> Prepared:
    """List ids and ARNs of the caller's keys in the Region. Spec: KMS API, ListKeys."""

    def run() -> Response:
        keys = call.keyring.keys(call.caller.account, call.caller.region)
        if call.request.has("ResourceOwners") and "SELF" not in call.request.texts("ResourceOwners"):
            keys = []
        entries = [(key.key_id, {"KeyId": key.key_id, "KeyArn": key.arn}) for key in keys]
        return page(entries, "Keys", call.request, default_limit=KEYS_DEFAULT_LIMIT)

    return call.prepared(call.account_check(), run=run)


def enable_key(call: Call) -> Prepared:
    """Let a key be used again. Spec: KMS API, EnableKey."""
    return _change(call, lambda key: replace(key, enabled=True))


def disable_key(call: Call) -> Prepared:
    """Let a key be used no more until it is enabled. Spec: KMS API, DisableKey."""
    return _change(call, lambda key: replace(key, enabled=False))


def update_key_description(call: Call) -> Prepared:
    """Change the description. Spec: KMS API, UpdateKeyDescription."""
    return _change(call, lambda key: replace(key, description=call.request.text("Description")))


def _change(call: Call, change: Callable[[KeyRecord], KeyRecord]) -> Prepared:
    found = call.key()

    def run() -> Response:
        call.keyring.update(found.record.arn, lambda key: change(call.usable(key)))
        return {}

    return call.prepared(call.check(found), run=run)


def schedule_key_deletion(call: Call) -> Prepared:
    """Begin the waiting period after which the key is gone. Spec: KMS API, ScheduleKeyDeletion."""
    found = call.key()
    given = call.request.number("PendingWindowInDays")
    days = WINDOW_MAX_DAYS if given is None else given
    if days < WINDOW_MIN_DAYS:
        bound = f"Member must have value greater than or equal to {WINDOW_MIN_DAYS}"
        raise violation(str(days), "pendingWindowInDays", bound)
    if days > WINDOW_MAX_DAYS:
        raise violation(
            str(days), "pendingWindowInDays", f"Member must have value less than or equal to {WINDOW_MAX_DAYS}"
        )

    def schedule(key: KeyRecord) -> KeyRecord:
        key = call.usable(key)
        waits = key.multi_region and not key.is_replica and bool(key.replica_regions)
        due_ms = None if waits else call.now_ms() + days * DAY_MS
        return replace(key, pending_window_days=days, deletion_ms=due_ms, enabled=False)

    def run() -> Response:
        key = call.keyring.update(found.record.arn, schedule)
        answer: dict[str, object] = {
            "KeyId": key.arn,
            "KeyState": state_of(key, call.now_ms()),
            "PendingWindowInDays": days,
        }
        if key.deletion_ms is not None:
            answer["DeletionDate"] = seconds(key.deletion_ms)
        return answer

    context = {"kms:ScheduleKeyDeletionPendingWindowInDays": str(days)}
    return call.prepared(call.check(found, context=context), run=run)


def cancel_key_deletion(call: Call) -> Prepared:
    """End the waiting period; the key is disabled then. Spec: KMS API, CancelKeyDeletion."""
    found = call.key()

    def cancel(key: KeyRecord) -> KeyRecord:
        if state_of(key, call.now_ms()) not in {PENDING_DELETION, PENDING_REPLICA_DELETION}:
            raise AwsError(AwsCode.INVALID_STATE, f"{key.arn} is not pending deletion.")
        return replace(key, pending_window_days=None, deletion_ms=None, enabled=False)

    def run() -> Response:
        return {"KeyId": call.keyring.update(found.record.arn, cancel).arn}

    return call.prepared(call.check(found), run=run)


def get_key_last_usage(call: Call) -> Prepared:
    """Say when a key was last used, as far as this process knows. Spec: KMS API, GetKeyLastUsage."""
    found = call.key()

    def run() -> Response:
        key = call.usable(found.record)
        answer: dict[str, object] = {
            "KeyId": key.arn,
            "TrackingStartDate": seconds(key.created_ms),
            "KeyCreationDate": seconds(key.created_ms),
        }
        use = call.resources.last_usage.of(key.arn)
        if use is not None:
            answer["KeyLastUsage"] = {"Operation": use.operation, "Timestamp": seconds(use.at_ms)}
        return answer

    return call.prepared(call.check(found), run=run)
