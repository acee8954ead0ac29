"""Key policies and tags."""

from dataclasses import replace
from typing import Final

from pcrgate.twin.kms.call import Call
from pcrgate.twin.kms.fields import TAGS_MAX_COUNT
from pcrgate.twin.kms.interface import Prepared, Response
from pcrgate.twin.kms.operations_keys import tag_context
from pcrgate.twin.kms.paging import page
from pcrgate.twin.kms.policy_guard import check_policy_text
from pcrgate.twin.kms.records import KeyRecord
from pcrgate.twin.kms.service_errors import AwsCode, AwsError

POLICY_NAME: Final = "default"
"""The only name a key policy can have. Spec: KMS API, PutKeyPolicy."""


def _check_policy_name(call: Call) -> None:
    if call.request.text("PolicyName", POLICY_NAME) != POLICY_NAME:
        raise AwsError(AwsCode.NOT_FOUND, "No such policy exists")


def get_key_policy(call: Call) -> Prepared:
    """Return the key policy. Spec: KMS API, GetKeyPolicy."""
    found = call.key()
    _check_policy_name(call)

    def run() -> Response:
        return {"Policy": call.usable(found.record).policy, "PolicyName": POLICY_NAME}

    return call.prepared(call.check(found), run=run)


def put_key_policy(call: Call) -> Prepared:
    """Replace the key policy, if its author can still change it afterwards. Spec: KMS API, PutKeyPolicy."""
    found = call.key()
    _check_policy_name(call)
    policy = call.request.text("Policy")
    bypass = call.request.flag("BypassPolicyLockoutSafetyCheck")

    def change(key: KeyRecord) -> KeyRecord:
        check_policy_text(policy)
        changed = replace(call.usable(key), policy=policy)
        described = call.keyring.describe(changed)
        call.resources.guard.check(policy, described, call.caller, bypass_lockout_check=bypass)
        return changed

    def run() -> Response:
        call.keyring.update(found.record.arn, change)
        return {}

    context = {"kms:BypassPolicyLockoutSafetyCheck": "true" if bypass else "false"}
    return call.prepared(call.check(found, context=context), run=run)


def list_key_policies(call: Call) -> Prepared:
    """Return the one policy name. Spec: KMS API, ListKeyPolicies."""
    found = call.key()

    def run() -> Response:
        call.usable(found.record)
        return page([(POLICY_NAME, POLICY_NAME)], "PolicyNames", call.request)

    return call.prepared(call.check(found), run=run)


def tag_resource(call: Call) -> Prepared:
    """Add or change tags. Spec: KMS API, TagResource."""
    found = call.key()
    tags = call.request.tags()

    def change(key: KeyRecord) -> KeyRecord:
        merged = dict(call.usable(key).tags) | tags
        if len(merged) > TAGS_MAX_COUNT:
            raise AwsError(AwsCode.LIMIT_EXCEEDED, f"Too many tags: a key has at most {TAGS_MAX_COUNT}")
        return replace(key, tags=merged)

    def run() -> Response:
        call.keyring.update(found.record.arn, change)
        return {}

    return call.prepared(call.check(found, context=tag_context(tags)), run=run)


def untag_resource(call: Call) -> Prepared:
    """Remove tags. Spec: KMS API, UntagResource."""
    found = call.key()
    names = call.request.texts("TagKeys")

    def change(key: KeyRecord) -> KeyRecord:
        kept = {name: text for name, text in call.usable(key).tags.items() if name not in names}
        return replace(key, tags=kept)

    def run() -> Response:
        call.keyring.update(found.record.arn, change)
        return {}

    return call.prepared(call.check(found, context={"aws:TagKeys": names}), run=run)


def list_resource_tags(call: Call) -> Prepared:
    """Return a key's tags, ordered by key. Spec: KMS API, ListResourceTags."""
    found = call.key()

    def run() -> Response:
        tags = call.usable(found.record).tags
        entries = [(name, {"TagKey": name, "TagValue": tags[name]}) for name in sorted(tags)]
        return page(entries, "Tags", call.request)

    return call.prepared(call.check(found), run=run)
