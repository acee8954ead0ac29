import json
from typing import Any

from kms_policies.difference import Access, Difference, compare
from kms_policies.document import PolicyKind, parse_policy
from kms_policies.rendering import Template, parse_inputs, render
from tests.unit.kms_policies.template_inputs import (
    ADMINISTRATOR,
    FOREIGN_PARENT,
    OTHER_ACCOUNT,
    PARENT,
    PCR0,
    PCR0_NEXT,
    PUBLISHER,
    input_fields,
)

TEMPLATE = Template.MODEL_WEIGHTS_KEY
PCR_KEY = "kms:RecipientAttestation:PCR0"


def policy(**changed: object) -> dict[str, Any]:
    text = render(TEMPLATE, parse_inputs(TEMPLATE, input_fields(TEMPLATE) | changed))
    document = json.loads(text)
    assert isinstance(document, dict)
    return document


def differ(before: dict[str, Any], after: dict[str, Any]) -> Difference:
    return compare(*(parse_policy(json.dumps(each), kind=PolicyKind.KEY) for each in (before, after)))


def statement(document: dict[str, Any], sid: str) -> dict[str, Any]:
    found = next(one for one in document["Statement"] if one["Sid"] == sid)
    assert isinstance(found, dict)
    return found


def access(difference: Difference) -> dict[tuple[str, str], tuple[Access, Access]]:
    return {
        (change.principal, action): (change.before, change.after)
        for change in difference.access
        for action in change.actions
    }


def test_order_and_spelling_do_not_count() -> None:
    other = policy()
    other["Statement"].reverse()
    statement(other, "AllowAdministration")["Action"].reverse()
    statement(other, "AllowSealing")["Action"] = ["KMS:encrypt"]
    assert differ(policy(), other).same


def test_a_renamed_statement_is_no_difference() -> None:
    other = policy()
    del statement(other, "DenyEscalation")["Sid"]
    assert differ(policy(), other).same


def test_a_measurement_more_is_a_changed_condition_and_no_new_access() -> None:
    found = differ(policy(pcr0=[PCR0]), policy(pcr0=[PCR0, PCR0_NEXT]))
    assert found.measurements_added == ((PCR_KEY, PCR0_NEXT),)
    assert found.measurements_removed == ()
    assert {change.name for change in found.statements} == {"AllowReleaseToMeasuredEnclave", "DenyReleaseUnlessPCR0"}
    assert {change.kind for change in found.statements} == {"changed"}
    assert found.access == ()
    back = differ(policy(pcr0=[PCR0, PCR0_NEXT]), policy(pcr0=[PCR0]))
    assert back.measurements_removed == ((PCR_KEY, PCR0_NEXT),)
    assert not back.same


def test_dropping_the_conditions_shows_who_gets_plaintext() -> None:
    weak = policy()
    weak["Statement"] = [one for one in weak["Statement"] if one["Sid"] != "DenyReleaseUnlessPCR0"]
    del statement(weak, "AllowReleaseToMeasuredEnclave")["Condition"]["StringEqualsIgnoreCase"]
    found = differ(policy(), weak)
    assert access(found) == {(PARENT, "kms:Decrypt"): (Access.ATTESTED, Access.ALLOWED)}
    assert {(change.name, change.kind) for change in found.statements} == {
        ("DenyReleaseUnlessPCR0", "removed"),
        ("AllowReleaseToMeasuredEnclave", "changed"),
    }


def test_a_new_principal_gets_what_it_gets_and_others_nothing() -> None:
    found = differ(policy(), policy(parents=[PARENT, FOREIGN_PARENT], workload_accounts=[OTHER_ACCOUNT]))
    assert access(found) == {
        (FOREIGN_PARENT, "kms:Decrypt"): (Access.DENIED, Access.ATTESTED),
        (FOREIGN_PARENT, "kms:DescribeKey"): (Access.DENIED, Access.ALLOWED),
        (FOREIGN_PARENT, "kms:GetKeyPolicy"): (Access.DENIED, Access.ALLOWED),
    }


def test_root_delegation_opens_only_what_the_denies_leave() -> None:
    found = access(differ(policy(), policy(root_delegation=True)))
    opened = {action for (_, action), (_, after) in found.items() if after is not Access.DENIED}
    assert "kms:Decrypt" not in opened
    assert "kms:PutKeyPolicy" not in opened
    assert ("anyone else in 111122223333", "kms:ListGrants") in found
    assert not any(who in {ADMINISTRATOR, "anyone in another account"} for who, _ in found)


def test_accounts_services_and_added_statements_are_seen() -> None:
    other = policy()
    other["Statement"].append(
        {
            "Effect": "Allow",
            "Principal": {"AWS": OTHER_ACCOUNT, "Service": "logs.amazonaws.com"},
            "Action": "kms:GetPublicKey",
            "Resource": "*",
        }
    )
    found = differ(policy(), other)
    (added,) = found.statements
    assert (added.kind, added.name) == ("added", f"statement {len(other['Statement']) - 1}")
    assert found.access == ()
    open_policy = {"Version": "2012-10-17", "Statement": other["Statement"][-1:]}
    opened = access(differ(policy(), open_policy))
    assert opened["logs.amazonaws.com", "kms:GetPublicKey"] == (Access.DENIED, Access.ALLOWED)
    assert opened[PUBLISHER, "kms:Encrypt"] == (Access.ALLOWED, Access.DENIED)


def test_policies_that_name_nobody_are_compared_too() -> None:
    def only(effect: str) -> dict[str, Any]:
        statement = {"Effect": effect, "Principal": "*", "Action": "kms:*", "Resource": "*"}
        return {"Version": "2012-10-17", "Statement": [statement]}

    found = access(differ(only("Deny"), only("Allow")))
    assert found["anyone in another account", "kms:Decrypt"] == (Access.DENIED, Access.ALLOWED)
