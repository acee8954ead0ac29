"""The guides name every statement, template and finding there is, and none that is not."""

import json
import re
from pathlib import Path

import pytest

from kms_policies.lint_findings import LintCode
from kms_policies.rendering import Template, parse_inputs, render
from kms_policies.rollover import PROPAGATION_S, MeasurementState
from tests.unit.kms_policies.template_inputs import input_fields

DOCS = Path(__file__).parents[3] / "docs"
GUIDE = (DOCS / "key-policies.md").read_text(encoding="utf-8")
ROLLOVER = (DOCS / "rollover.md").read_text(encoding="utf-8")


def sids(template: Template) -> set[str]:
    document = json.loads(render(template, parse_inputs(template, input_fields(template, every=True))))
    return {one["Sid"] for one in document["Statement"]}


@pytest.mark.parametrize("template", Template)
def test_every_statement_and_template_is_in_the_guide(template: Template) -> None:
    named = set(re.findall(r"`([A-Za-z0-9_-]+)`", GUIDE))
    assert template.value in named
    assert sids(template) <= named


def test_the_guide_names_no_statement_that_is_not_there() -> None:
    there = set[str]().union(*(sids(template) for template in Template))
    assert set(re.findall(r"`((?:Allow|Deny)[A-Za-z0-9]+)`", GUIDE)) == there


def test_every_finding_is_in_the_guide() -> None:
    table = GUIDE.partition("## Findings of the linter")[2].partition("## What remains")[0]
    named = {
        code for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for code in re.findall(r"`([a-z0-9-]+)`", row)
    }
    assert named == {code.value for code in LintCode}


def test_the_roll_over_guide_names_the_states_and_the_wait() -> None:
    assert set(re.findall(r"^\| `([a-z]+)` \|", ROLLOVER, re.MULTILINE)) == {state.value for state in MeasurementState}
    assert f"wait {PROPAGATION_S} s" in ROLLOVER
