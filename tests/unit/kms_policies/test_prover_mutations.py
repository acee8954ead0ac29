"""Every weakening of every shipped template turns a proof into a counterexample; and what it weakens was proven before."""

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kms_policies.document import PolicyKind, parse_policy
from kms_policies.operations import ESCALATION_ACTIONS, PLAINTEXT_ACTIONS
from kms_policies.prover import ApprovedMeasurements, Proof, Question, prove
from kms_policies.rendering import TRAITS, Template, parse_inputs, render
from kms_policies.request import KeyMetadata
from pcrgate.units import KeyArn, Sha384
from tests.unit.kms_policies import template_inputs as given

Policy = dict[str, Any]
Statement = dict[str, Any]
ROOT, DEVELOPER = f"arn:aws:iam::{given.ACCOUNT}:root", f"arn:aws:iam::{given.ACCOUNT}:role/developer"
SESSION = f"arn:aws:sts::{given.ACCOUNT}:assumed-role/enclave-parent/session"
ADMINISTRATORS = frozenset({given.ADMINISTRATOR, given.SECOND_ADMINISTRATOR, ROOT})
UNAPPROVED, ZERO = "e9" * 48, "0" * 96
KEYS = [template for template in Template if TRAITS[template].kind is PolicyKind.KEY]
# Its two halves are what an ordinary key rules out; the key here may be replicated and imported into.
OPEN_KEY = KeyMetadata(
    arn=KeyArn.parse(f"arn:aws:kms:eu-central-1:{given.ACCOUNT}:key/mrk-{'1' * 32}"),
    origin="EXTERNAL",
    multi_region=True,
)


def approved(template: Template) -> ApprovedMeasurements:
    read = Sha384.from_hex
    if TRAITS[template].nitrotpm:
        return ApprovedMeasurements(nitrotpm=({4: read(given.PCR4), 7: read(given.PCR7), 12: read(given.PCR12)},))
    return ApprovedMeasurements(pcr0=frozenset({read(given.PCR0), read(given.PCR0_NEXT)}))


def rendered(template: Template, **further: object) -> Policy:
    fields = given.input_fields(template) | further
    policy: Policy = json.loads(render(template, parse_inputs(template, fields)))
    return policy


def ask(template: Template, policy: Policy, **further: Any) -> Proof:
    parsed = parse_policy(json.dumps(policy), kind=PolicyKind.KEY)
    return prove(Question(key_policy=parsed, approved=approved(template), administrators=ADMINISTRATORS, **further))


def on_attestation(statement: Statement) -> bool:
    keys = (key for block in statement.get("Condition", {}).values() for key in block)
    return any(key.startswith("kms:RecipientAttestation:") for key in keys)


def places(policy: Policy, effect: str) -> list[int]:
    return [i for i, s in enumerate(policy["Statement"]) if s["Effect"] == effect and on_attestation(s)]


def changed(policy: Policy, place: int, change: Callable[[Statement], None]) -> Policy:
    copied = copy.deepcopy(policy)
    change(copied["Statement"][place])
    return copied


def without(policy: Policy, *drop: int) -> Policy:
    return policy | {"Statement": [s for i, s in enumerate(policy["Statement"]) if i not in drop]}


def plus(policy: Policy, *statements: Statement) -> Policy:
    return policy | {"Statement": [*policy["Statement"], *statements]}


def allow(principal: str, *actions: str) -> Statement:
    return {"Effect": "Allow", "Principal": {"AWS": principal}, "Action": list(actions), "Resource": "*"}


def _conditions(statement: Statement) -> tuple[str, dict[str, Any]]:
    """The operator on attestation keys and its keys, taken out of the statement's other conditions."""
    operator = next(op for op, block in statement["Condition"].items() if any("Attestation" in key for key in block))
    return operator, statement["Condition"].pop(operator)


def _operator(name: str) -> Callable[[Statement], None]:
    def change(statement: Statement) -> None:
        _, block = _conditions(statement)
        statement["Condition"].setdefault(name, {}).update(block)

    return change


def _values(make: Callable[[list[str]], list[str]], operator: str | None = None) -> Callable[[Statement], None]:
    def change(statement: Statement) -> None:
        name, block = _conditions(statement)
        for key, values in block.items():
            block[key] = make(values if isinstance(values, list) else [values])
        statement["Condition"].setdefault(operator or name, {}).update(block)

    return change


def _presence(wanted: str) -> Callable[[Statement], None]:
    def change(statement: Statement) -> None:
        _, block = _conditions(statement)
        statement["Condition"]["Null"] = dict.fromkeys(block, wanted)

    return change


def _escape(statement: Statement) -> None:
    statement["Condition"].setdefault("StringNotEquals", {})["aws:SourceVpce"] = "vpce-1"


def _spare(statement: Statement) -> None:
    del statement["Principal"]
    statement["NotPrincipal"] = {"AWS": [ROOT, given.PARENT, SESSION]}


def _no_condition(statement: Statement) -> None:
    del statement["Condition"]


DENY_WEAKENINGS: dict[str, Callable[[Statement], None]] = {
    "positive operator": _operator("StringEqualsIgnoreCase"),
    "ForAnyValue": _operator("ForAnyValue:StringNotEqualsIgnoreCase"),
    "zero PCR": _values(lambda values: [*values, ZERO]),
    "unapproved PCR": _values(lambda values: [*values, UNAPPROVED]),
    "wildcard": _values(lambda _: ["*"], "StringNotLike"),
    "prefix": _values(lambda values: [values[0][:8] + "*"], "StringNotLike"),
    "absence only": _presence("true"),
    "escape through an endpoint": _escape,
    "NotPrincipal": _spare,
    "another principal": lambda statement: statement.update(Principal={"AWS": DEVELOPER}),
    "another resource": lambda statement: statement.update(Resource=given.KEY_ARN.replace("12345678", "99999999")),
}
ALLOW_WEAKENINGS: dict[str, Callable[[Statement], None]] = {
    "no condition": _no_condition,
    "IfExists": _operator("StringEqualsIgnoreCaseIfExists"),
    "ForAllValues": _operator("ForAllValues:StringEqualsIgnoreCase"),
    "negated": _operator("StringNotEqualsIgnoreCase"),
    "zero PCR": _values(lambda values: [*values, ZERO]),
    "unapproved PCR": _values(lambda values: [*values, UNAPPROVED]),
    "wildcard": _values(lambda values: [values[0][:8] + "*"], "StringLike"),
    "presence only": _presence("false"),
    "variable": _values(lambda _: ["${aws:PrincipalTag/pcr}"], "StringEquals"),
}


@pytest.mark.parametrize("template", KEYS, ids=lambda template: template.value)
def test_each_template_is_proven_with_and_without_root_delegation(template: Template) -> None:
    for delegation in (False, True):
        proof = ask(template, rendered(template, root_delegation=delegation))
        assert proof.proven, proof.counterexamples
        # What this rests on is said: no one outside the declared administrators may change the policy.
        assert all(anchor.declared for anchor in proof.trust_anchors)


def weakened_denies(template: Template) -> Iterator[tuple[str, Policy]]:
    policy = rendered(template, root_delegation=True)
    for place in places(policy, "Deny"):
        yield f"{place} dropped", without(policy, place)
        for name, change in DENY_WEAKENINGS.items():
            yield f"{place} {name}", changed(policy, place, change)


@pytest.mark.parametrize("template", KEYS, ids=lambda template: template.value)
def test_every_weakening_of_a_deny_opens_a_delegated_key(template: Template) -> None:
    survivors, seen = [], 0
    for name, policy in weakened_denies(template):
        seen += 1
        proof = ask(template, policy, key=OPEN_KEY)
        if proof.proven or not all(one.replayed for one in proof.counterexamples):
            survivors.append(name)
    assert seen >= len(DENY_WEAKENINGS) + 1
    assert not survivors


@pytest.mark.parametrize("template", KEYS, ids=lambda template: template.value)
def test_every_weakening_of_the_allow_opens_a_key_without_its_deny(template: Template) -> None:
    policy = rendered(template)
    policy = without(policy, *places(policy, "Deny"))
    assert ask(template, policy).proven
    survivors = [
        (place, name)
        for place in places(policy, "Allow")
        for name, change in ALLOW_WEAKENINGS.items()
        if ask(template, changed(policy, place, change)).proven
    ]
    assert places(policy, "Allow")
    assert not survivors


@pytest.mark.parametrize("template", KEYS, ids=lambda template: template.value)
def test_the_deny_outlives_every_weakening_of_the_allow(template: Template) -> None:
    policy = rendered(template)
    for place in places(policy, "Allow"):
        weakened = changed(policy, place, _no_condition)
        assert ask(template, plus(weakened, allow(given.PARENT, *PLAINTEXT_ACTIONS))).proven


def _unlisted(policy: Policy) -> int:
    return next(i for i, s in enumerate(policy["Statement"]) if s["Effect"] == "Deny" and "NotAction" in s)


@pytest.mark.parametrize("template", KEYS, ids=lambda template: template.value)
def test_every_action_of_the_denies_is_needed(template: Template) -> None:
    policy = rendered(template)
    listed = without(policy, _unlisted(policy))
    for action in sorted(PLAINTEXT_ACTIONS | ESCALATION_ACTIONS):
        open_policy = plus(listed, allow(given.PARENT, action))
        key = None if action in PLAINTEXT_ACTIONS else OPEN_KEY
        assert ask(template, open_policy, key=key).proven, action

        def forget(statement: Statement, action: str = action) -> None:
            actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
            statement["Action"] = [one for one in actions if one != action] or ["kms:ListGrants"]

        for place, statement in enumerate(open_policy["Statement"]):
            if statement["Effect"] == "Deny":
                open_policy = changed(open_policy, place, forget)
        proof = ask(template, open_policy, key=key)
        assert not proof.proven, action
        assert any(action in {one.request.action, *one.actions_alike} for one in proof.counterexamples)


@pytest.mark.parametrize("template", KEYS, ids=lambda template: template.value)
def test_operations_of_tomorrow_are_stopped_by_the_deny_of_unlisted_ones_alone(template: Template) -> None:
    policy = plus(rendered(template), allow(DEVELOPER, "kms:*"))
    assert ask(template, policy).proven
    proof = ask(template, without(policy, _unlisted(policy)))
    assert "future-operation" in {hole.value for hole in proof.holes}


@pytest.mark.parametrize("template", [Template.PARENT_ROLE, Template.NITROTPM_PARENT_ROLE], ids=lambda t: t.value)
def test_every_weakening_of_a_parent_role_opens_a_delegated_key(template: Template) -> None:
    key = {"Version": "2012-10-17", "Statement": [allow(ROOT, "kms:Decrypt", "kms:GenerateDataKey")]}
    key["Statement"][0]["Condition"] = {"ArnNotEquals": {"aws:PrincipalArn": ROOT}}  # type: ignore[index]
    metadata = KeyMetadata(arn=KeyArn.parse(given.KEY_ARN))

    def with_role(policy: Policy) -> Proof:
        parsed = parse_policy(json.dumps(policy), kind=PolicyKind.IDENTITY)
        complete = frozenset({given.ACCOUNT})
        return ask(template, key, identity_policies={given.PARENT: (parsed,)}, identity_complete=complete, key=metadata)

    policy = rendered(template)
    assert with_role(policy).proven
    bare = without(policy, *places(policy, "Deny"))
    # Random bytes come from no key: no key policy is asked about them.
    keyed = [place for place in places(bare, "Allow") if bare["Statement"][place]["Action"] != "kms:GenerateRandom"]
    assert keyed
    for place in keyed:
        for name, change in ALLOW_WEAKENINGS.items():
            assert not with_role(changed(bare, place, change)).proven, name


@pytest.mark.parametrize(
    "template", [Template.RESOURCE_CONTROL_POLICY, Template.NITROTPM_RESOURCE_CONTROL_POLICY], ids=lambda t: t.value
)
def test_every_weakening_of_a_resource_control_policy_opens_a_careless_key(template: Template) -> None:
    key = {"Version": "2012-10-17", "Statement": [allow(given.PARENT, "kms:Decrypt")]}
    metadata = KeyMetadata(arn=KeyArn.parse(given.KEY_ARN))

    def under(policy: Policy) -> Proof:
        parsed = parse_policy(json.dumps(policy), kind=PolicyKind.RESOURCE_CONTROL)
        return ask(template, key, resource_control_policies=(parsed,), key=metadata)

    policy = rendered(template)
    assert under(policy).proven
    assert places(policy, "Deny")
    for place in places(policy, "Deny"):
        assert len(policy["Statement"]) == 1 or not under(without(policy, place)).proven
        for name, change in DENY_WEAKENINGS.items():
            if name not in {"NotPrincipal", "another principal"}:  # its principal can only be everyone
                assert not under(changed(policy, place, change)).proven, name
