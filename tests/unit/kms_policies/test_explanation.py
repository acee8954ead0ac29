import json
from functools import partial

import pytest

from kms_policies.document import Policy, PolicyKind, parse_policy
from kms_policies.evaluator import Decision, evaluate
from kms_policies.explanation import Explanation, explain
from kms_policies.rendering import Template, parse_inputs, render
from kms_policies.request import Request
from kms_policies.request_files import REQUEST_MAX_BYTES, parse_request
from pcrgate.errors import ErrorCode, KeyPolicyError
from tests.unit.kms_policies.template_inputs import (
    ADMINISTRATOR,
    FOREIGN_PARENT,
    KEY_ARN,
    PARENT,
    PCR0,
    PCR1,
    PCR4,
    PUBLISHER,
    input_fields,
)


def decide(request: Request, *, template: Template = Template.MODEL_WEIGHTS_KEY) -> Decision:
    policy = parse_policy(render(template, parse_inputs(template, input_fields(template))), kind=PolicyKind.KEY)
    return evaluate(request, key_policy=policy)


def request(**changed: object) -> Request:
    fields = {
        "principal": PARENT,
        "action": "kms:Decrypt",
        "key": KEY_ARN,
        "encryption_context": {"class": "weights", "name": "tiny"},
        "pcrs": {"0": PCR0},
    } | changed
    return parse_request(json.dumps({name: value for name, value in fields.items() if value is not ...}))


def explained(**changed: object) -> Explanation:
    return explain(request(**changed), decide)


def test_an_allowed_request_needs_no_explanation() -> None:
    found = explained()
    assert (found.decision.allowed, found.works, found.obstacles, found.changes) == (True, True, (), ())


@pytest.mark.parametrize(
    ("changed", "changes"),
    [
        ({"pcrs": ...}, ["attach a fresh attestation document as Recipient", f"attest PCR0 = {PCR0}"]),
        ({"pcrs": {"0": PCR1}}, [f"attest PCR0 = {PCR0}"]),
        ({"encryption_context": ...}, ["put class = weights into the encryption context"]),
        ({"encryption_context": {"class": "session"}}, ["put class = weights into the encryption context"]),
        ({"principal": ADMINISTRATOR}, [f"ask as {PARENT}"]),
        (
            {"principal": FOREIGN_PARENT, "pcrs": ...},
            [f"ask as {PARENT}", "attach a fresh attestation document as Recipient", f"attest PCR0 = {PCR0}"],
        ),
        ({"action": "Encrypt", "pcrs": ...}, [f"ask as {PUBLISHER}"]),
        ({"action": "PutKeyPolicy"}, [f"ask as {ADMINISTRATOR}"]),
        (
            {
                "principal": ADMINISTRATOR,
                "action": "kms:ScheduleKeyDeletion",
                "context": {"kms:ScheduleKeyDeletionPendingWindowInDays": "7"},
            },
            [],
        ),
    ],
)
def test_what_is_proposed_is_what_is_missing(changed: dict[str, object], changes: list[str]) -> None:
    found = explained(**changed)
    assert not found.decision.allowed
    assert list(found.changes) == changes
    assert found.works is bool(changes)
    assert found.advice
    assert found.obstacles


def test_the_missing_pcr_and_the_wrong_one_are_named() -> None:
    missing = explained(pcrs=...)
    deny = next(one for one in missing.obstacles if one.sid == "DenyReleaseUnlessPCR0")
    assert deny.denies
    assert deny.source == "key policy"
    assert deny.facts[0].startswith("PCR0 is missing")
    wrong = explained(pcrs={"0": PCR1})
    facts = [fact for one in wrong.obstacles for fact in one.facts]
    assert f"PCR0 is {PCR1[:16]}…; listed: {PCR0[:16]}…, {'b' * 16}…" in facts


@pytest.mark.parametrize("action", ["kms:CreateGrant", "kms:ReEncryptFrom", "kms:GenerateMac"])
def test_what_nobody_may_do_is_said_so(action: str) -> None:
    found = explained(action=action, principal=ADMINISTRATOR)
    assert not found.works
    assert found.advice.startswith("no request can pass")
    assert "everyone, always" in " ".join(fact for one in found.obstacles for fact in one.facts)


def test_an_operation_that_cannot_be_attested_is_not_promised() -> None:
    text = json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"AWS": PARENT},
                    "Action": "kms:*",
                    "Resource": "*",
                    "Condition": {"StringEquals": {"kms:RecipientAttestation:PCR0": PCR0}},
                }
            ],
        }
    )
    policy = parse_policy(text, kind=PolicyKind.KEY)
    found = explain(request(action="kms:Encrypt", pcrs=...), partial(_judge, policy=policy))
    assert not found.works
    assert "kms:Encrypt cannot carry an attestation" in found.obstacles[0].facts[0]


def _judge(request: Request, *, policy: Policy) -> Decision:
    return evaluate(request, key_policy=policy)


def one_statement(**changed: object) -> Policy:
    statement = {"Effect": "Allow", "Principal": {"AWS": PARENT}, "Action": "kms:Decrypt", "Resource": "*"} | changed
    return parse_policy(json.dumps({"Version": "2012-10-17", "Statement": [statement]}), kind=PolicyKind.KEY)


def test_the_image_digest_is_pcr0_under_another_name() -> None:
    policy = one_statement(Condition={"StringEquals": {"kms:RecipientAttestation:ImageSha384": PCR1}})
    found = explain(request(), partial(_judge, policy=policy))
    assert found.works
    assert list(found.changes) == [f"attest PCR0 = {PCR1}"]


@pytest.mark.parametrize(
    "condition",
    [
        {"Null": {"kms:RecipientAttestation:PCR0": "true"}},
        {"StringLike": {"kms:EncryptionContext:name": "big*"}},
        {"StringNotEquals": {"kms:EncryptionContext:name": "tiny"}},
        {"StringEquals": {"aws:PrincipalArn": "someone"}},
    ],
)
def test_where_no_example_can_be_given_none_is_promised(condition: dict[str, object]) -> None:
    found = explain(request(), partial(_judge, policy=one_statement(Condition=condition)))
    assert not found.works
    assert found.advice.startswith("no change of the request alone")


def test_other_keys_are_proposed_by_their_name() -> None:
    policy = one_statement(Condition={"StringEquals": {"kms:EncryptionContextKeys": "a", "aws:SourceVpce": "vpce-1"}})
    found = explain(request(encryption_context=...), partial(_judge, policy=policy))
    assert list(found.changes) == ["make kms:EncryptionContextKeys = a", "make aws:SourceVpce = vpce-1"]
    long = one_statement(Condition={"StringEquals": {"aws:SourceVpce": [f"vpce-{index}" for index in range(6)]}})
    assert "and 2 more" in explain(request(), partial(_judge, policy=long)).obstacles[0].facts[0]


def test_a_policy_without_the_action_says_so() -> None:
    text = json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Principal": {"AWS": PARENT}, "Action": "kms:Sign", "Resource": "*"}],
        }
    )
    found = explain(request(), partial(_judge, policy=parse_policy(text, kind=PolicyKind.KEY)))
    assert found.advice.startswith("no statement allows")


def test_delegation_without_an_identity_policy_is_named() -> None:
    root = "arn:aws:iam::111122223333:root"
    text = json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Principal": {"AWS": root}, "Action": "kms:*", "Resource": "*"}],
        }
    )
    found = explain(request(), partial(_judge, policy=parse_policy(text, kind=PolicyKind.KEY)))
    assert "IAM policies decide" in found.obstacles[0].facts[0]


def test_nitrotpm_registers_are_named() -> None:
    template = Template.NITROTPM_MODEL_WEIGHTS_KEY
    found = explain(request(pcrs=..., nitrotpm_pcrs={"4": PCR4}), partial(decide, template=template))
    assert found.works
    assert [change.partition(" = ")[0] for change in found.changes] == [
        "attest NitroTPM PCR7",
        "attest NitroTPM PCR12",
    ]


@pytest.mark.parametrize(
    "changed",
    [
        {"principal": ...},
        {"principal": "anyone"},
        {"principal": {"service": "s3.amazonaws.com", "x": "y"}},
        {"role": 3},
        {"action": ...},
        {"action": "kms:*"},
        {"action": "s3:GetObject"},
        {"key": ...},
        {"key": "alias/weights"},
        {"pcrs": {"0": "ab"}},
        {"pcrs": {"32": PCR0}},
        {"pcrs": {"zero": PCR0}},
        {"pcrs": [PCR0]},
        {"encryption_context": {"a": 1}},
        {"context": {"a": {}}},
        {"context": {"a": [[]]}},
        {"context": []},
        {"context": {"A": "1", "a": "2"}},
        {"pcr0": PCR0},
    ],
)
def test_a_request_that_cannot_be_meant_is_refused(changed: dict[str, object]) -> None:
    with pytest.raises(KeyPolicyError) as refused:
        request(**changed)
    assert refused.value.code is ErrorCode.POLICY_REQUEST


def test_other_forms_of_a_request() -> None:
    service = request(principal={"service": "s3.amazonaws.com"}, context={"aws:TagKeys": ["a", "b"], "x": "y"})
    assert service.principal.service == "s3.amazonaws.com"
    assert service.folded["aws:tagkeys"] == ("a", "b")
    session = request(
        principal="arn:aws:sts::111122223333:assumed-role/publisher/me", role=PUBLISHER, action="Encrypt", pcrs=...
    )
    assert decide(session).allowed
    with pytest.raises(KeyPolicyError):
        parse_request("[]")
    with pytest.raises(KeyPolicyError) as refused:
        parse_request(" " * (REQUEST_MAX_BYTES + 1))
    assert refused.value.code is ErrorCode.POLICY_TOO_LARGE
