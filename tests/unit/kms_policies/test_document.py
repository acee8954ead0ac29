"""Policy documents: what is read, what is refused and with which code."""

import hashlib
import json
from typing import Any

import pytest

from kms_policies.document import (
    IDENTITY_MAX_BYTES,
    POLICY_MAX_BYTES,
    RESOURCE_CONTROL_MAX_BYTES,
    SESSION_MAX_BYTES,
    STATEMENTS_MAX,
    TEXT_MAX_BYTES,
    Condition,
    Effect,
    Policy,
    PolicyKind,
    PrincipalElement,
    SetOperator,
    ValueType,
    parse_policy,
)
from kms_policies.strict_json import DEPTH_MAX, parse_strict
from pcrgate.errors import ErrorCode, KeyPolicyError

ROLE = "arn:aws:iam::111122223333:role/parent"


def statement(**changes: Any) -> dict[str, Any]:
    base = {"Effect": "Allow", "Principal": {"AWS": ROLE}, "Action": "kms:Decrypt", "Resource": "*"} | changes
    return {name: value for name, value in base.items() if value is not None}


def document(*statements: Any, **changes: Any) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements) or [statement()]} | changes


def parse(content: Any, kind: PolicyKind = PolicyKind.KEY, **options: Any) -> Policy:
    return parse_policy(content if isinstance(content, str | bytes) else json.dumps(content), kind=kind, **options)


def refused(content: Any, kind: PolicyKind = PolicyKind.KEY, **options: Any) -> ErrorCode:
    with pytest.raises(KeyPolicyError) as caught:
        parse(content, kind, **options)
    return caught.value.code


def test_every_element_arrives_as_written() -> None:
    text = json.dumps(
        {
            "Version": "2012-10-17",
            "Id": "weights",
            "Statement": {
                "Sid": "Release",
                "Effect": "Deny",
                "NotPrincipal": {
                    "AWS": [ROLE, "111122223333"],
                    "Service": "s3.amazonaws.com",
                    "Federated": "cognito-identity.amazonaws.com",
                    "CanonicalUser": "79a59df900b949e55d96a1e698fbace",
                },
                "NotAction": ["kms:Decrypt", "kms:Generate*"],
                "NotResource": "arn:aws:kms:eu-central-1:111122223333:key/*",
                "Condition": {"forAnyValue:stringLIKEifexists": {"kms:EncryptionContextKeys": ["a*", 1, True, 2.50]}},
            },
        },
        indent=2,
    )
    policy = parse(text)
    only = policy.statements[0]
    assert (policy.kind, policy.version, policy.policy_id) == (PolicyKind.KEY, "2012-10-17", "weights")
    assert policy.has_variables
    assert policy.source_sha256 == hashlib.sha256(text.encode()).digest()
    assert policy.size_bytes == len(json.dumps(json.loads(text), separators=(",", ":")))
    assert (only.index, only.sid, only.effect, only.label) == (0, "Release", Effect.DENY, "statement 0 (Release)")
    assert only.principal == PrincipalElement(
        any=False,
        aws=(ROLE, "111122223333"),
        service=("s3.amazonaws.com",),
        federated=("cognito-identity.amazonaws.com",),
        canonical=("79a59df900b949e55d96a1e698fbace",),
    )
    assert only.not_principal
    assert only.not_action
    assert only.not_resource
    assert only.actions == ("kms:Decrypt", "kms:Generate*")
    assert only.resources == ("arn:aws:kms:eu-central-1:111122223333:key/*",)
    condition = only.conditions[0]
    assert condition == Condition(
        operator="StringLike",
        set_operator=SetOperator.FOR_ANY_VALUE,
        if_exists=True,
        key="kms:EncryptionContextKeys",
        values=("a*", "1", "true", "2.5"),
    )
    assert condition.operator_text == "ForAnyValue:StringLikeIfExists"
    assert condition.folded_key == "kms:encryptioncontextkeys"
    assert condition.value_type is ValueType.STRING
    assert not condition.negated


@pytest.mark.parametrize("principal", ["*", {"AWS": "*"}, {"AWS": [ROLE, "*"]}])
def test_a_lone_star_is_everyone(principal: Any) -> None:
    element = parse(document(statement(Principal=principal))).statements[0].principal
    assert element is not None
    assert element.any


def test_a_document_without_version_is_of_the_old_one() -> None:
    policy = parse({"Statement": statement()})
    assert policy.version == "2008-10-17"
    assert not policy.has_variables
    assert parse(document(Version="2008-10-17")).version == "2008-10-17"


def test_numbers_keep_the_digits_they_were_written_with() -> None:
    text = json.dumps(document(statement(Condition={"NumericEquals": {"a:b": 0}}))).replace(": 0}", ": 1.10}")
    assert parse(text).statements[0].conditions[0].values == ("1.10",)


@pytest.mark.parametrize("text", ["{}", ""])
def test_a_byte_order_mark_is_named(text: str) -> None:
    with pytest.raises(KeyPolicyError) as caught:
        parse(b"\xef\xbb\xbf" + text.encode())
    assert (caught.value.code, "byte order mark" in caught.value.message) == (ErrorCode.POLICY_JSON, True)


def test_equal_text_gives_equal_policies_that_hash_alike() -> None:
    assert parse(document()) == parse(document())
    assert hash(parse(document())) == hash(parse(document()))
    assert parse(document()) != parse(document(statement(Effect="Deny")))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", ErrorCode.POLICY_JSON),
        ("{", ErrorCode.POLICY_JSON),
        ('{"Version": NaN}', ErrorCode.POLICY_JSON),
        ('{"Version": "2012-10-17",}', ErrorCode.POLICY_JSON),
        (b"\xff\xfe", ErrorCode.POLICY_JSON),
        (b"\xef\xbb\xbf{}", ErrorCode.POLICY_JSON),
        ('"\\ud800"', ErrorCode.POLICY_JSON),
        ("\ud800", ErrorCode.POLICY_JSON),
        ("[]", ErrorCode.POLICY_ELEMENT),
        ('"text"', ErrorCode.POLICY_ELEMENT),
        ("{}", ErrorCode.POLICY_ELEMENT),
        ('{"Version":"2012-10-17","Version":"2012-10-17","Statement":[]}', ErrorCode.POLICY_DUPLICATE_KEY),
        ("[" * 9 + "]" * 9, ErrorCode.POLICY_TOO_LARGE),
        ("[" * 100_000, ErrorCode.POLICY_TOO_LARGE),
        ('"' + '\\"' * 60_000, ErrorCode.POLICY_JSON),
        ('"\\', ErrorCode.POLICY_JSON),
    ],
)
def test_text_that_is_not_a_policy(text: str | bytes, code: ErrorCode) -> None:
    assert refused(text) is code


@pytest.mark.parametrize(
    "path",
    [
        '"Effect":"Allow","Effect":"Deny"',
        '"Principal":{"AWS":"*","AWS":"*"}',
        '"Condition":{"Bool":{"a:b":"true"},"Bool":{"a:b":"true"}}',
        '"Condition":{"Bool":{"a:b":"true","a:b":"false"}}',
    ],
)
def test_a_key_given_twice_at_any_level(path: str) -> None:
    assert refused(f'{{"Version":"2012-10-17","Statement":[{{{path}}}]}}') is ErrorCode.POLICY_DUPLICATE_KEY


@pytest.mark.parametrize(
    "condition",
    [
        {"StringEquals": {"kms:ViaService": "a", "KMS:viaservice": "b"}},
        {"StringEquals": {"kms:ViaService": "a"}, "stringequals": {"kms:ViaService": "b"}},
        {"ForAnyValue:Bool": {"a:b": "true"}, "foranyvalue:bool": {"A:B": "true"}},
    ],
)
def test_a_condition_given_twice_in_other_letters(condition: Any) -> None:
    assert refused(document(statement(Condition=condition))) is ErrorCode.POLICY_DUPLICATE_KEY


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"Statement": []}, ErrorCode.POLICY_ELEMENT),
        ({"Statement": "x"}, ErrorCode.POLICY_ELEMENT),
        ({"Statement": None}, ErrorCode.POLICY_ELEMENT),
        ({"Statement": [[]]}, ErrorCode.POLICY_ELEMENT),
        ({"Version": "2012-10-18"}, ErrorCode.POLICY_VERSION),
        ({"Version": 20121017}, ErrorCode.POLICY_VERSION),
        ({"Version": None}, ErrorCode.POLICY_VERSION),
        ({"Id": 7}, ErrorCode.POLICY_ELEMENT),
        ({"id": "x"}, ErrorCode.POLICY_ELEMENT),
        ({"Comment": "x"}, ErrorCode.POLICY_ELEMENT),
    ],
)
def test_elements_of_the_document(change: dict[str, Any], code: ErrorCode) -> None:
    assert refused(document(**change)) is code


@pytest.mark.parametrize(
    "change",
    [
        {"Sid": 7},
        {"Sid": ["x"]},
        {"Sid": "a\nb"},
        {"Effect": "allow"},
        {"Effect": None},
        {"Effect": ["Allow"]},
        {"effect": "Allow"},
        {"Action": None},
        {"NotAction": "kms:*"},
        {"Action": []},
        {"Action": ""},
        {"Action": [7]},
        {"Action": {"a": "b"}},
        {"Action": "Decrypt"},
        {"Action": "k*:Decrypt"},
        {"Action": "kms:"},
        {"Action": "kms:${aws:username}"},
        {"Resource": None},
        {"NotResource": "*"},
        {"Resource": "key/abc"},
        {"Resource": "arn:aws:kms:*:key/*"},
        {"Resource": "arn:aws:kms"},
        {"Resource": ["*", None]},
        {"Condition": []},
        {"Condition": {"Bool": {}}},
        {"Condition": {"Bool": "x"}},
        {"Condition": {"StringEquals": {"": "x"}}},
        {"Condition": {"StringEquals": {" ": "x"}}},
        {"Condition": {"StringEquals": {"a:b\x1b": "x"}}},
        {"Condition": {"StringEquals": {"a:b": []}}},
        {"Condition": {"StringEquals": {"a:b": None}}},
        {"Condition": {"StringEquals": {"a:b": [["x"]]}}},
        {"Condition": {"StringEquals": {"a:b": {"c": "d"}}}},
    ],
)
def test_elements_of_a_statement(change: dict[str, Any]) -> None:
    raw = statement() | change
    if change.get("Action", 0) is None or change.get("Resource", 0) is None or change.get("Effect", 0) is None:
        raw = {name: value for name, value in raw.items() if value is not None}
    assert refused(document(raw)) is ErrorCode.POLICY_ELEMENT


@pytest.mark.parametrize(
    "principal",
    [
        None,
        {},
        [],
        "arn:aws:iam::111122223333:root",
        7,
        {"aws": "*"},
        {"AWS": "arn:aws:iam::111122223333:role/*"},
        {"AWS": "arn:aws:iam::1111:root"},
        {"AWS": "arn:aws:iam::111122223333:group/x"},
        {"AWS": "arn:aws:iam::111122223333:user/"},
        {"AWS": "arn:aws:sts::111122223333:assumed-role/x"},
        {"AWS": "11112222333"},
        {"Service": "*"},
        {"Service": "s3"},
        {"Service": "*.amazonaws.com"},
    ],
)
def test_principals_that_aws_does_not_take(principal: Any) -> None:
    assert refused(document(statement(Principal=principal))) is ErrorCode.POLICY_PRINCIPAL


@pytest.mark.parametrize(
    "name",
    [
        "arn:aws:iam::111122223333:user/path/to/a.b@c+d=e,f_g-h",
        "arn:aws-cn:iam::111122223333:role/service/x",
        "arn:aws:sts::111122223333:assumed-role/x/i-0123",
        "arn:aws:sts::111122223333:federated-user/x",
        "AROAEXAMPLEEXAMPLE1234",
    ],
)
def test_principals_that_aws_takes(name: str) -> None:
    element = parse(document(statement(Principal={"AWS": name}))).statements[0].principal
    assert element == PrincipalElement(any=False, aws=(name,))


def test_principal_and_not_principal_exclude_each_other() -> None:
    assert refused(document(statement(NotPrincipal="*"))) is ErrorCode.POLICY_PRINCIPAL


@pytest.mark.parametrize("kind", [PolicyKind.IDENTITY, PolicyKind.SESSION])
def test_identity_and_session_policies_name_no_principal(kind: PolicyKind) -> None:
    assert refused(document(), kind) is ErrorCode.POLICY_PRINCIPAL
    assert parse(document(statement(Principal=None)), kind).statements[0].principal is None


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"Principal": {"AWS": ROLE}}, ErrorCode.POLICY_PRINCIPAL),
        ({"Principal": None, "NotPrincipal": "*"}, ErrorCode.POLICY_PRINCIPAL),
        ({"Action": None, "NotAction": "kms:*"}, ErrorCode.POLICY_ELEMENT),
        ({"Action": "*"}, ErrorCode.POLICY_ELEMENT),
    ],
)
def test_resource_control_policies_have_their_own_rules(change: dict[str, Any], code: ErrorCode) -> None:
    assert (
        refused(document(statement(**{"Effect": "Deny", "Principal": "*"} | change)), PolicyKind.RESOURCE_CONTROL)
        is code
    )


def test_the_full_access_that_organizations_attaches_is_readable() -> None:
    allow = document(statement(Principal="*", Action="*"))
    assert parse(allow, PolicyKind.RESOURCE_CONTROL).statements[0].effect is Effect.ALLOW
    assert refused(allow | {"Version": "2008-10-17"}, PolicyKind.RESOURCE_CONTROL) is ErrorCode.POLICY_VERSION


def padded(size_bytes: int, kind: PolicyKind) -> str:
    principal = None if kind in (PolicyKind.IDENTITY, PolicyKind.SESSION) else "*"
    text = json.dumps(document(statement(Principal=principal, Sid="")), separators=(",", ":"))
    return text.replace('"Sid":""', '"Sid":"' + "x" * (size_bytes - len(text)) + '"')


@pytest.mark.parametrize(
    ("kind", "limit"),
    [
        (PolicyKind.KEY, POLICY_MAX_BYTES),
        (PolicyKind.IDENTITY, IDENTITY_MAX_BYTES),
        (PolicyKind.RESOURCE_CONTROL, RESOURCE_CONTROL_MAX_BYTES),
        (PolicyKind.SESSION, SESSION_MAX_BYTES),
    ],
)
def test_sizes_at_the_limit_and_one_past(kind: PolicyKind, limit: int) -> None:
    assert parse(padded(limit, kind), kind).size_bytes == limit
    assert refused(padded(limit + 1, kind), kind) is ErrorCode.POLICY_TOO_LARGE
    assert parse(padded(limit + 1, kind), kind, max_bytes=limit + 1).size_bytes == limit + 1


def test_white_space_does_not_count_but_has_a_limit_of_its_own() -> None:
    text = padded(POLICY_MAX_BYTES, PolicyKind.KEY)
    assert parse(text + " " * (TEXT_MAX_BYTES - len(text))).size_bytes == POLICY_MAX_BYTES
    assert refused(text + " " * (TEXT_MAX_BYTES - len(text) + 1)) is ErrorCode.POLICY_TOO_LARGE


def test_white_space_inside_strings_counts() -> None:
    spaced = document(statement(Sid='a \\"  b'))
    assert parse(json.dumps(spaced, indent=4)).size_bytes == len(json.dumps(spaced, separators=(",", ":")))


def test_statements_at_the_limit_and_one_past() -> None:
    many = {"Version": "2012-10-17", "Statement": [statement()] * STATEMENTS_MAX}
    assert len(parse(many, max_bytes=1_000_000).statements) == STATEMENTS_MAX
    many["Statement"] = [statement()] * (STATEMENTS_MAX + 1)
    assert refused(many, max_bytes=1_000_000) is ErrorCode.POLICY_TOO_LARGE


def test_depth_at_the_limit_and_one_past() -> None:
    assert parse_strict("[" * DEPTH_MAX + "]" * DEPTH_MAX, "x")
    with pytest.raises(KeyPolicyError, match="nested 9 deep"):
        parse_strict("[" * (DEPTH_MAX + 1) + "]" * (DEPTH_MAX + 1), "x")
    assert parse_strict('"' + "[" * 50 + '"', "x") == "[" * 50


@pytest.mark.parametrize(
    ("operator", "code"),
    [
        ("StringEqual", ErrorCode.POLICY_OPERATOR),
        ("IfExists", ErrorCode.POLICY_OPERATOR),
        ("", ErrorCode.POLICY_OPERATOR),
        ("ForSomeValue:StringEquals", ErrorCode.POLICY_OPERATOR),
        (":StringEquals", ErrorCode.POLICY_OPERATOR),
        ("ForAnyValue:", ErrorCode.POLICY_OPERATOR),
        ("ForAnyValue:ForAllValues:StringEquals", ErrorCode.POLICY_OPERATOR),
        ("StringEqualsIfExistsIfExists", ErrorCode.POLICY_OPERATOR),
        ("NullIfExists", ErrorCode.POLICY_OPERATOR),
        ("ForAllValues:Null", ErrorCode.POLICY_OPERATOR),
        ("BinaryNotEquals", ErrorCode.POLICY_OPERATOR),
    ],
)
def test_operators_that_iam_does_not_know(operator: str, code: ErrorCode) -> None:
    assert refused(document(statement(Condition={operator: {"a:b": "true"}}))) is code


@pytest.mark.parametrize(
    ("operator", "value"),
    [
        ("NumericEquals", "ten"),
        ("NumericEquals", "1e1"),
        ("NumericLessThan", "0x10"),
        ("DateEquals", "yesterday"),
        ("DateLessThan", "2026-13-01"),
        ("DateGreaterThan", "2026-01-01T25:00:00Z"),
        ("Bool", "yes"),
        ("Null", "1"),
        ("BinaryEquals", "***"),
        ("IpAddress", "10.0.0.0/33"),
        ("NotIpAddress", "host"),
        ("ArnLike", "*"),
        ("ArnEquals", "arn:aws:s3"),
    ],
)
def test_values_that_an_operator_cannot_compare(operator: str, value: str) -> None:
    assert refused(document(statement(Condition={operator: {"a:b": value}}))) is ErrorCode.POLICY_VALUE


def test_messages_never_hold_a_control_character() -> None:
    for change in ({"Action": "a\nb"}, {"Resource": "\x1b[2J"}, {"Condition": {"x\ny": {"a": "b"}}}, {"\x00": "x"}):
        with pytest.raises(KeyPolicyError) as caught:
            parse(document(statement(**change)))
        assert caught.value.message.isprintable()
