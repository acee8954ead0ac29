from typing import Any

import pytest

from kms_policies.input_files import parse_pcr
from kms_policies.inputs import EnclaveMeasurements, KeyPolicyInputs, NitroTpmMeasurements
from kms_policies.rendering import Template, parse_inputs
from pcrgate.errors import ErrorCode, KeyPolicyError
from pcrgate.units import Sha384
from tests.unit.kms_policies.template_inputs import (
    ACCOUNT,
    ADMINISTRATOR,
    FOREIGN_PARENT,
    KEY_ARN,
    OTHER_ACCOUNT,
    PARENT,
    PCR0,
    PCR4,
    PCR7,
    PUBLISHER,
    input_fields,
)

KEY = Template.MODEL_WEIGHTS_KEY
ONE = Sha384.from_hex(PCR0)
ZERO = Sha384(bytes(48))


def refusal(template: Template, **changed: object) -> KeyPolicyError:
    fields = {name: value for name, value in (input_fields(template) | changed).items() if value is not Ellipsis}
    with pytest.raises(KeyPolicyError) as refused:
        parse_inputs(template, fields)
    return refused.value


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("", "has 0 characters"),
        ("a" * 95, "has 95 characters"),
        ("a" * 97, "has 97 characters"),
        ("A" + "a" * 95, "upper-case"),
        ("g" + "a" * 95, "not hex"),
        ("0" * 96, "all zero"),
        ("sha384:" + "a" * 89, "not hex"),
        ("*", "has 1 characters"),
        (7, "not text"),
        (None, "not text"),
    ],
)
def test_a_pcr_that_cannot_be_meant_is_refused(value: object, says: str) -> None:
    with pytest.raises(KeyPolicyError, match=says) as refused:
        parse_pcr(value, "PCR0")
    assert refused.value.code is ErrorCode.POLICY_INPUT_PCR
    assert refusal(KEY, pcr0=[value]).code is ErrorCode.POLICY_INPUT_PCR


def test_a_single_pcr_may_stand_without_a_list() -> None:
    inputs = parse_inputs(KEY, {**input_fields(KEY), "pcr0": PCR0})
    assert isinstance(inputs, KeyPolicyInputs)
    assert inputs.measurements == EnclaveMeasurements(pcr0=(ONE,))


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"pcr0": []}, ErrorCode.POLICY_INPUT_MISSING),
        ({"pcr0": ...}, ErrorCode.POLICY_INPUT_MISSING),
        ({"pcr0": [PCR0, PCR0]}, ErrorCode.POLICY_INPUT_DUPLICATE),
        ({"pcr0": {"a": PCR0}}, ErrorCode.POLICY_INPUT),
        ({"pcr4": [PCR4]}, ErrorCode.POLICY_INPUT),
        ({"administrators": []}, ErrorCode.POLICY_INPUT_MISSING),
        ({"administrators": ADMINISTRATOR}, ErrorCode.POLICY_INPUT),
        ({"administrators": [""]}, ErrorCode.POLICY_INPUT),
        ({"administrators": [PARENT]}, ErrorCode.POLICY_INPUT_DUPLICATE),
        ({"administrators": [PUBLISHER]}, ErrorCode.POLICY_INPUT_DUPLICATE),
        ({"administrators": ["arn:aws-cn:iam::111122223333:role/a"]}, ErrorCode.POLICY_INPUT_PRINCIPAL),
        ({"parents": []}, ErrorCode.POLICY_INPUT_MISSING),
        ({"parents": ["*"]}, ErrorCode.POLICY_INPUT_PRINCIPAL),
        ({"parents": [f"arn:aws:iam::{ACCOUNT}:role/*"]}, ErrorCode.POLICY_INPUT_PRINCIPAL),
        ({"parents": [f"arn:aws:iam::{ACCOUNT}:role/par?nt"]}, ErrorCode.POLICY_INPUT_PRINCIPAL),
        ({"parents": [f"arn:aws:iam::{ACCOUNT}:user/${{aws:username}}"]}, ErrorCode.POLICY_INPUT_PRINCIPAL),
        ({"parents": [f"arn:aws:iam::{ACCOUNT}:root"]}, ErrorCode.POLICY_INPUT_PRINCIPAL),
        ({"parents": [ACCOUNT]}, ErrorCode.POLICY_INPUT_PRINCIPAL),
        ({"parents": [f"arn:aws:sts::{ACCOUNT}:assumed-role/enclave-parent/i-1"]}, ErrorCode.POLICY_INPUT_PRINCIPAL),
        ({"parents": [f"arn:aws:iam::{ACCOUNT}:group/parents"]}, ErrorCode.POLICY_INPUT_PRINCIPAL),
        ({"parents": [f"arn:aws:iam::{ACCOUNT}:role/parent\n"]}, ErrorCode.POLICY_INPUT_PRINCIPAL),
        ({"parents": [FOREIGN_PARENT]}, ErrorCode.POLICY_INPUT_ACCOUNT),
        ({"publishers": ["arn:aws:iam::444455556666:user/p"]}, ErrorCode.POLICY_INPUT_ACCOUNT),
        ({"account": ...}, ErrorCode.POLICY_INPUT),
        ({"account": "1111-2222-3333"}, ErrorCode.POLICY_INPUT_ACCOUNT),
        ({"account": "11112222333"}, ErrorCode.POLICY_INPUT_ACCOUNT),
        ({"account": 111122223333}, ErrorCode.POLICY_INPUT),
        ({"workload_accounts": [ACCOUNT]}, ErrorCode.POLICY_INPUT_DUPLICATE),
        ({"workload_accounts": ["*"]}, ErrorCode.POLICY_INPUT_ACCOUNT),
        ({"minimum_deletion_window_days": 6}, ErrorCode.POLICY_INPUT),
        ({"minimum_deletion_window_days": 31}, ErrorCode.POLICY_INPUT),
        ({"minimum_deletion_window_days": "30"}, ErrorCode.POLICY_INPUT),
        ({"minimum_deletion_window_days": True}, ErrorCode.POLICY_INPUT),
        ({"root_delegation": "false"}, ErrorCode.POLICY_INPUT),
        ({"root_administers": 0}, ErrorCode.POLICY_INPUT),
        ({"administrator": [ADMINISTRATOR]}, ErrorCode.POLICY_INPUT),
    ],
)
def test_a_key_policy_input_that_cannot_be_meant_is_refused(changed: dict[str, object], code: ErrorCode) -> None:
    assert refusal(KEY, **changed).code is code


@pytest.mark.parametrize("days", [7, 30])
def test_the_deletion_window_may_be_at_its_bounds(days: int) -> None:
    inputs = parse_inputs(KEY, {**input_fields(KEY), "minimum_deletion_window_days": days})
    assert inputs.variables()["minimum_deletion_window_days"] == str(days)


def test_a_foreign_account_may_be_asked_for() -> None:
    inputs = parse_inputs(KEY, {**input_fields(KEY), "parents": [FOREIGN_PARENT], "workload_accounts": [OTHER_ACCOUNT]})
    assert inputs.variables()["accounts"] == [ACCOUNT, OTHER_ACCOUNT]


@pytest.mark.parametrize("name", ["role/*", "role/par?nt", "user/${aws:username}"])
def test_a_wildcard_is_named_as_such(name: str) -> None:
    assert "wildcard or variable" in refusal(KEY, parents=[f"arn:aws:iam::{ACCOUNT}:{name}"]).message


def test_the_root_may_administer_but_never_be_a_parent() -> None:
    root = f"arn:aws:iam::{ACCOUNT}:root"
    assert refusal(KEY, administrators=[root]).code is ErrorCode.POLICY_INPUT_PRINCIPAL
    assert refusal(KEY, parents=[root], root_administers=True).code is ErrorCode.POLICY_INPUT_PRINCIPAL
    inputs = parse_inputs(KEY, {**input_fields(KEY), "administrators": [root], "root_administers": True})
    assert inputs.variables()["administrators"] == [root]
    assert inputs.variables()["delegated_roots"] == []


@pytest.mark.parametrize("missing", ["pcr4", "pcr7", "pcr12"])
def test_nitrotpm_measurements_are_a_set(missing: str) -> None:
    found = refusal(Template.NITROTPM_MODEL_WEIGHTS_KEY, **{missing: ...})
    assert found.code is ErrorCode.POLICY_INPUT_MISSING
    assert missing.upper() in found.message
    assert refusal(Template.NITROTPM_SESSION_KEY, pcr0=[PCR0]).code is ErrorCode.POLICY_INPUT
    assert refusal(Template.NITROTPM_PARENT_ROLE, pcr4=["0" * 96]).code is ErrorCode.POLICY_INPUT_PCR
    assert refusal(Template.NITROTPM_PARENT_ROLE, pcr7=["0" * 96]).code is ErrorCode.POLICY_INPUT_PCR


def test_an_all_zero_pcr12_says_that_no_command_line_was_added() -> None:
    template = Template.NITROTPM_PARENT_ROLE
    inputs = parse_inputs(template, {**input_fields(template), "pcr12": ["0" * 96]})
    assert inputs.variables()["pcr12"] == ["0" * 96]


@pytest.mark.parametrize("template", [Template.PARENT_ROLE, Template.PUBLISHER_ROLE, Template.RESOURCE_CONTROL_POLICY])
@pytest.mark.parametrize(
    ("key_arns", "code"),
    [
        ([], ErrorCode.POLICY_INPUT_MISSING),
        (["*"], ErrorCode.POLICY_INPUT),
        ([KEY_ARN, KEY_ARN], ErrorCode.POLICY_INPUT_DUPLICATE),
        ([f"arn:aws:kms:eu-central-1:{ACCOUNT}:alias/weights"], ErrorCode.POLICY_INPUT),
        ([f"arn:aws:kms:eu-central-1:{ACCOUNT}:key/*"], ErrorCode.POLICY_INPUT),
        ([3], ErrorCode.POLICY_INPUT),
    ],
)
def test_role_policies_name_full_key_arns(template: Template, key_arns: list[Any], code: ErrorCode) -> None:
    assert refusal(template, key_arns=key_arns).code is code
    assert refusal(template, keys=key_arns).code is ErrorCode.POLICY_INPUT


def test_inputs_are_an_object() -> None:
    with pytest.raises(KeyPolicyError) as refused:
        parse_inputs(KEY, [PCR0])
    assert refused.value.code is ErrorCode.POLICY_INPUT


def test_typed_measurements_refuse_zero_and_doubles_too() -> None:
    for pcr0, code in (
        ((), ErrorCode.POLICY_INPUT_MISSING),
        ((ZERO,), ErrorCode.POLICY_INPUT_PCR),
        ((ONE, ONE), ErrorCode.POLICY_INPUT_DUPLICATE),
    ):
        with pytest.raises(KeyPolicyError) as refused:
            EnclaveMeasurements(pcr0=pcr0)
        assert refused.value.code is code
    with pytest.raises(KeyPolicyError):
        EnclaveMeasurements(pcr0=(ONE,), pcr8=(ZERO,))
    with pytest.raises(KeyPolicyError):
        NitroTpmMeasurements(pcr4=(ONE,), pcr7=(Sha384.from_hex(PCR7),), pcr12=())
