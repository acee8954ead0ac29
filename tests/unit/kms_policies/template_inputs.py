"""Inputs for every shipped template, as the JSON a person would write."""

from kms_policies.document import PolicyKind
from kms_policies.rendering import TRAITS, Template

ACCOUNT = "111122223333"
OTHER_ACCOUNT = "444455556666"
ADMINISTRATOR = f"arn:aws:iam::{ACCOUNT}:role/key-administrator"
SECOND_ADMINISTRATOR = f"arn:aws:iam::{ACCOUNT}:role/break-glass"
PUBLISHER = f"arn:aws:iam::{ACCOUNT}:role/publishing/publisher"
PARENT = f"arn:aws:iam::{ACCOUNT}:role/enclave-parent"
FOREIGN_PARENT = f"arn:aws:iam::{OTHER_ACCOUNT}:role/enclave-parent"
KEY_ARN = f"arn:aws:kms:eu-central-1:{ACCOUNT}:key/12345678-90ab-cdef-1234-567890abcdef"
PCR0, PCR0_NEXT, PCR1, PCR2, PCR3, PCR8 = (digit * 96 for digit in "ab1238")
PCR4, PCR7, PCR12 = (digit * 96 for digit in "47c")


def measurement_fields(template: Template, *, every: bool = False) -> dict[str, object]:
    """Return the PCR fields a template needs; with ``every``, also the optional ones."""
    if TRAITS[template].nitrotpm:
        return {"pcr4": [PCR4], "pcr7": [PCR7], "pcr12": [PCR12]}
    further: dict[str, object] = {"pcr1": PCR1, "pcr2": [PCR2], "pcr3": [PCR3], "pcr8": [PCR8, PCR1]}
    return {"pcr0": [PCR0, PCR0_NEXT]} | (further if every else {})


def input_fields(template: Template, *, every: bool = False) -> dict[str, object]:
    """Return the fields a template needs; with ``every``, also the optional ones."""
    traits = TRAITS[template]
    if traits.kind is PolicyKind.KEY:
        fields: dict[str, object] = {
            "account": ACCOUNT,
            "administrators": [ADMINISTRATOR, SECOND_ADMINISTRATOR],
            "parents": [PARENT],
            **measurement_fields(template, every=every),
        }
        if traits.sealing:
            fields["publishers"] = [PUBLISHER]
        if every:
            fields |= {
                "parents": [PARENT, FOREIGN_PARENT],
                "workload_accounts": [OTHER_ACCOUNT],
                "minimum_deletion_window_days": 14,
                "root_delegation": True,
            }
        return fields
    if template is Template.PUBLISHER_ROLE:
        return {"key_arns": [KEY_ARN]}
    return {"key_arns": [KEY_ARN], **measurement_fields(template, every=every)}
