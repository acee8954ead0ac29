"""The publisher's role: what it lets the publisher do, and that each weakening of it lets the publisher do more."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from kms_policies.document import Policy, PolicyKind, parse_policy
from kms_policies.evaluator import evaluate
from kms_policies.rendering import Template, parse_inputs, render
from kms_policies.request import Principal, Request
from tests.unit.kms_policies.template_inputs import ACCOUNT, KEY_ARN, PCR0, PUBLISHER, input_fields

Document = dict[str, Any]
WEIGHTS = {"kms:EncryptionContext:class": "weights"}
ATTESTED = WEIGHTS | {"kms:RecipientAttestation:PCR0": PCR0}
OTHER_KEY = KEY_ARN[:-1] + ("0" if KEY_ARN[-1] != "0" else "1")

REQUESTS: dict[str, tuple[str, dict[str, str]]] = {
    "seal weights": ("Encrypt", WEIGHTS),
    "seal credentials": ("Encrypt", {"kms:EncryptionContext:class": "credentials"}),
    "seal a session": ("Encrypt", {"kms:EncryptionContext:class": "session"}),
    "seal under no class": ("Encrypt", {}),
    "describe": ("DescribeKey", {}),
    "read the policy": ("GetKeyPolicy", {}),
    "open": ("Decrypt", WEIGHTS),
    "open, attested": ("Decrypt", ATTESTED),
    "make a data key": ("GenerateDataKey", WEIGHTS),
    "encrypt again": ("ReEncryptFrom", WEIGHTS),
    "make a grant": ("CreateGrant", {}),
    "change the policy": ("PutKeyPolicy", {}),
    "schedule the deletion": ("ScheduleKeyDeletion", {}),
}
MAY = {"seal weights", "seal credentials", "describe", "read the policy"}


def parsed(document: Document, kind: PolicyKind = PolicyKind.IDENTITY) -> Policy:
    return parse_policy(json.dumps(document), kind=kind)


def statement(**fields: Any) -> Document:
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "kms:*", "Resource": "*", **fields}]}


DEFAULT = parsed(statement(Principal={"AWS": f"arn:aws:iam::{ACCOUNT}:root"}), PolicyKind.KEY)
EVERYTHING = parsed(statement())


def template() -> Document:
    text = render(Template.PUBLISHER_ROLE, parse_inputs(Template.PUBLISHER_ROLE, input_fields(Template.PUBLISHER_ROLE)))
    found: Document = json.loads(text)
    return found


def allowed(document: Document, *further: Policy) -> set[str]:
    """Return what the publisher may, under a key policy that leaves everything to identity policies."""
    return {
        name
        for name, (action, context) in REQUESTS.items()
        if evaluate(
            Request(
                principal=Principal.from_arn(PUBLISHER), action=f"kms:{action}", resource=KEY_ARN, context=dict(context)
            ),
            key_policy=DEFAULT,
            identity_policies=(parsed(document), *further),
        ).allowed
    }


def test_the_publisher_seals_and_looks_and_nothing_else() -> None:
    assert allowed(template()) == MAY
    # Neither does a further policy that allows everything let it do more.
    assert allowed(template(), EVERYTHING) == MAY


def named(document: Document, sid: str) -> Document:
    (found,) = (one for one in document["Statement"] if one["Sid"] == sid)
    assert isinstance(found, dict)
    return found


def without(sid: str) -> Callable[[Document], None]:
    return lambda document: document["Statement"].remove(named(document, sid))


def replaced(sid: str, field: str, value: object) -> Callable[[Document], None]:
    def change(document: Document) -> None:
        assert named(document, sid)[field] != value
        named(document, sid)[field] = value

    return change


def without_condition(sid: str) -> Callable[[Document], None]:
    def change(document: Document) -> None:
        del named(document, sid)["Condition"]

    return change


def classes(sid: str, *values: str) -> Callable[[Document], None]:
    def change(document: Document) -> None:
        (operator,) = named(document, sid)["Condition"].values()
        operator["kms:EncryptionContext:class"] = list(values)

    return change


LISTED = ["kms:DescribeKey", "kms:Encrypt", "kms:GetKeyPolicy"]
WEAKENED: dict[str, tuple[Callable[[Document], None], str]] = {
    "no Deny of another context": (without("DenyForeignContext"), "seal a session"),
    "a Deny of nothing": (replaced("DenyForeignContext", "Resource", [OTHER_KEY]), "seal a session"),
    "a Deny of another operation": (replaced("DenyForeignContext", "Action", "kms:Decrypt"), "seal under no class"),
    "an Allow in its place": (replaced("DenyForeignContext", "Effect", "Allow"), "seal a session"),
    "sessions among the classes": (
        classes("DenyForeignContext", "credentials", "session", "weights"),
        "seal a session",
    ),
    "no Deny of what is not listed": (without("DenyUnlistedOperations"), "open"),
    "only of another key": (replaced("DenyUnlistedOperations", "Resource", [OTHER_KEY]), "open"),
    "an Allow of what is not listed": (replaced("DenyUnlistedOperations", "Effect", "Allow"), "make a data key"),
    "opening listed": (replaced("DenyUnlistedOperations", "NotAction", [*LISTED, "kms:Decrypt"]), "open"),
    "grants listed": (replaced("DenyUnlistedOperations", "NotAction", [*LISTED, "kms:CreateGrant"]), "make a grant"),
    "all ReEncrypt listed": (replaced("DenyUnlistedOperations", "NotAction", [*LISTED, "kms:Re*"]), "encrypt again"),
    "everything listed": (replaced("DenyUnlistedOperations", "NotAction", ["kms:*"]), "change the policy"),
}


@pytest.mark.parametrize("name", WEAKENED)
def test_a_weakening_lets_the_publisher_do_more(name: str) -> None:
    change, gained = WEAKENED[name]
    document = template()
    change(document)
    found = allowed(document, EVERYTHING)
    assert gained in found - MAY
    assert found >= MAY


LOST: dict[str, tuple[Callable[[Document], None], str]] = {
    "no inspection": (without("AllowInspection"), "describe"),
    "no sealing": (without("AllowSealing"), "seal weights"),
    "another key": (replaced("AllowSealing", "Resource", [OTHER_KEY]), "seal weights"),
    "one class less": (classes("AllowSealing", "weights"), "seal credentials"),
    "denied whatever the class": (without_condition("DenyForeignContext"), "seal weights"),
    "sealing not listed": (replaced("DenyUnlistedOperations", "NotAction", LISTED[:1]), "seal weights"),
}


@pytest.mark.parametrize("name", LOST)
def test_each_statement_is_needed_for_what_it_lets(name: str) -> None:
    change, lost = LOST[name]
    document = template()
    change(document)
    assert lost in MAY - allowed(document)


def test_the_condition_of_the_allow_holds_without_the_deny() -> None:
    """Two statements say the same of the context: whoever removes one of them opens nothing by this policy alone."""
    document = template()
    without("DenyForeignContext")(document)
    assert allowed(document) == MAY
    without_condition("AllowSealing")(document)
    assert allowed(document) == MAY | {"seal a session", "seal under no class"}
