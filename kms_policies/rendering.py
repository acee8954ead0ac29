"""Rendering: a shipped template and typed inputs in, the policy's JSON out, checked by the parser on the way.

The templates are the files that Terraform reads with ``templatefile``; nothing is added here that a reader of the
template would not see.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from importlib.resources import files
from types import MappingProxyType
from typing import Final

from kms_policies.document import POLICY_MAX_BYTES, RESOURCE_CONTROL_MAX_BYTES, PolicyKind, parse_policy
from kms_policies.expansion import TemplateValue, expand, variable_names
from kms_policies.input_files import (
    parse_conditioned_inputs,
    parse_key_inputs,
    parse_publisher_inputs,
    parse_with,
)
from kms_policies.inputs import (
    ConditionedPolicyInputs,
    EnclaveMeasurements,
    Inputs,
    KeyPolicyInputs,
    NitroTpmMeasurements,
    PublisherRoleInputs,
)
from kms_policies.strict_json import without_white_space
from pcrgate.errors import ErrorCode, KeyPolicyError

MANAGED_POLICY_MAX_BYTES: Final = 6_144
"""Largest customer managed policy without white space. Spec: IAM User Guide, "IAM and AWS STS quotas"."""


class Template(Enum):
    """Name every shipped template; the value is the file's name without ``.json.tftpl``."""

    MODEL_WEIGHTS_KEY = "model_weights_key"
    SESSION_KEY = "session_key"
    CREDENTIALS_KEY = "credentials_key"
    PARENT_ROLE = "parent_role"
    PUBLISHER_ROLE = "publisher_role"
    RESOURCE_CONTROL_POLICY = "resource_control_policy"
    NITROTPM_MODEL_WEIGHTS_KEY = "nitrotpm_model_weights_key"
    NITROTPM_SESSION_KEY = "nitrotpm_session_key"
    NITROTPM_CREDENTIALS_KEY = "nitrotpm_credentials_key"
    NITROTPM_PARENT_ROLE = "nitrotpm_parent_role"
    NITROTPM_RESOURCE_CONTROL_POLICY = "nitrotpm_resource_control_policy"


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateTraits:
    """Say what a template makes and takes.

    Attributes:
        kind: where the policy is attached.
        max_bytes: the largest result AWS stores, without white space.
        nitrotpm: whether it conditions on NitroTPM PCRs rather than an enclave's.
        sealing: whether it is a key that publishers seal for.
    """

    kind: PolicyKind
    max_bytes: int
    nitrotpm: bool = False
    sealing: bool = False


def _traits() -> Mapping[Template, TemplateTraits]:
    found = {}
    for template in Template:
        name = template.value.removeprefix("nitrotpm_")
        nitrotpm = name != template.value
        if name.endswith("_key"):
            found[template] = TemplateTraits(
                kind=PolicyKind.KEY, max_bytes=POLICY_MAX_BYTES, nitrotpm=nitrotpm, sealing=name != "session_key"
            )
        elif name.endswith("_role"):
            found[template] = TemplateTraits(
                kind=PolicyKind.IDENTITY, max_bytes=MANAGED_POLICY_MAX_BYTES, nitrotpm=nitrotpm
            )
        else:
            found[template] = TemplateTraits(
                kind=PolicyKind.RESOURCE_CONTROL, max_bytes=RESOURCE_CONTROL_MAX_BYTES, nitrotpm=nitrotpm
            )
    return MappingProxyType(found)


TRAITS: Final = _traits()
"""The traits of every template."""


def template_named(name: str) -> Template:
    """Return the template of that name.

    Raises:
        KeyPolicyError: ``policy-template`` when none has it.
    """
    try:
        return Template(name)
    except ValueError:
        known = ", ".join(template.value for template in Template)
        raise KeyPolicyError(ErrorCode.POLICY_TEMPLATE, f"no template {name[:80]!a}, expected {known}") from None


def template_text(template: Template) -> str:
    """Return the text of a shipped template, as Terraform reads it too."""
    return files("kms_policies").joinpath("templates", f"{template.value}.json.tftpl").read_text(encoding="utf-8")


def parse_inputs(template: Template, data: object) -> Inputs:
    """Read the inputs of a template from decoded JSON.

    Raises:
        KeyPolicyError: ``policy-input`` and its kin.
    """
    traits = TRAITS[template]
    if traits.kind is PolicyKind.KEY:
        return parse_with(data, lambda found: parse_key_inputs(found, nitrotpm=traits.nitrotpm))
    if template is Template.PUBLISHER_ROLE:
        return parse_with(data, parse_publisher_inputs)
    return parse_with(data, lambda found: parse_conditioned_inputs(found, nitrotpm=traits.nitrotpm))


def template_variables(template: Template, inputs: Inputs) -> dict[str, TemplateValue]:
    """Return the variables that Terraform would have to pass for the same policy.

    Raises:
        KeyPolicyError: ``policy-input`` when the inputs are not this template's.
    """
    traits = TRAITS[template]
    expected: type = KeyPolicyInputs if traits.kind is PolicyKind.KEY else ConditionedPolicyInputs
    if template is Template.PUBLISHER_ROLE:
        expected = PublisherRoleInputs
    if not isinstance(inputs, expected):
        raise KeyPolicyError(ErrorCode.POLICY_INPUT, f"{template.value} takes {expected.__name__}")
    if not isinstance(inputs, PublisherRoleInputs):
        measured = NitroTpmMeasurements if traits.nitrotpm else EnclaveMeasurements
        if not isinstance(inputs.measurements, measured):
            raise KeyPolicyError(ErrorCode.POLICY_INPUT, f"{template.value} takes {measured.__name__}")
    if isinstance(inputs, KeyPolicyInputs):
        if traits.sealing and not inputs.publishers:
            raise KeyPolicyError(ErrorCode.POLICY_INPUT_MISSING, "publishers is empty, expected who seals for this key")
        if not traits.sealing and inputs.publishers:
            raise KeyPolicyError(
                ErrorCode.POLICY_INPUT, "publishers is given, expected none: nobody seals session keys"
            )
    wanted = variable_names(template_text(template))
    return {name: value for name, value in inputs.variables().items() if name in wanted}


def render(template: Template | str, inputs: Inputs) -> str:
    """Return the policy's JSON, without white space, in the order of the template.

    Args:
        template: a shipped template, or its name.
        inputs: the typed inputs it takes.

    Raises:
        KeyPolicyError: ``policy-input`` and its kin, ``policy-template``; ``policy-input-size`` when the result
            is larger than AWS stores.
    """
    chosen = template_named(template) if isinstance(template, str) else template
    text = without_white_space(expand(template_text(chosen), template_variables(chosen, inputs)))
    traits = TRAITS[chosen]
    size = len(text.encode())
    if size > traits.max_bytes:
        raise KeyPolicyError(
            ErrorCode.POLICY_INPUT_SIZE,
            f"the {traits.kind.value} has {size} bytes, expected at most {traits.max_bytes}: approve fewer values",
        )
    parse_policy(text, kind=traits.kind)
    return text
