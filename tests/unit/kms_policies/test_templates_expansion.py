import json

import pytest

from kms_policies.expansion import TemplateValue, expand, variable_names
from pcrgate.errors import ErrorCode, KeyPolicyError


def test_values_become_json() -> None:
    text = expand('{"a": ${jsonencode(one)}, "b": ${jsonencode(two)}}', {"one": 'x"<é>', "two": ["p", "q"]})
    assert json.loads(text) == {"a": 'x"<é>', "b": ["p", "q"]}


def test_a_loop_repeats_its_body_with_fields_and_outer_names() -> None:
    template = "[%{ for it in items ~}\n${jsonencode(it.name)}, ${jsonencode(outer)},\n%{ endfor ~}\n0]"
    assert json.loads(expand(template, {"items": [{"name": "a"}, {"name": "b"}], "outer": "o"})) == [
        "a", "o", "b", "o", 0,
    ]  # fmt: skip
    assert json.loads(expand(template, {"items": [], "outer": "o"})) == [0]


def test_two_loops_may_use_the_same_name() -> None:
    template = "%{ for i in x }${jsonencode(i)}%{ endfor }-%{~ for i in y ~}${jsonencode(i)}%{~ endfor ~}"
    assert expand(template, {"x": ["1"], "y": ["2", "3"]}) == '"1"-"2""3"'


def test_names_are_those_taken_from_outside() -> None:
    assert variable_names("%{ for i in xs }${jsonencode(i.f)}${jsonencode(y)}%{ endfor }") == {"xs", "y"}


@pytest.mark.parametrize(
    "text",
    [
        "${a}",
        "${jsonencode(a.b.c)}",
        "${jsonencode(concat(a))}",
        "${ jsonencode(a) }",
        "${jsonencode(A)}",
        "$${jsonencode(a)",
        "$${a}",
        "%%{ for a in b }",
        "%{ if a }x%{ endif }",
        "%{ for k, v in a }%{ endfor }",
        "%{for i in a}%{ endfor }",
        "%{ endfor",
        "${",
        "%{",
    ],
)
def test_every_other_form_is_refused(text: str) -> None:
    with pytest.raises(KeyPolicyError) as refusal:
        expand("line one\n" + text, {"a": ["x"], "b": ["y"]})
    assert refusal.value.code is ErrorCode.POLICY_TEMPLATE


def test_the_message_names_the_line() -> None:
    with pytest.raises(KeyPolicyError, match="line 3"):
        variable_names("one\ntwo\n${three}")


@pytest.mark.parametrize(
    ("text", "variables"),
    [
        ("%{ for i in a }%{ for j in a }%{ endfor }%{ endfor }", {"a": ["x"]}),
        ("%{ endfor }", {}),
        ("%{ for i in a }", {"a": ["x"]}),
        ("%{ for i in a }%{ endfor }", {"a": "text"}),
        ("%{ for i in a }${jsonencode(i.f)}%{ endfor }", {"a": ["x"]}),
        ("%{ for i in a }${jsonencode(i.f)}%{ endfor }", {"a": [{"g": "x"}]}),
        ("%{ for i in a }%{ endfor }${jsonencode(i)}", {"a": ["x"]}),
        ("${jsonencode(a)}", {}),
        ("${jsonencode(a)}", {"a": "x", "b": "y"}),
    ],
)
def test_what_does_not_add_up_is_refused(text: str, variables: dict[str, TemplateValue]) -> None:
    with pytest.raises(KeyPolicyError) as refusal:
        expand(text, variables)
    assert refusal.value.code is ErrorCode.POLICY_TEMPLATE
