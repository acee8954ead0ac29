import hashlib
import json
import re
from typing import Any

import pytest

from kms_policies.document import PolicyKind
from kms_policies.plans import SOURCE_MAX_BYTES, read_policies
from kms_policies.rendering import Template, parse_inputs, render
from pcrgate.errors import ErrorCode, KeyPolicyError
from tests.unit.kms_policies.template_inputs import input_fields


def text_of(template: Template) -> str:
    return render(template, parse_inputs(template, input_fields(template)))


POLICY = text_of(Template.MODEL_WEIGHTS_KEY)
OTHER = text_of(Template.SESSION_KEY)


def resource(address: str, values: dict[str, Any], mode: str = "managed") -> dict[str, Any]:
    return {
        "address": address,
        "mode": mode,
        "type": re.sub(r'\[(".*"|\d)\]', "", address).split(".")[-2],
        "values": values,
    }


def plan(*resources: dict[str, Any], references: dict[str, list[str]] | None = None, **more: Any) -> bytes:
    configured = [
        {"address": address, "type": address.split(".")[0], "expressions": {"key_id": {"references": found}}}
        for address, found in (references or {}).items()
    ]
    return json.dumps(
        {
            "format_version": "1.2",
            "planned_values": {"root_module": {"resources": list(resources)}},
            "configuration": {"root_module": {"resources": configured}},
        }
        | more
    ).encode()


def refusal(source: bytes, kind: PolicyKind = PolicyKind.KEY) -> KeyPolicyError:
    with pytest.raises(KeyPolicyError) as refused:
        read_policies(source, kind=kind)
    return refused.value


def test_the_hash_is_that_of_the_text() -> None:
    """One text has one hash, wherever it was found; another text another one, though it means the same."""
    expected = hashlib.sha384(POLICY.encode()).digest()
    sources = (
        POLICY.encode(),
        POLICY.encode() + b"\n",
        json.dumps({"Policy": POLICY}).encode(),
        plan(resource("aws_kms_key.it", {"policy": POLICY})),
        plan(
            resource("aws_kms_key.it", {}),
            resource("aws_kms_key_policy.it", {"policy": POLICY}),
            references={"aws_kms_key_policy.it": ["aws_kms_key.it.id", "aws_kms_key.it"]},
        ),
    )
    assert [read_policies(source)[0].policy_sha384.digest for source in sources] == [expected] * len(sources)
    spaced = json.dumps(json.loads(POLICY), indent=2)
    (other,) = read_policies(spaced.encode())
    assert other.policy.statements == read_policies(POLICY.encode())[0].policy.statements
    assert other.policy_sha384.digest == hashlib.sha384(spaced.encode()).digest() != expected
    answered = json.dumps({"Policy": f" {POLICY}"}).encode()
    assert read_policies(answered)[0].policy_sha384.digest != expected


def test_a_policy_and_the_answer_of_get_key_policy() -> None:
    (own,) = read_policies(POLICY.encode())
    (answer,) = read_policies(json.dumps({"Policy": POLICY, "PolicyName": "default"}).encode())
    assert own.policy == answer.policy
    assert own.address == "policy"
    assert own.policy_sha384 == answer.policy_sha384
    (identity,) = read_policies(text_of(Template.PARENT_ROLE).encode(), kind=PolicyKind.IDENTITY)
    assert identity.policy.kind is PolicyKind.IDENTITY


def test_every_key_policy_of_a_plan_is_found_in_modules_too() -> None:
    source = json.loads(plan(resource("aws_kms_key.one", {"policy": POLICY, "multi_region": False})))
    source["planned_values"]["root_module"]["child_modules"] = [
        {
            "address": "module.session",
            "resources": [
                resource("module.session.aws_kms_key.this[0]", {"key_usage": "ENCRYPT_DECRYPT"}),
                resource('module.session.aws_kms_key_policy.this["a.b"]', {"policy": OTHER}),
                resource("module.session.data.aws_kms_key.x", {}, mode="data"),
            ],
        }
    ]
    source["configuration"]["root_module"]["module_calls"] = {
        "session": {
            "module": {
                "resources": [
                    {
                        "address": "aws_kms_key_policy.this",
                        "type": "aws_kms_key_policy",
                        "expressions": {"key_id": {"references": ["aws_kms_key.this[0].key_id", "aws_kms_key.this"]}},
                    }
                ]
            }
        }
    }
    found = read_policies(json.dumps(source).encode())
    assert [one.address for one in found] == ["aws_kms_key.one", 'module.session.aws_kms_key_policy.this["a.b"]']


def test_a_state_is_read_like_a_plan() -> None:
    key = resource("aws_kms_key.one", {"policy": POLICY, "key_id": "k", "multi_region": True})
    owned = resource("aws_kms_key_policy.one", {"policy": OTHER, "key_id": "k"})
    owned["depends_on"] = ["aws_kms_key.one"]
    state = json.dumps({"format_version": "1.0", "values": {"root_module": {"resources": [key, owned]}}}).encode()
    (found,) = read_policies(state)
    assert (found.address, found.multi_region) == ("aws_kms_key_policy.one", True)


def test_a_key_policy_in_a_module_of_a_state_belongs_to_its_key() -> None:
    key = resource("module.m.aws_kms_key.one", {"policy": OTHER, "key_id": "k"})
    owned = resource("module.m.aws_kms_key_policy.one", {"policy": POLICY, "key_id": "k"})
    owned["depends_on"] = ["module.m.aws_kms_key.one"]
    root = {"child_modules": [{"address": "module.m", "resources": [key, owned]}]}
    (found,) = read_policies(json.dumps({"format_version": "1.0", "values": {"root_module": root}}).encode())
    assert found.address == "module.m.aws_kms_key_policy.one"


def owned(policy: str, references: list[str], *keys: str, planned: list[str] | None = None) -> bytes:
    """Return a plan of keys without a policy of their own, and of a policy resource that refers to some."""
    instances = [resource(address, {"policy": POLICY}) for address in planned or [policy]]
    return plan(*(resource(key, {}) for key in keys), *instances, references={policy: references})


BARE = ["aws_kms_key.k.id", "aws_kms_key.k"]
FIRST = ["aws_kms_key.k[0].id", "aws_kms_key.k[0]", "aws_kms_key.k"]
SAME_KEY = ["aws_kms_key.k", "each.key"]


@pytest.mark.parametrize(
    ("references", "keys", "planned"),
    [
        (BARE, ["aws_kms_key.k"], ["aws_kms_key_policy.p"]),
        (BARE, ["aws_kms_key.k"], ["aws_kms_key_policy.p[0]"]),
        (FIRST, ["aws_kms_key.k[0]"], ["aws_kms_key_policy.p"]),
        (SAME_KEY, ['aws_kms_key.k["a.]b"]'], ['aws_kms_key_policy.p["a.]b"]']),
        (SAME_KEY, [r'aws_kms_key.k["\"]["]'], [r'aws_kms_key_policy.p["\"]["]']),
        (
            ["aws_kms_key.k", "count.index"],
            ["aws_kms_key.k[0]", "aws_kms_key.k[1]"],
            ["aws_kms_key_policy.p[0]", "aws_kms_key_policy.p[1]"],
        ),
    ],
)
def test_a_policy_resource_stands_for_the_key_that_it_can_only_mean(
    references: list[str], keys: list[str], planned: list[str]
) -> None:
    found = read_policies(owned("aws_kms_key_policy.p", references, *keys, planned=planned))
    assert [one.address for one in found] == planned


@pytest.mark.parametrize(
    ("references", "keys", "planned"),
    [
        pytest.param(BARE, ["aws_kms_key.k"], ["aws_kms_key_policy.other"], id="configured with count 0, not planned"),
        pytest.param(FIRST, ["aws_kms_key.k[0]", "aws_kms_key.k[1]"], None, id="the second of two"),
        pytest.param(SAME_KEY, ['aws_kms_key.k["b"]'], ['aws_kms_key_policy.p["a"]'], id="another each.key"),
        pytest.param(SAME_KEY, ['aws_kms_key.k["b"]'], None, id="each.key without an index"),
        pytest.param([*BARE, "var.other"], ["aws_kms_key.k"], None, id="a choice by a variable"),
        pytest.param([*BARE, "aws_kms_key.l"], ["aws_kms_key.k", "aws_kms_key.l"], None, id="a choice of two keys"),
        pytest.param([*FIRST, "aws_kms_key.k[1]"], ["aws_kms_key.k[0]"], None, id="a choice of two instances"),
        pytest.param([*FIRST, "count.index"], ["aws_kms_key.k[0]"], ["aws_kms_key_policy.p[0]"], id="two indexes"),
        pytest.param(["aws_kms_alias.k.id"], ["aws_kms_key.k"], None, id="through an alias"),
        pytest.param([], ["aws_kms_key.k"], None, id="nothing said"),
    ],
)
def test_a_policy_resource_that_may_mean_another_key_covers_none(
    references: list[str], keys: list[str], planned: list[str] | None
) -> None:
    found = refusal(owned("aws_kms_key_policy.p", references, *keys, planned=planned))
    assert found.code is ErrorCode.POLICY_SOURCE_UNKNOWN
    assert "certainly belongs" in found.message


def test_a_dependency_is_no_reference() -> None:
    keys = [resource("aws_kms_key.k", {"policy": OTHER, "key_id": "k"}), resource("aws_kms_key.l", {"key_id": "l"})]
    own = resource("aws_kms_key_policy.p", {"policy": POLICY, "key_id": "k"})
    own["depends_on"] = ["aws_kms_key.l"]
    state = {"format_version": "1.0", "values": {"root_module": {"resources": [*keys, own]}}}
    assert refusal(json.dumps(state).encode()).message.startswith("aws_kms_key.l ")


def test_each_instance_of_a_module_needs_its_own() -> None:
    def source(*indexes: int) -> bytes:
        found = json.loads(plan())
        found["planned_values"]["root_module"]["child_modules"] = [
            {
                "resources": [
                    resource(f"module.m[{index}].aws_kms_key.k", {}),
                    *(
                        [resource(f"module.m[{index}].aws_kms_key_policy.p", {"policy": POLICY})]
                        if index in indexes
                        else []
                    ),
                ]
            }
            for index in (0, 1)
        ]
        expressions = {"key_id": {"references": BARE}}
        configured = {"address": "aws_kms_key_policy.p", "type": "aws_kms_key_policy", "expressions": expressions}
        found["configuration"]["root_module"]["module_calls"] = {"m": {"module": {"resources": [configured]}}}
        return json.dumps(found).encode()

    assert len(read_policies(source(0, 1))) == 2
    assert refusal(source(0)).message.startswith("module.m[1].aws_kms_key.k ")


def test_what_the_key_showed_before_the_change_does_not_count() -> None:
    found = read_policies(
        plan(
            resource("aws_kms_key.one", {"policy": OTHER}),
            resource("aws_kms_key_policy.one", {"policy": POLICY}),
            references={"aws_kms_key_policy.one": ["aws_kms_key.one.id", "aws_kms_key.one"]},
        )
    )
    assert [one.policy for one in found] == [read_policies(POLICY.encode())[0].policy]


def test_a_key_without_a_policy_gets_the_default_one_and_is_refused() -> None:
    found = refusal(
        plan(resource("aws_kms_key.bare", {"policy": None}), resource("aws_kms_key.one", {"policy": POLICY}))
    )
    assert found.code is ErrorCode.POLICY_SOURCE_UNKNOWN
    assert "aws_kms_key.bare" in found.message
    other = plan(
        resource("aws_kms_key.bare", {}),
        resource("aws_kms_key_policy.one", {"policy": POLICY}),
        references={"aws_kms_key_policy.one": ["aws_kms_key.one.id"]},
    )
    assert refusal(other).code is ErrorCode.POLICY_SOURCE_UNKNOWN


def test_a_policy_known_only_after_apply_is_refused() -> None:
    references = {"aws_kms_key_policy.one": ["aws_kms_key.one"]}
    key = resource("aws_kms_key.one", {})
    missing = plan(key, resource("aws_kms_key_policy.one", {}), references=references)
    assert refusal(missing).code is ErrorCode.POLICY_SOURCE_UNKNOWN
    changes = [{"address": "aws_kms_key_policy.one", "change": {"after_unknown": {"policy": True}}}]
    stale = plan(
        key,
        resource("aws_kms_key_policy.one", {"policy": POLICY}),
        references=references,
        resource_changes=[*changes, {"address": "x", "change": {"after_unknown": False}}],
    )
    assert refusal(stale).code is ErrorCode.POLICY_SOURCE_UNKNOWN


@pytest.mark.parametrize(
    ("type_", "values", "expected"),
    [
        ("aws_kms_key", {"multi_region": True}, (True, "AWS_KMS", "SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")),
        ("aws_kms_external_key", {}, (False, "EXTERNAL", "SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")),
        ("aws_kms_replica_key", {}, (True, "AWS_KMS", "SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")),
        (
            "aws_kms_key",
            {"customer_master_key_spec": "ECC_NIST_P384", "key_usage": "KEY_AGREEMENT"},
            (False, "AWS_KMS", "ECC_NIST_P384", "KEY_AGREEMENT"),
        ),
    ],
)
def test_what_the_plan_says_of_the_key_comes_along(
    type_: str, values: dict[str, Any], expected: tuple[bool, str, str, str]
) -> None:
    (found,) = read_policies(plan(resource(f"{type_}.one", {"policy": POLICY, **values})))
    assert (found.multi_region, found.origin, found.key_spec, found.key_usage) == expected


def test_a_policy_whose_key_is_not_told_is_judged_as_of_the_most_open_key() -> None:
    def found(*multi_region: bool) -> bool:
        keys = [
            resource(f"aws_kms_key.k{index}", {"policy": POLICY, "multi_region": each})
            for index, each in enumerate(multi_region)
        ]
        return read_policies(plan(*keys, resource("aws_kms_key_policy.p", {"policy": OTHER})))[-1].multi_region

    assert found(False, True)
    assert not found(False, False)
    assert found(True)
    assert not found()


def test_grants_of_a_plan_belong_to_every_key() -> None:
    grant = {
        "grantee_principal": "arn:aws:iam::111122223333:role/x",
        "operations": ["Decrypt"],
        "constraints": [{"encryption_context_equals": {"class": "weights"}}],
    }
    (found,) = read_policies(plan(resource("aws_kms_key.one", {"policy": POLICY}), resource("aws_kms_grant.g", grant)))
    (read,) = found.grants
    assert (read.grant_id, sorted(read.operations)) == ("aws_kms_grant.g", ["Decrypt"])
    assert read.encryption_context_equals == {"class": "weights"}
    for unknown in ({**grant, "grantee_principal": None}, {**grant, "operations": None}):
        source = plan(resource("aws_kms_key.one", {"policy": POLICY}), resource("aws_kms_grant.g", unknown))
        assert refusal(source).code is ErrorCode.POLICY_SOURCE_UNKNOWN
    changes = [{"address": "aws_kms_grant.g", "change": {"after_unknown": {"grantee_principal": True}}}]
    source = plan(
        resource("aws_kms_key.one", {"policy": POLICY}), resource("aws_kms_grant.g", grant), resource_changes=changes
    )
    assert refusal(source).code is ErrorCode.POLICY_SOURCE_UNKNOWN


def test_a_bad_policy_in_a_plan_is_named_by_its_address() -> None:
    found = refusal(plan(resource("aws_kms_key.one", {"policy": '{"Statement": []}'})))
    assert found.message.startswith("aws_kms_key.one: ")


@pytest.mark.parametrize(
    ("source", "code"),
    [
        (b"", ErrorCode.POLICY_JSON),
        (b"{", ErrorCode.POLICY_JSON),
        (b"\xff\xfe", ErrorCode.POLICY_JSON),
        (b"[" * 100_000, ErrorCode.POLICY_JSON),
        (b"[]", ErrorCode.POLICY_SOURCE),
        (b"{}", ErrorCode.POLICY_SOURCE),
        (b'{"Policy": {}}', ErrorCode.POLICY_SOURCE),
        (b'{"format_version": "1.2"}', ErrorCode.POLICY_SOURCE),
        (b'{"format_version": "1.2", "planned_values": {"root_module": 3}}', ErrorCode.POLICY_SOURCE),
        (b'{"format_version": "1.2", "values": {"root_module": {"resources": 1}}}', ErrorCode.POLICY_SOURCE),
        (b'{"format_version": "1.2", "planned_values": {"root_module": {}}}', ErrorCode.POLICY_SOURCE),
        (
            (
                b'{"format_version": "1", "planned_values": {"root_module": {}}, "resource_changes": [{"change": 1}],'
                b' "configuration": {"root_module": {"module_calls": {"a": 1, "b": {"module": {"resources": [{}, {"type": '
                b'"aws_kms_key_policy", "expressions": 1}]}}}}}}'
            ),
            ErrorCode.POLICY_SOURCE,
        ),
        (b'{"Statement": [], "Statement": []}', ErrorCode.POLICY_DUPLICATE_KEY),
        (b'{"Version": "2012-10-17", "Version": "2008-10-17"}', ErrorCode.POLICY_DUPLICATE_KEY),
        (b'{"Policy": "{}", "Policy": "{}"}', ErrorCode.POLICY_DUPLICATE_KEY),
        *((POLICY.encode(width), ErrorCode.POLICY_JSON) for width in ("utf-16-le", "utf-16-be", "utf-16", "utf-32-le")),
    ],
)
def test_everything_else_is_refused(source: bytes, code: ErrorCode) -> None:
    assert refusal(source).code is code


@pytest.mark.parametrize("text", ["{}", POLICY, ""])
def test_a_byte_order_mark_is_named(text: str) -> None:
    found = refusal(b"\xef\xbb\xbf" + text.encode())
    assert (found.code, "byte order mark" in found.message) == (ErrorCode.POLICY_JSON, True)


def test_a_plan_holds_no_identity_policies_for_us() -> None:
    source = plan(resource("aws_kms_key.one", {"policy": POLICY}))
    assert refusal(source, PolicyKind.IDENTITY).code is ErrorCode.POLICY_SOURCE


def test_the_size_is_bounded() -> None:
    assert refusal(b" " * (SOURCE_MAX_BYTES + 1)).code is ErrorCode.POLICY_TOO_LARGE
    assert refusal(b" " * SOURCE_MAX_BYTES).code is ErrorCode.POLICY_JSON
    assert refusal(b"\xff" * (SOURCE_MAX_BYTES + 1)).code is ErrorCode.POLICY_TOO_LARGE  # nothing of it is decoded


def test_a_state_tells_the_neighbour_that_a_plan_cannot() -> None:
    """``[count.index + 1]`` looks like ``[count.index]`` in a plan; in the state the policy names its key by id."""
    key, policy = (
        [resource(f"aws_kms_key.k[{index}]", {"key_id": f"id-{index}"}) for index in (0, 1)],
        {"policy": POLICY},
    )
    references = {"aws_kms_key_policy.p": ["aws_kms_key.k", "count.index"]}
    planned = plan(
        *(resource(one["address"], {}) for one in key), resource("aws_kms_key_policy.p[0]", policy),
        references=references,
    )  # fmt: skip
    applied = plan(*key, resource("aws_kms_key_policy.p[0]", policy | {"key_id": "id-1"}), references=references)
    assert "aws_kms_key.k[1] shows no policy" in refusal(planned).message
    assert "aws_kms_key.k[0] shows no policy" in refusal(applied).message
