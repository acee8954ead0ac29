import json
import re
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest

from kms_policies.document import PolicyKind
from kms_policies.rendering import TRAITS, Template, parse_inputs, render, template_text, template_variables
from tests.unit.kms_policies.template_inputs import PCR0, input_fields

KEYS = [template for template in Template if TRAITS[template].kind is PolicyKind.KEY]
ATTESTABLE = {"kms:Decrypt", "kms:GenerateDataKey", "kms:GenerateDataKeyPair", "kms:DeriveSharedSecret"}

TERRAFORM = """
variable "directory" { type = string }
variable "calls" { type = any }
output "rendered" {
  value = { for name, call in var.calls : name => templatefile("${var.directory}/${call.template}.json.tftpl", call.inputs) }
}
"""


def rendered(template: Template, *, every: bool = True) -> dict[str, list[dict[str, object]]]:
    document = json.loads(render(template, parse_inputs(template, input_fields(template, every=every))))
    assert isinstance(document, dict)
    return document


def statement(document: dict[str, list[dict[str, object]]], sid: str) -> dict[str, object]:
    (found,) = [one for one in document["Statement"] if one["Sid"] == sid]
    return found


@pytest.mark.terraform
def test_terraform_renders_every_template_to_the_same_policy(tmp_path: Path) -> None:
    terraform = shutil.which("terraform")
    if terraform is None:
        pytest.skip("no terraform binary on PATH: templates are only rendered by our own reader here")
    calls = {}
    expected = {}
    for template in Template:
        for every in (False, True):
            inputs = parse_inputs(template, input_fields(template, every=every))
            name = f"{template.value} {every}"
            calls[name] = {"template": template.value, "inputs": template_variables(template, inputs)}
            expected[name] = json.loads(render(template, inputs))
    (tmp_path / "main.tf").write_text(TERRAFORM)
    directory = str(files("kms_policies").joinpath("templates"))
    (tmp_path / "inputs.auto.tfvars.json").write_text(json.dumps({"directory": directory, "calls": calls}))
    environment = {"PATH": str(Path(terraform).parent), "CHECKPOINT_DISABLE": "1", "TF_CLI_CONFIG_FILE": "/dev/null"}
    for command in (["init"], ["apply", "-auto-approve"]):
        ran = subprocess.run(
            [terraform, *command, "-no-color"], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
    shown = subprocess.run(
        [terraform, "output", "-json", "rendered"], cwd=tmp_path, env=environment, capture_output=True, check=True
    )
    found = {name: json.loads(text) for name, text in json.loads(shown.stdout).items()}
    assert found == expected


def test_every_shipped_file_is_a_template_and_every_template_a_file() -> None:
    names = {entry.name for entry in files("kms_policies").joinpath("templates").iterdir()}
    assert names == {f"{template.value}.json.tftpl" for template in Template}


@pytest.mark.parametrize("template", Template)
def test_no_form_stands_inside_a_json_string(template: Template) -> None:
    literal = re.sub(r"\$\{jsonencode\([a-z0-9_.]+\)\}", "1", template_text(template))
    literal = re.sub(r"%\{ .*? ~?\}", " ", literal)
    assert not re.search(r'"[^"\n]*[$%]\{[^"\n]*"', template_text(template))
    assert literal.count("{") == literal.count("}")


@pytest.mark.parametrize("template", Template)
def test_sids_are_unique_and_say_what_the_statement_does(template: Template) -> None:
    sids = [str(one["Sid"]) for one in rendered(template)["Statement"]]
    assert len(set(sids)) == len(sids)
    for one in rendered(template)["Statement"]:
        assert str(one["Sid"]).startswith(str(one["Effect"]))
        assert re.fullmatch(r"[A-Za-z0-9]+", str(one["Sid"]))


@pytest.mark.parametrize("template", Template)
def test_no_allow_is_broad_and_no_deny_is_narrow(template: Template) -> None:
    for one in rendered(template, every=False)["Statement"]:
        if one["Effect"] == "Allow":
            assert "NotAction" not in one
            assert "*" not in json.dumps(one["Action"])
            assert one.get("Principal") != "*"
        elif TRAITS[template].kind is not PolicyKind.IDENTITY:
            assert one["Principal"] == "*"


@pytest.mark.parametrize("template", KEYS)
def test_release_is_conditioned_in_allow_and_deny(template: Template) -> None:
    document = rendered(template)
    release = [one for one in document["Statement"] if one["Effect"] == "Allow" and ATTESTABLE & set(actions(one))]
    for one in release:
        if one["Sid"] == "AllowAccountDelegation":
            continue
        condition = one["Condition"]
        assert isinstance(condition, dict)
        keys = set(condition["StringEqualsIgnoreCase"])
        denied = {
            key
            for deny in document["Statement"]
            if str(deny["Sid"]).startswith("DenyReleaseUnless") and set(actions(deny)) >= ATTESTABLE
            for key in json.loads(json.dumps(deny["Condition"]))["StringNotEqualsIgnoreCase"]
        }
        assert keys == denied
        assert condition["StringEquals"].keys() == {"kms:EncryptionContext:class"}
    assert release


def actions(one: dict[str, object]) -> list[str]:
    found = one.get("Action", [])
    return [str(action) for action in found] if isinstance(found, list) else [str(found)]


def test_the_key_templates_differ_only_where_they_must() -> None:
    weights, credentials = (template_text(t) for t in (Template.MODEL_WEIGHTS_KEY, Template.CREDENTIALS_KEY))
    assert weights.replace('"weights"', '"credentials"').replace("model-weights", "credentials") == credentials
    document = rendered(Template.MODEL_WEIGHTS_KEY, every=False)
    session = rendered(Template.SESSION_KEY, every=False)
    absent = {str(one["Sid"]) for one in document["Statement"]} - {str(one["Sid"]) for one in session["Statement"]}
    assert absent == {"AllowInspectionByPublisher", "AllowSealing", "DenySealingByOthers"}
    for plain in (Template.MODEL_WEIGHTS_KEY, Template.SESSION_KEY, Template.CREDENTIALS_KEY):
        nitrotpm = rendered(Template(f"nitrotpm_{plain.value}"), every=False)
        shared = [
            one
            for one in rendered(plain, every=False)["Statement"]
            if "Measured" not in str(one["Sid"]) and "Unless" not in str(one["Sid"])
        ]
        assert all(one in nitrotpm["Statement"] for one in shared)
        assert len(shared) == len(nitrotpm["Statement"]) - 4


def test_a_publisher_gets_no_plaintext_and_a_parent_mints_nothing() -> None:
    publisher = rendered(Template.PUBLISHER_ROLE)
    assert {action for one in publisher["Statement"] if one["Effect"] == "Allow" for action in actions(one)} == {
        "kms:DescribeKey", "kms:Encrypt", "kms:GetKeyPolicy",
    }  # fmt: skip
    for template in (Template.PARENT_ROLE, Template.NITROTPM_PARENT_ROLE):
        allowed = {a for one in rendered(template)["Statement"] if one["Effect"] == "Allow" for a in actions(one)}
        assert not allowed & {"kms:Encrypt", "kms:GenerateDataKeyWithoutPlaintext", "kms:ReEncryptTo"}


def test_an_empty_list_of_measurements_denies_rather_than_opens() -> None:
    text = template_text(Template.MODEL_WEIGHTS_KEY)
    assert '"kms:RecipientAttestation:PCR0": ${jsonencode(pcr0)}' in text
    assert "DenyReleaseUnlessPCR0" in text
    assert PCR0 not in text
