"""Multi-Region keys: the same key id and material in several Regions, each with its own policy, tags and grants."""

from dataclasses import replace

from pcrgate.twin.kms.call import Call, FoundKey
from pcrgate.twin.kms.interface import Prepared, Response
from pcrgate.twin.kms.key_metadata import key_metadata
from pcrgate.twin.kms.operations_keys import tag_context
from pcrgate.twin.kms.policy_guard import check_policy_text, default_policy
from pcrgate.twin.kms.records import KeyRecord
from pcrgate.twin.kms.service_errors import AwsCode, AwsError


def _require_primary(key: KeyRecord) -> KeyRecord:
    if not key.multi_region or key.is_replica:
        raise AwsError(AwsCode.UNSUPPORTED_OPERATION, f"{key.arn} is not a multi-Region primary key.")
    return key


def replicate_key(call: Call) -> Prepared:
    """Make a replica in another Region. Spec: KMS API, ReplicateKey."""
    request = call.request
    found = call.key()
    region = request.text("ReplicaRegion")
    tags = request.tags()
    bypass = request.flag("BypassPolicyLockoutSafetyCheck")
    policy = request.text("Policy", default_policy(call.caller.partition, call.caller.account))
    check_policy_text(policy)

    def run() -> Response:
        with call.keyring.lock:
            primary = _require_primary(call.usable(found.record))
            if region in primary.regions:
                raise AwsError(AwsCode.ALREADY_EXISTS, f"{primary.arn_in(region)} already exists.")
            regions = (*primary.replica_regions, region)
            replica = replace(
                primary,
                region=region,
                created_ms=call.now_ms(),
                description=request.text("Description"),
                policy=policy,
                tags=tags,
                grants=(),
                # Imported material must be imported again into each replica.
                materials=primary.materials if primary.origin == "AWS_KMS" else (),
                replica_regions=regions,
                rotation_period_days=None,
                rotation_from_ms=None,
            )
            described = call.keyring.describe(replica)
            call.resources.guard.check(policy, described, call.caller, bypass_lockout_check=bypass)
            others = [replace(one, replica_regions=regions) for one in call.keyring.siblings(primary)]
            call.keyring.put(*others, replica)
        return {
            "ReplicaKeyMetadata": key_metadata(replica, call.now_ms()),
            "ReplicaPolicy": policy,
            "ReplicaTags": [{"TagKey": name, "TagValue": text} for name, text in tags.items()],
        }

    there = {"aws:RequestedRegion": region}
    checks = [
        call.check(
            found,
            context={
                "kms:ReplicaRegion": region,
                "kms:BypassPolicyLockoutSafetyCheck": "true" if bypass else "false",
            },
        ),
        call.account_check(action="kms:CreateKey", context=there | {"kms:MultiRegion": "true"} | tag_context(tags)),
    ]
    if tags:
        checks.append(call.account_check(action="kms:TagResource", context=there | tag_context(tags)))
    return call.prepared(*checks, run=run)


def update_primary_region(call: Call) -> Prepared:
    """Make a replica the primary, and the primary a replica. Spec: KMS API, UpdatePrimaryRegion."""
    found = call.key()
    region = call.request.text("PrimaryRegion")
    replica = call.keyring.find(found.record.arn_in(region)) if region != found.record.region else None

    def run() -> Response:
        with call.keyring.lock:
            primary = _require_primary(call.usable(found.record))
            if replica is None:
                raise AwsError(AwsCode.NOT_FOUND, f"{primary.arn_in(region)} does not exist.")
            call.usable(replica)
            regions = tuple(one for one in primary.regions if one != region)
            changed = [
                replace(
                    one,
                    primary_region=region,
                    replica_regions=regions,
                    rotation_period_days=primary.rotation_period_days if one.region == region else None,
                    rotation_from_ms=primary.rotation_from_ms if one.region == region else None,
                )
                for one in call.keyring.siblings(primary)
            ]
            call.keyring.put(*changed)
        return {}

    checks = [call.check(found, context={"kms:PrimaryRegion": region})]
    if replica is not None:
        named = FoundKey(record=replica, alias=None)
        checks.append(call.check(named, context={"kms:PrimaryRegion": region}))
    return call.prepared(*checks, run=run)
