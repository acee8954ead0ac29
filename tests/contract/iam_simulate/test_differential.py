"""The evaluator against an independent simulator: the same question to both, and no unexplained difference."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kms_policies.evaluator import Outcome
from kms_policies.operators import OPERATORS
from kms_policies.request import PrincipalKind
from tests.contract.iam_simulate import oracle
from tests.contract.iam_simulate.cases import (
    FOREIGN_ROOT,
    KEY_ARN,
    ROLE,
    ROOT,
    SERVICE,
    SESSION,
    USER,
    Generator,
    Policies,
    Question,
)
from tests.contract.iam_simulate.comparison import ANSWERS, decide, line_for, parse_all, request_of

SEED = 20260901
POLICY_SETS = 4_100
QUESTIONS_PER_SET = 5


@pytest.fixture(scope="session")
def home() -> Path:
    try:
        return oracle.install()
    except oracle.OracleUnavailableError as reason:
        pytest.skip(f"the independent simulator cannot run: {reason}")


def _operators(document: Mapping[str, Any]) -> set[str]:
    statements = document["Statement"]
    return {operator for statement in statements for operator in statement.get("Condition", {})}


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_no_difference_in_twenty_thousand_random_cases(home: Path) -> None:
    generator = Generator(SEED)
    ours: list[Outcome] = []
    lines: list[dict[str, Any]] = []
    used: Counter[str] = Counter()
    for _ in range(POLICY_SETS):
        policies = generator.policies()
        parsed = parse_all(policies)
        used.update(_operators(policies.key_policy))
        for _ in range(QUESTIONS_PER_SET):
            question = generator.question()
            request = request_of(question)
            ours.append(decide(parsed, request))
            lines.append(line_for(policies, request, question))
    answers = oracle.ask(home, lines)
    assert len(lines) == len(answers) >= 20_000
    assert [answer for answer in answers if "error" in answer or answer["ignored"]] == []
    theirs = [ANSWERS[answer["result"]] for answer in answers]
    differences = [
        f"ours {our.value}, theirs {their.value}: {json.dumps(line)}"
        for our, their, line in zip(ours, theirs, lines, strict=True)
        if our is not their
    ]
    assert differences[:3] == [], f"{len(differences)} differences"
    # The cases are worth something only if every outcome and every operator comes up often.
    assert min(Counter(theirs)[outcome] for outcome in ANSWERS.values()) > 1_000
    for name in set(OPERATORS) - {"BinaryEquals"}:
        assert sum(count for spelt, count in used.items() if name in spelt.removesuffix("IfExists").split(":")) > 10, (
            name
        )


def test_harness_notices_an_evaluator_that_forgets_identity_policies(home: Path) -> None:
    generator = Generator(SEED)
    ours: list[Outcome] = []
    lines: list[dict[str, Any]] = []
    for _ in range(200):
        policies = generator.policies()
        parsed = replace(parse_all(policies), identity=())
        question = generator.question()
        request = request_of(question)
        ours.append(decide(parsed, request))
        lines.append(line_for(policies, request, question))
    theirs = [ANSWERS[answer["result"]] for answer in oracle.ask(home, lines)]
    assert ours != theirs


def test_no_difference_for_an_action_without_a_key(home: Path) -> None:
    generator = Generator(SEED + 1)
    ours: list[Outcome] = []
    lines: list[dict[str, Any]] = []
    for _ in range(800):
        policies = replace(generator.policies(), control=())
        drawn = generator.question()
        question = Question(principal=drawn.principal, action="kms:GenerateRandom", context={}, resource="*")
        request = request_of(question)
        if request.principal.kind in (PrincipalKind.ROOT, PrincipalKind.SERVICE):
            continue
        ours.append(decide(parse_all(policies), request))
        lines.append(line_for(policies, request, question) | {"keyPolicy": None, "account": request.principal.account})
    theirs = [ANSWERS[answer["result"]] for answer in oracle.ask(home, lines)]
    differences = [json.dumps(line) for our, their, line in zip(ours, theirs, lines, strict=True) if our is not their]
    assert differences[:3] == [], f"{len(differences)} differences"
    assert set(theirs) == set(ANSWERS.values())


def test_the_lock_file_names_no_registry_host() -> None:
    lock = json.loads((oracle.HERE / "package-lock.json").read_text())
    assert "://" not in json.dumps(lock)
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert all(entry["integrity"].startswith("sha512-") for entry in packages.values())


def _allow(condition: Mapping[str, Any] | None = None, *, principal: Any = USER) -> dict[str, Any]:
    statement = {"Effect": "Allow", "Principal": principal if principal == "*" else {"AWS": principal}}
    return statement | {"Action": "kms:*", "Resource": "*"} | ({"Condition": condition} if condition else {})


def _key_policy(*statements: Mapping[str, Any], version: str = "2012-10-17") -> dict[str, Any]:
    return {"Version": version, "Statement": list(statements)}


def _question(principal: str = USER, **context: str | list[str]) -> Question:
    names = {name.replace("__", ":").replace("_slash_", "/"): value for name, value in context.items()}
    return Question(principal=principal, action="kms:Decrypt", context=names, resource=KEY_ARN)


_NOT_PRINCIPAL = {"Effect": "Deny", "NotPrincipal": {"AWS": [ROOT, ROLE, SESSION]}, "Action": "*", "Resource": "*"}
_SESSION_POLICY = _key_policy({"Effect": "Allow", "Action": "s3:*", "Resource": "*"})

DEVIATIONS = {
    "1-root-needs-no-identity-policy": (
        Policies(key_policy=_key_policy(_allow(principal=ROOT))),
        _question(ROOT),
        Outcome.ALLOW,
        Outcome.IMPLICIT_DENY,
    ),
    "1-foreign-root-needs-no-identity-policy": (
        Policies(key_policy=_key_policy(_allow(principal=FOREIGN_ROOT))),
        _question(FOREIGN_ROOT),
        Outcome.ALLOW,
        Outcome.IMPLICIT_DENY,
    ),
    "2-encryption-context-key-by-its-name": (
        Policies(key_policy=_key_policy(_allow({"StringEquals": {"kms:EncryptionContext:class": "weights"}}))),
        _question(kms__EncryptionContext__class="weights"),
        Outcome.ALLOW,
        Outcome.IMPLICIT_DENY,
    ),
    "3-for-any-value-if-exists-on-a-missing-key": (
        Policies(
            key_policy=_key_policy(_allow({"ForAnyValue:StringEqualsIfExists": {"kms:EncryptionContextKeys": "class"}}))
        ),
        _question(),
        Outcome.ALLOW,
        Outcome.IMPLICIT_DENY,
    ),
    "4-not-principal-with-the-account-listed": (
        Policies(key_policy=_key_policy(_NOT_PRINCIPAL, _allow())),
        _question(USER),
        Outcome.EXPLICIT_DENY,
        Outcome.ALLOW,
    ),
    "5-session-named-directly-beside-a-session-policy": (
        Policies(key_policy=_key_policy(_allow(principal=SESSION)), session=_SESSION_POLICY),
        _question(SESSION),
        Outcome.ALLOW,
        Outcome.IMPLICIT_DENY,
    ),
    "6-escape-in-an-equality": (
        Policies(key_policy=_key_policy(_allow({"StringEquals": {"kms:ViaService": "a${*}"}}))),
        _question(kms__ViaService="a*"),
        Outcome.ALLOW,
        Outcome.IMPLICIT_DENY,
    ),
    "7-range-of-all-addresses": (
        Policies(key_policy=_key_policy(_allow({"IpAddress": {"aws:SourceIp": "0.0.0.0/0"}}))),
        _question(aws__SourceIp="203.0.113.7"),
        Outcome.ALLOW,
        Outcome.IMPLICIT_DENY,
    ),
    "8-bare-address-against-the-other-family": (
        Policies(key_policy=_key_policy(_allow({"NotIpAddress": {"aws:SourceIp": "203.0.113.7"}}))),
        _question(aws__SourceIp="2001:db8::1"),
        Outcome.ALLOW,
        Outcome.IMPLICIT_DENY,
    ),
    "9-date-as-seconds-of-the-epoch": (
        Policies(key_policy=_key_policy(_allow({"DateEquals": {"aws:CurrentTime": "1767225600"}}))),
        _question(aws__CurrentTime="2026-01-01T00:00:00Z"),
        Outcome.ALLOW,
        Outcome.IMPLICIT_DENY,
    ),
    "10-variable-that-brings-colons-into-an-arn": (
        Policies(key_policy=_key_policy(_allow({"ArnEquals": {"aws:PrincipalArn": "${aws:SourceArn}"}}))),
        _question(aws__SourceArn=USER),
        Outcome.ALLOW,
        Outcome.IMPLICIT_DENY,
    ),
    "11-unresolved-variable-under-a-negated-arn-operator": (
        Policies(
            key_policy=_key_policy(
                _allow({"ArnNotLike": {"aws:PrincipalArn": "arn:aws:iam::1:user/${aws:PrincipalTag/none}"}})
            )
        ),
        _question(),
        Outcome.IMPLICIT_DENY,
        Outcome.ALLOW,
    ),
    "12-variable-in-the-old-version": (
        Policies(
            key_policy=_key_policy(_allow({"StringLike": {"kms:ViaService": "${aws:username}"}}), version="2008-10-17")
        ),
        _question(kms__ViaService="operator"),
        Outcome.IMPLICIT_DENY,
        Outcome.ALLOW,
    ),
}


@pytest.mark.parametrize("name", DEVIATIONS)
def test_every_known_deviation_is_still_one(home: Path, name: str) -> None:
    policies, question, expected_ours, expected_theirs = DEVIATIONS[name]
    request = request_of(question)
    line = line_for(policies, request, question) | {"identity": list(policies.identity)}
    answer = oracle.ask(home, [line])[0]
    assert decide(parse_all(policies), request) is expected_ours
    assert ANSWERS[answer["result"]] is expected_theirs


def test_service_named_in_the_key_policy_needs_nothing_else(home: Path) -> None:
    policies = Policies(key_policy=_key_policy(_allow() | {"Principal": {"Service": SERVICE}}))
    question = _question(SERVICE)
    request = request_of(question)
    answer = oracle.ask(home, [line_for(policies, request, question)])[0]
    assert decide(parse_all(policies), request) is ANSWERS[answer["result"]] is Outcome.ALLOW
