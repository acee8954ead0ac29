"""Every shipped key policy is proven; every weakening of its gate is a counterexample; every Deny closes its attack."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from kms_policies.document import Policy, PolicyKind, parse_policy
from kms_policies.evaluator import evaluate
from kms_policies.inputs import KeyPolicyInputs, NitroTpmMeasurements
from kms_policies.prover import ApprovedMeasurements, Question, Verdict, prove
from kms_policies.rendering import TRAITS, Template, parse_inputs, render
from kms_policies.request import KeyMetadata, Principal, Request
from pcrgate.units import KeyArn
from tests.unit.kms_policies.template_inputs import (
    ADMINISTRATOR,
    FOREIGN_PARENT,
    KEY_ARN,
    PARENT,
    PCR0,
    PCR1,
    PCR2,
    PCR3,
    PCR8,
    PUBLISHER,
    input_fields,
)

KEYS = [template for template in Template if TRAITS[template].kind is PolicyKind.KEY]
OTHER_ROLE = "arn:aws:iam::111122223333:role/other"
FULL = parse_policy(
    json.dumps({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "kms:*", "Resource": "*"}}),
    kind=PolicyKind.IDENTITY,
)
Document = dict[str, Any]


def inputs_of(template: Template, *, every: bool = False, **changed: object) -> KeyPolicyInputs:
    found = parse_inputs(template, {**input_fields(template, every=every), **changed})
    assert isinstance(found, KeyPolicyInputs)
    return found


def document_of(template: Template, *, every: bool = False, **changed: object) -> Document:
    document = json.loads(render(template, inputs_of(template, every=every, **changed)))
    assert isinstance(document, dict)
    return document


def approved(inputs: KeyPolicyInputs) -> ApprovedMeasurements:
    """Return what the inputs approve, as the prover takes it."""
    measured = inputs.measurements
    if isinstance(measured, NitroTpmMeasurements):
        sets = tuple(
            {4: pcr4, 7: pcr7, 12: pcr12}
            for pcr4 in measured.pcr4
            for pcr7 in measured.pcr7
            for pcr12 in measured.pcr12
        )
        return ApprovedMeasurements(nitrotpm=sets)
    further = {1: measured.pcr1, 2: measured.pcr2, 3: measured.pcr3, 8: measured.pcr8}
    return ApprovedMeasurements(
        pcr0=frozenset(measured.pcr0), further={index: frozenset(values) for index, values in further.items() if values}
    )


def question(document: Document | str, inputs: KeyPolicyInputs) -> Question:
    text = document if isinstance(document, str) else json.dumps(document)
    return Question(
        key_policy=parse_policy(text, kind=PolicyKind.KEY),
        approved=approved(inputs),
        administrators=frozenset(inputs.administrators),
    )


@pytest.mark.parametrize("every", [False, True])
@pytest.mark.parametrize("template", KEYS)
def test_every_shipped_key_policy_is_proven(template: Template, *, every: bool) -> None:
    inputs = inputs_of(template, every=every)
    proof = prove(question(render(template, inputs), inputs))
    assert proof.proven
    anchors = {name.strip() for one in proof.trust_anchors for name in one.principal.split(",")}
    assert anchors == set(inputs.administrators)
    minters = {name.strip() for one in proof.can_mint for name in one.principal.split(",")}
    assert minters == set(inputs.publishers)


@pytest.mark.parametrize("template", KEYS)
def test_an_undeclared_administrator_is_a_counterexample(template: Template) -> None:
    inputs = inputs_of(template)
    asked = question(render(template, inputs), inputs)
    proof = prove(Question(key_policy=asked.key_policy, approved=asked.approved))
    assert (proof.plaintext, proof.escalation) == (Verdict.PROVEN, Verdict.COUNTEREXAMPLE)


def gate(document: Document) -> dict[str, Any]:
    found = next(one for one in document["Statement"] if one["Sid"].startswith("DenyReleaseUnless"))
    assert isinstance(found, dict)
    return found


def swap(operator: str) -> Callable[[Document], None]:
    def change(document: Document) -> None:
        statement = gate(document)
        (values,) = statement["Condition"].values()
        statement["Condition"] = {operator: values}

    return change


def values_of(document: Document) -> tuple[dict[str, Any], str, list[str]]:
    (values,) = gate(document)["Condition"].values()
    ((key, listed),) = values.items()
    return values, key, listed


def drop(document: Document) -> None:
    document["Statement"].remove(gate(document))


def more(value: str) -> Callable[[Document], None]:
    def change(document: Document) -> None:
        values_of(document)[2].append(value)

    return change


def misspell_and_turn(document: Document) -> None:
    values, key, listed = values_of(document)
    del values[key]
    gate(document)["Condition"] = {"StringEquals": {key.replace("Attestation", "Atestation"): listed}}


def forget_an_operation(document: Document) -> None:
    gate(document)["Action"].remove("kms:Decrypt")


def name_principals(document: Document) -> None:
    gate(document)["Principal"] = {"AWS": OTHER_ROLE}


def only_null(document: Document) -> None:
    _, key, _ = values_of(document)
    gate(document)["Condition"] = {"Null": {key: "true"}}


WEAKENINGS: list[Callable[[Document], None]] = [
    drop,
    swap("StringEquals"),
    swap("StringEqualsIgnoreCaseIfExists"),
    swap("ForAnyValue:StringNotEqualsIgnoreCase"),
    more("e" * 96),
    misspell_and_turn,
    forget_an_operation,
    name_principals,
    only_null,
]


@pytest.mark.parametrize("template", KEYS)
@pytest.mark.parametrize("weaken", WEAKENINGS)
def test_every_weakening_of_the_gate_is_a_counterexample(
    template: Template, weaken: Callable[[Document], None]
) -> None:
    inputs = inputs_of(template, root_delegation=True)
    document = document_of(template, root_delegation=True)
    assert prove(question(document, inputs)).proven
    weaken(document)
    proof = prove(question(document, inputs))
    assert proof.plaintext is Verdict.COUNTEREXAMPLE
    assert all(one.replayed for one in proof.counterexamples)


def widen_the_allow(document: Document) -> None:
    allow = next(one for one in document["Statement"] if one["Sid"].startswith("AllowRelease"))
    del allow["Condition"]["StringEqualsIgnoreCase"]


@pytest.mark.parametrize("template", KEYS)
def test_the_allow_and_the_deny_hold_independently_of_each_other(template: Template) -> None:
    inputs = inputs_of(template)
    for weaken in (widen_the_allow, drop):
        document = document_of(template)
        weaken(document)
        proven = prove(question(document, inputs)).proven
        # A set of three NitroTPM registers and an operator on several keys leave the other two gates standing.
        assert proven
    document = document_of(template)
    widen_the_allow(document)
    while any(one["Sid"].startswith("DenyReleaseUnless") for one in document["Statement"]):
        drop(document)
    assert prove(question(document, inputs)).plaintext is Verdict.COUNTEREXAMPLE


def without(document: Document, *sids: str) -> Policy:
    kept = [one for one in document["Statement"] if one["Sid"] not in sids]
    assert len(kept) == len(document["Statement"]) - len(sids)
    return parse_policy(json.dumps({**document, "Statement": kept}), kind=PolicyKind.KEY)


CLASS = {"kms:EncryptionContext:class": "weights"}
PCRS = {f"kms:RecipientAttestation:PCR{index}": value for index, value in enumerate((PCR0, PCR1, PCR2, PCR3))} | {
    "kms:RecipientAttestation:PCR8": PCR8
}


def attacks() -> Iterator[tuple[str, tuple[str, ...], str, str, dict[str, str]]]:
    """Yield for each Deny: what backs it up, who attacks, by which action, carrying what."""
    for index in (0, 1, 2, 3, 8):
        wrong = CLASS | PCRS | {f"kms:RecipientAttestation:PCR{index}": "f" * 96}
        yield f"DenyReleaseUnlessPCR{index}", (), PARENT, "Decrypt", wrong
        missing = {key: value for key, value in wrong.items() if not key.endswith(f"PCR{index}")}
        yield f"DenyReleaseUnlessPCR{index}", (), PARENT, "Decrypt", missing
    yield "DenyReleaseByOthers", (), OTHER_ROLE, "Decrypt", CLASS | PCRS
    yield "DenySealingByOthers", (), ADMINISTRATOR, "Encrypt", CLASS
    yield "DenySealingByOthers", (), PARENT, "Encrypt", CLASS
    yield "DenyForeignContext", (), PUBLISHER, "Encrypt", {"kms:EncryptionContext:class": "session"}
    yield "DenyForeignContext", (), PARENT, "Decrypt", PCRS
    for action in ("CreateGrant", "ReEncryptFrom", "ReplicateKey", "ImportKeyMaterial", "UpdatePrimaryRegion"):
        carried = CLASS if action == "ReEncryptFrom" else {}
        yield "DenyEscalation", ("DenyUnlistedOperations",), OTHER_ROLE, action, carried
    yield "DenyUnlistedOperations", (), PARENT, "GenerateDataKeyWithoutPlaintext", CLASS
    yield "DenyUnlistedOperations", (), PARENT, "OperationNotYetKnown", {}
    yield "DenyAdministrationByOthers", (), OTHER_ROLE, "PutKeyPolicy", {}
    yield "DenyAdministrationByOthers", (), OTHER_ROLE, "ScheduleKeyDeletion", {}
    days = "kms:ScheduleKeyDeletionPendingWindowInDays"
    yield "DenyHastyDeletion", (), ADMINISTRATOR, "ScheduleKeyDeletion", {days: "13"}
    yield "DenyLockoutBypass", (), ADMINISTRATOR, "PutKeyPolicy", {"kms:BypassPolicyLockoutSafetyCheck": "true"}


@pytest.mark.parametrize(("sid", "backups", "who", "action", "carried"), list(attacks()))
def test_every_deny_closes_its_attack(
    sid: str, backups: tuple[str, ...], who: str, action: str, carried: dict[str, str]
) -> None:
    template = Template.MODEL_WEIGHTS_KEY
    document = document_of(template, every=True, pcr8=[PCR8])
    request = Request(principal=Principal.from_arn(who), action=f"kms:{action}", resource=KEY_ARN, context=carried)

    def allowed(policy: Policy) -> bool:
        return evaluate(request, key_policy=policy, identity_policies=(FULL,)).allowed

    assert not allowed(without(document))
    assert not allowed(without(document, *backups))
    assert allowed(without(document, sid, *backups))


def test_other_accounts_stay_out_whatever_is_allowed_by_mistake() -> None:
    document = document_of(Template.MODEL_WEIGHTS_KEY)
    mistake = {"Sid": "Mistake", "Effect": "Allow", "Principal": "*", "Action": "kms:DescribeKey", "Resource": "*"}
    document["Statement"].append(mistake)
    request = Request(principal=Principal.from_arn(FOREIGN_PARENT), action="kms:DescribeKey", resource=KEY_ARN)
    full = evaluate(request, key_policy=without(document), identity_policies=(FULL,))
    assert not full.allowed
    assert evaluate(request, key_policy=without(document, "DenyOtherAccounts"), identity_policies=(FULL,)).allowed


def test_administrators_manage_and_cannot_lock_themselves_out() -> None:
    policy = without(document_of(Template.MODEL_WEIGHTS_KEY))
    for action in ("PutKeyPolicy", "DescribeKey", "ScheduleKeyDeletion", "CancelKeyDeletion", "RevokeGrant"):
        request = Request(principal=Principal.from_arn(ADMINISTRATOR), action=f"kms:{action}", resource=KEY_ARN)
        assert evaluate(request, key_policy=policy).allowed


DEFAULT = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Sid": "Enable IAM User Permissions",
            "Effect": "Allow",
            "Principal": {"AWS": "arn:aws:iam::111122223333:root"},
            "Action": "kms:*",
            "Resource": "*",
        }
    ],
}
"""What AWS gives a key that was created without a policy."""


@pytest.mark.parametrize("template", [Template.RESOURCE_CONTROL_POLICY, Template.NITROTPM_RESOURCE_CONTROL_POLICY])
def test_a_resource_control_policy_gates_a_key_whatever_its_policy_says(template: Template) -> None:
    key_template = Template.NITROTPM_SESSION_KEY if TRAITS[template].nitrotpm else Template.SESSION_KEY
    text = render(template, parse_inputs(template, input_fields(template)))
    control = parse_policy(text, kind=PolicyKind.RESOURCE_CONTROL)
    asked = Question(
        key_policy=parse_policy(json.dumps(DEFAULT), kind=PolicyKind.KEY),
        approved=approved(inputs_of(key_template)),
        administrators=frozenset({"arn:aws:iam::111122223333:root"}),
        key=KeyMetadata(arn=KeyArn.parse(KEY_ARN)),
    )
    assert prove(asked).plaintext is Verdict.COUNTEREXAMPLE
    assert prove(replace(asked, resource_control_policies=(control,))).plaintext is Verdict.PROVEN


def test_the_role_policies_hold_under_the_default_key_policy_too() -> None:
    default = parse_policy(json.dumps(DEFAULT), kind=PolicyKind.KEY)
    pcr0 = {"kms:RecipientAttestation:PCR0": PCR0}
    tried = {
        Template.PARENT_ROLE: {
            ("Decrypt", frozenset((CLASS | pcr0).items())): True,
            ("GenerateDataKey", frozenset((CLASS | pcr0).items())): True,
            ("DescribeKey", frozenset[tuple[str, str]]()): True,
            ("Decrypt", frozenset(CLASS.items())): False,
            ("Decrypt", frozenset(pcr0.items())): False,
            ("Decrypt", frozenset((CLASS | {"kms:RecipientAttestation:PCR0": PCR1}).items())): False,
            ("Encrypt", frozenset(CLASS.items())): False,
            ("GenerateDataKeyWithoutPlaintext", frozenset(CLASS.items())): False,
            ("CreateGrant", frozenset[tuple[str, str]]()): False,
        },
        Template.PUBLISHER_ROLE: {
            ("Encrypt", frozenset(CLASS.items())): True,
            ("Encrypt", frozenset({("kms:EncryptionContext:class", "session")})): False,
            ("Decrypt", frozenset((CLASS | pcr0).items())): False,
            ("GenerateDataKey", frozenset(CLASS.items())): False,
        },
    }
    for template, cases in tried.items():
        text = render(template, parse_inputs(template, input_fields(template)))
        policy = parse_policy(text, kind=PolicyKind.IDENTITY)
        for (action, carried), expected in cases.items():
            request = Request(
                principal=Principal.from_arn(PARENT), action=f"kms:{action}", resource=KEY_ARN, context=dict(carried)
            )
            decision = evaluate(request, key_policy=default, identity_policies=(policy,))
            assert (action, decision.allowed) == (action, expected)
            # A second identity policy that allows everything does not open what these deny.
            wider = evaluate(request, key_policy=default, identity_policies=(policy, FULL))
            assert wider.allowed is expected
