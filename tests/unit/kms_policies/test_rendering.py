import json

import pytest

from kms_policies.document import PolicyKind, parse_policy
from kms_policies.inputs import KeyPolicyInputs
from kms_policies.rendering import TRAITS, Template, parse_inputs, render, template_named
from pcrgate.errors import ErrorCode, KeyPolicyError
from tests.unit.kms_policies.template_inputs import KEY_ARN, PUBLISHER, input_fields


@pytest.mark.parametrize("every", [False, True])
@pytest.mark.parametrize("template", Template)
def test_every_template_renders_to_a_policy(template: Template, *, every: bool) -> None:
    text = render(template, parse_inputs(template, input_fields(template, every=every)))
    policy = parse_policy(text, kind=TRAITS[template].kind)
    assert policy.size_bytes == len(text.encode()) <= TRAITS[template].max_bytes
    assert policy.version == "2012-10-17"
    assert render(template.value, parse_inputs(template, input_fields(template, every=every))) == text


def test_an_unknown_template_is_refused() -> None:
    with pytest.raises(KeyPolicyError, match="expected model_weights_key") as refusal:
        template_named("weights")
    assert refusal.value.code is ErrorCode.POLICY_TEMPLATE


@pytest.mark.parametrize(
    ("template", "other"),
    [
        (Template.MODEL_WEIGHTS_KEY, Template.PARENT_ROLE),
        (Template.MODEL_WEIGHTS_KEY, Template.NITROTPM_MODEL_WEIGHTS_KEY),
        (Template.NITROTPM_PARENT_ROLE, Template.PARENT_ROLE),
        (Template.PUBLISHER_ROLE, Template.PARENT_ROLE),
        (Template.PARENT_ROLE, Template.PUBLISHER_ROLE),
    ],
)
def test_inputs_of_another_template_are_refused(template: Template, other: Template) -> None:
    with pytest.raises(KeyPolicyError) as refusal:
        render(template, parse_inputs(other, input_fields(other)))
    assert refusal.value.code is ErrorCode.POLICY_INPUT


def test_publishers_belong_to_sealing_keys_only() -> None:
    fields = input_fields(Template.MODEL_WEIGHTS_KEY)
    del fields["publishers"]
    with pytest.raises(KeyPolicyError) as missing:
        render(Template.MODEL_WEIGHTS_KEY, parse_inputs(Template.MODEL_WEIGHTS_KEY, fields))
    assert missing.value.code is ErrorCode.POLICY_INPUT_MISSING
    fields["publishers"] = [PUBLISHER]
    with pytest.raises(KeyPolicyError) as surplus:
        render(Template.SESSION_KEY, parse_inputs(Template.SESSION_KEY, fields))
    assert surplus.value.code is ErrorCode.POLICY_INPUT


def largest(template: Template) -> int:
    """Return the largest number of PCR0 values that fit."""
    per_value = 2 * 99  # in Allow and Deny: 96 digits, two quotes, a comma
    one = len(render(template, parse_inputs(template, {**input_fields(template), "pcr0": [f"{1:096x}"]})))
    return 1 + (TRAITS[template].max_bytes - one) // per_value


def test_as_many_measurements_as_fit_and_not_one_more() -> None:
    template = Template.MODEL_WEIGHTS_KEY
    most = largest(template)
    assert most > 100
    for count in (most, most + 1):
        fields = {**input_fields(template), "pcr0": [f"{index:096x}" for index in range(1, count + 1)]}
        inputs = parse_inputs(template, fields)
        if count == most:
            assert len(render(template, inputs)) <= TRAITS[template].max_bytes
        else:
            with pytest.raises(KeyPolicyError, match="fewer") as refusal:
                render(template, inputs)
            assert refusal.value.code is ErrorCode.POLICY_INPUT_SIZE


def test_the_two_largest_forms_of_a_managed_and_a_resource_control_policy_are_bounded() -> None:
    for template in (Template.PARENT_ROLE, Template.RESOURCE_CONTROL_POLICY):
        fields = {**input_fields(template), "pcr0": [f"{index:096x}" for index in range(1, 60)]}
        with pytest.raises(KeyPolicyError) as refusal:
            render(template, parse_inputs(template, fields))
        assert refusal.value.code is ErrorCode.POLICY_INPUT_SIZE


def test_optional_statements_appear_only_when_asked_for() -> None:
    template = Template.MODEL_WEIGHTS_KEY
    plain = render(template, parse_inputs(template, input_fields(template)))
    assert "AllowAccountDelegation" not in plain
    assert "PCR8" not in plain
    every = json.loads(render(template, parse_inputs(template, input_fields(template, every=True))))
    sids = [one["Sid"] for one in every["Statement"]]
    assert {"AllowAccountDelegation", *(f"DenyReleaseUnlessPCR{index}" for index in (0, 1, 2, 3, 8))} <= set(sids)


def test_warnings_say_what_is_allowed_and_better_done_otherwise() -> None:
    template = Template.SESSION_KEY
    quiet = parse_inputs(template, input_fields(template))
    assert isinstance(quiet, KeyPolicyInputs)
    assert quiet.warnings == ()
    root = "arn:aws:iam::111122223333:root"
    loud = parse_inputs(
        template,
        {**input_fields(template), "administrators": [root], "root_administers": True, "root_delegation": True},
    )
    assert isinstance(loud, KeyPolicyInputs)
    assert len(loud.warnings) == 3
    document = json.loads(render(template, loud))
    assert document["Statement"][0]["Principal"] == {"AWS": [root]}


def test_traits_cover_every_kind() -> None:
    kinds = {TRAITS[template].kind for template in Template}
    assert kinds == {PolicyKind.KEY, PolicyKind.IDENTITY, PolicyKind.RESOURCE_CONTROL}
    assert KEY_ARN in render(Template.PUBLISHER_ROLE, parse_inputs(Template.PUBLISHER_ROLE, {"key_arns": [KEY_ARN]}))
