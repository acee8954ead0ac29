import json

import pytest

from kms_policies.document import POLICY_MAX_BYTES, PolicyKind, parse_policy
from kms_policies.lint import lint
from kms_policies.lint_findings import Finding, LintCode, Severity
from kms_policies.rendering import TRAITS, Template, parse_inputs, render
from tests.unit.kms_policies.template_inputs import PARENT, PCR0, PCR4, PCR7, PCR12, input_fields, measurement_fields

PCR_KEY = "kms:RecipientAttestation:PCR0"
TPM = "kms:RecipientAttestation:NitroTPMPCR"
ZERO = "0" * 96
GATE: dict[str, object] = {
    "Sid": "Gate",
    "Effect": "Deny",
    "Principal": "*",
    "Action": ["kms:Decrypt", "kms:GenerateDataKey"],
    "Resource": "*",
    "Condition": {"StringNotEqualsIgnoreCase": {PCR_KEY: PCR0}},
}


def found(*statements: dict[str, object], version: str | None = "2012-10-17") -> list[Finding]:
    document: dict[str, object] = {"Statement": statements}
    if version is not None:
        document["Version"] = version
    return list(lint(parse_policy(json.dumps(document), kind=PolicyKind.KEY)))


def codes(*statements: dict[str, object], version: str | None = "2012-10-17") -> set[LintCode]:
    return {one.code for one in found(*statements, version=version)}


def allow(condition: dict[str, object] | None = None, **changed: object) -> dict[str, object]:
    statement: dict[str, object] = {
        "Effect": "Allow",
        "Principal": {"AWS": PARENT},
        "Action": "kms:Decrypt",
        "Resource": "*",
    } | changed
    return statement if condition is None else statement | {"Condition": condition}


def deny(condition: dict[str, object] | None = None, **changed: object) -> dict[str, object]:
    return allow(condition, **({"Effect": "Deny", "Principal": "*"} | changed))


EQUALS: dict[str, object] = {"StringEqualsIgnoreCase": {PCR_KEY: PCR0}}


def test_a_sound_statement_has_no_finding() -> None:
    assert codes(allow(EQUALS), GATE) == set()


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        (allow({"StringEqualsIgnoreCaseIfExists": {PCR_KEY: PCR0}}), LintCode.IF_EXISTS),
        (allow({"ForAnyValue:StringEquals": {PCR_KEY: PCR0}}), LintCode.SET_OPERATOR),
        (allow({"ForAllValues:StringEqualsIgnoreCase": {PCR_KEY: PCR0}}), LintCode.SET_OPERATOR),
        (allow({"StringLike": {PCR_KEY: "ab*"}}), LintCode.WILDCARD_VALUE),
        (allow({"StringLike": {PCR_KEY: PCR0}}), LintCode.WILDCARD_VALUE),
        (allow({"ArnEquals": {PCR_KEY: "arn:aws:iam::1:a/b"}}), LintCode.FOREIGN_OPERATOR),
        (allow({"StringEqualsIgnoreCase": {"kms:RecipientAttestaton:PCR0": PCR0}}), LintCode.MISSPELT_KEY),
        (allow({"StringEqualsIgnoreCase": {"kms:RecipientAttestation:PCR32": PCR0}}), LintCode.MISSPELT_KEY),
        (allow({"StringEqualsIgnoreCase": {f"{TPM}24": PCR0}}), LintCode.MISSPELT_KEY),
        (allow({"StringEqualsIgnoreCase": {"kms:RecipientAttestation:ImageSha256": PCR0}}), LintCode.MISSPELT_KEY),
        (allow({"StringEqualsIgnoreCase": {"aws:RecipientAttestation:PCR0": PCR0}}), LintCode.MISSPELT_KEY),
        (allow({"StringEqualsIgnoreCase": {"kms:Attestation": PCR0}}), LintCode.MISSPELT_KEY),
        (deny({"StringNotEquals": {"kms:RecipientAttestation:PRC0": PCR0}}), LintCode.MISSPELT_KEY),
        (allow(EQUALS | {"StringEquals": {"kms:Colour": "blue"}}), LintCode.UNKNOWN_KEY),
        (allow({"StringEqualsIgnoreCase": {PCR_KEY: PCR0[:-1]}}), LintCode.MALFORMED_PCR),
        (allow({"StringEquals": {PCR_KEY: "*"}}), LintCode.MALFORMED_PCR),
        (allow({"StringEquals": {PCR_KEY: "${aws:PrincipalTag/pcr}"}}), LintCode.MALFORMED_PCR),
        (allow({"StringEqualsIgnoreCase": {PCR_KEY: [PCR0, ZERO]}}), LintCode.ZERO_PCR),
        (deny({"StringNotEqualsIgnoreCase": {PCR_KEY: ZERO}}), LintCode.ZERO_PCR),
        (allow({"StringEquals": {PCR_KEY: "A" * 96}}), LintCode.CASE),
        (allow({"StringEquals": {PCR_KEY: PCR0}}), LintCode.CASE_SENSITIVE),
        (deny(EQUALS), LintCode.DENY_POSITIVE),
        (allow({"StringNotEqualsIgnoreCase": {PCR_KEY: ZERO}}), LintCode.ALLOW_NEGATED),
        (allow({"Null": {PCR_KEY: "false"}}), LintCode.PRESENCE_ONLY),
        (deny({"Null": {PCR_KEY: "true"}}), LintCode.PRESENCE_ONLY),
        (allow(EQUALS, Action=["kms:Decrypt", "kms:Encrypt"]), LintCode.NEVER_SATISFIABLE),
        (allow(EQUALS, Action=["kms:Decrypt", "kms:DescribeKey"]), LintCode.NEVER_SATISFIABLE),
        (allow(EQUALS, Action="kms:*"), LintCode.NEVER_SATISFIABLE),
        (deny({"StringNotEqualsIgnoreCase": {PCR_KEY: PCR0}}, Action="kms:*"), LintCode.ALWAYS_DENIED),
        (
            deny({"StringNotEqualsIgnoreCase": {PCR_KEY: PCR0}}, Action=["kms:Decrypt", "kms:Encrypt"]),
            LintCode.ALWAYS_DENIED,
        ),
        (allow({"StringEqualsIgnoreCase": {"kms:RecipientAttestation:PCR8": PCR0}}), LintCode.PCR0_MISSING),
        (allow({"StringEqualsIgnoreCase": {"kms:RecipientAttestation:PCR3": PCR0}}), LintCode.PCR0_MISSING),
        (allow({"StringEqualsIgnoreCase": {"kms:RecipientAttestation:PCR4": PCR0}}), LintCode.PCR0_MISSING),
        (allow({"StringEqualsIgnoreCase": {f"{TPM}4": PCR4, f"{TPM}7": PCR7}}), LintCode.NITROTPM_INCOMPLETE),
        (allow({"StringEqualsIgnoreCase": {f"{TPM}12": PCR12}}), LintCode.NITROTPM_INCOMPLETE),
        (allow({"StringEqualsIgnoreCase": {f"{TPM}4": PCR4, PCR_KEY: PCR0}}), LintCode.MIXED_ATTESTATION),
        (allow(), LintCode.RELEASE_UNCONDITIONED),
        (allow({"StringEquals": {"kms:EncryptionContext:class": "weights"}}), LintCode.RELEASE_UNCONDITIONED),
        ({**allow(EQUALS), "Principal": "*"}, LintCode.WILDCARD_PRINCIPAL),
        (allow(EQUALS, Principal={"AWS": "arn:aws:iam::111122223333:root"}), LintCode.ROOT_DELEGATION),
        (allow(EQUALS, Principal={"AWS": "111122223333"}), LintCode.ROOT_DELEGATION),
        (allow(Action="kms:*"), LintCode.ALLOW_EVERYTHING),
        (allow(Action=["kms:ReEncrypt"]), LintCode.UNKNOWN_ACTION),
        (allow(Action=["kms:Decript"]), LintCode.UNKNOWN_ACTION),
        (allow(Action=["s3:GetObject", "kms:Decrypt"]), LintCode.FOREIGN_ACTION),
    ],
)
def test_each_mistake_is_found_and_explained(statement: dict[str, object], expected: LintCode) -> None:
    match = [one for one in found(statement) if one.code is expected]
    assert match
    assert match[0].index == 0
    assert match[0].where == "statement 0"
    assert match[0].message
    assert match[0].advice.endswith(".")


def test_not_action_and_not_principal() -> None:
    leaky: dict[str, object] = {
        "Effect": "Allow",
        "Principal": {"AWS": PARENT},
        "NotAction": "kms:Decrypt",
        "Resource": "*",
    }
    assert {LintCode.ALLOW_NOT_ACTION, LintCode.RELEASE_UNCONDITIONED} <= codes(leaky)
    spares: dict[str, object] = {
        "Effect": "Deny",
        "NotPrincipal": {"AWS": PARENT},
        "Action": "kms:Decrypt",
        "Resource": "*",
    }
    (warned,) = [one for one in found(allow(EQUALS), GATE, spares) if one.code is LintCode.NOT_PRINCIPAL]
    assert warned.severity is Severity.WARNING
    assert warned.where == "statement 2"
    everyone_else = {**spares, "Effect": "Allow"}
    (grave,) = [one for one in found(everyone_else) if one.code is LintCode.NOT_PRINCIPAL]
    assert grave.severity is Severity.ERROR


@pytest.mark.parametrize("version", ["2008-10-17", None])
def test_the_old_version_is_found(version: str | None) -> None:
    assert codes(allow(EQUALS), version=version) == {LintCode.OLD_VERSION}


def test_an_open_principal_without_condition_is_graver() -> None:
    with_condition, without = (
        next(one for one in found(statement) if one.code is LintCode.WILDCARD_PRINCIPAL)
        for statement in ({**allow(EQUALS), "Principal": "*"}, {**allow(), "Principal": {"AWS": "*"}})
    )
    assert (with_condition.severity, without.severity) == (Severity.WARNING, Severity.ERROR)


def test_what_is_meant_is_left_alone() -> None:
    assert codes(deny({"StringEquals": {PCR_KEY: ZERO}})) == {LintCode.CASE_SENSITIVE}
    assert codes(allow({"StringEqualsIgnoreCase": {f"{TPM}4": PCR4, f"{TPM}7": PCR7, f"{TPM}12": ZERO}})) == set()
    assert LintCode.ZERO_PCR in codes(allow({"StringEqualsIgnoreCase": {f"{TPM}4": ZERO}}))
    assert codes(allow({"StringEquals": {"kms:EncryptionContext:anything": "x"}}), GATE) == set()
    assert codes(deny({"Null": {PCR_KEY: "true"}}), GATE) == set()
    assert codes(deny({"StringEquals": {"aws:PrincipalTag/team": "x"}})) == set()
    assert codes(deny({"StringNotEqualsIgnoreCase": {PCR_KEY: PCR0}}, Action="kms:ReEncrypt*")) == set()


def test_a_deny_for_everyone_completes_an_allow() -> None:
    signer = allow({"StringEqualsIgnoreCase": {"kms:RecipientAttestation:PCR8": PCR0}})
    assert LintCode.PCR0_MISSING in codes(signer)
    assert codes(signer, GATE) == set()
    assert codes(allow(), GATE) == set()
    assert LintCode.RELEASE_UNCONDITIONED in codes(allow(), {**GATE, "Principal": {"AWS": PARENT}})
    assert LintCode.RELEASE_UNCONDITIONED in codes(allow(), {**GATE, "Action": "kms:GenerateDataKey"})


def test_the_size_is_watched_from_its_bound_on() -> None:
    def of(size: int) -> set[LintCode]:
        empty = len(json.dumps({"Version": "2012-10-17", "Id": "", "Statement": [GATE]}, separators=(",", ":")))
        text = json.dumps({"Version": "2012-10-17", "Id": "x" * (size - empty), "Statement": [GATE]})
        policy = parse_policy(text, kind=PolicyKind.KEY)
        assert policy.size_bytes == size
        return {one.code for one in lint(policy)}

    bound = -(-POLICY_MAX_BYTES * 90 // 100)
    assert of(bound) == {LintCode.SIZE}
    assert of(bound - 1) == set()


@pytest.mark.parametrize("template", Template)
def test_shipped_templates_have_no_finding(template: Template) -> None:
    text = render(template, parse_inputs(template, input_fields(template)))
    assert lint(parse_policy(text, kind=TRAITS[template].kind)) == ()
    assert measurement_fields(template)


def test_the_options_of_the_templates_are_warned_about_and_no_more() -> None:
    template = Template.MODEL_WEIGHTS_KEY
    text = render(template, parse_inputs(template, input_fields(template, every=True)))
    warned = lint(parse_policy(text, kind=PolicyKind.KEY))
    assert [one.code for one in warned] == [LintCode.ROOT_DELEGATION, LintCode.ALLOW_EVERYTHING]
    assert {one.severity for one in warned} == {Severity.WARNING}


def test_an_identity_policy_may_speak_of_other_services() -> None:
    text = json.dumps({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}})
    assert lint(parse_policy(text, kind=PolicyKind.IDENTITY)) == ()


def test_findings_come_gravest_first() -> None:
    severities = [one.severity for one in found(allow({"StringEquals": {PCR_KEY: PCR0}}), allow(), version=None)]
    assert severities == sorted(severities)
    assert found(allow(), version=None)[-1].where == "policy"
