"""Random key policies, rich in the operators that open holes, and random requests biased to what the policies spell out."""

import json
import random
from dataclasses import dataclass

from kms_policies.document import Policy, PolicyKind, parse_policy
from kms_policies.operations import ATTESTABLE_ACTIONS, ESCALATION_ACTIONS, PLAINTEXT_ACTIONS
from kms_policies.prover import ApprovedMeasurements, Question
from kms_policies.request import Grant, Principal, Request
from pcrgate.units import Sha384

HOME, AWAY = "111122223333", "444455556666"
PCRS = tuple(f"{i:02x}" * 48 for i in (0xAB, 0xCD, 0xEF, 0x12, 0x00))
ENCLAVE, ADMIN, OTHER = (f"arn:aws:iam::{HOME}:role/{name}" for name in ("enclave", "team/admin", "other"))
USER, FOREIGN = f"arn:aws:iam::{HOME}:user/ann", f"arn:aws:iam::{AWAY}:role/foreign"
SESSION = f"arn:aws:sts::{HOME}:assumed-role/enclave/one"
ROOT, FOREIGN_ROOT = f"arn:aws:iam::{HOME}:root", f"arn:aws:iam::{AWAY}:root"
NAMED = (ENCLAVE, ADMIN, OTHER, USER, FOREIGN, SESSION, ROOT, HOME, FOREIGN_ROOT, "*", "AROAEXAMPLEEXAMPLE1")
SIX = tuple(sorted(PLAINTEXT_ACTIONS))
ESCALATIONS = tuple(sorted(ESCALATION_ACTIONS))
PCR0, IMAGE = "kms:RecipientAttestation:PCR0", "kms:RecipientAttestation:ImageSha384"
OTHER_KEYS = {
    "kms:EncryptionContext:class": ("weights", "WEIGHTS", "session"),
    "kms:EncryptionContextKeys": ("class", "name"),
    "kms:ViaService": ("s3.us-east-1.amazonaws.com",),
    "kms:CallerAccount": (HOME, AWAY),
    "aws:PrincipalAccount": (HOME, AWAY),
    "aws:PrincipalArn": (ENCLAVE, ADMIN, FOREIGN, f"arn:aws:iam::{HOME}:role/*", "arn:aws:iam::*:role/team/*"),
    "aws:PrincipalTag/team": ("ml", "Ml", "m*"),
    "aws:PrincipalType": ("AssumedRole", "User", "Account"),
    "aws:SourceVpce": ("vpce-1", "vpce-2"),
    "aws:username": ("ann", "bob"),
}
TYPED = {
    "aws:MultiFactorAuthAge": (("NumericLessThan", "NumericGreaterThanEquals", "NumericNotEquals"), ("60", "3600.5")),
    "aws:CurrentTime": (
        ("DateLessThan", "DateGreaterThan", "DateNotEquals"),
        ("2026-01-01T00:00:00Z", "2027-06-01T00:00:00Z"),
    ),
    "aws:SourceIp": (("IpAddress", "NotIpAddress"), ("10.0.0.0/8", "10.1.0.0/16", "2001:db8::/32")),
    "aws:SecureTransport": (("Bool",), ("true", "false")),
}
STRING = (
    "StringEquals",
    "StringNotEquals",
    "StringEqualsIgnoreCase",
    "StringNotEqualsIgnoreCase",
    "StringLike",
    "StringNotLike",
)
ARN = ("ArnEquals", "ArnLike", "ArnNotEquals", "ArnNotLike")


@dataclass(frozen=True)
class Case:
    """One random question with what its requests may use."""

    question: Question
    approved: frozenset[str]
    identity: tuple[Policy, ...]


def _attestation(rng: random.Random, good: list[str]) -> dict[str, object]:
    key = rng.choices(
        [PCR0, IMAGE, "kms:RecipientAttestation:PCR8", "kms:RecipientAttestation:NitroTPMPCR4"], [8, 2, 1, 1]
    )[0]
    operator = rng.choices(
        [
            "StringEqualsIgnoreCase",
            "StringEquals",
            "StringNotEqualsIgnoreCase",
            "StringNotEquals",
            "StringLike",
            "Null",
        ],
        [5, 3, 4, 2, 1, 1],
    )[0]
    if operator == "Null":
        return {operator: {key: rng.choice(["true", "false"])}}
    values = [rng.choice(good) for _ in range(rng.choice([1, 1, 2]))]
    if rng.random() < 0.15:
        values.append(rng.choice(PCRS))
    if rng.random() < 0.1:
        values = [value.upper() for value in values]
    if operator == "StringLike" and rng.random() < 0.6:
        values = [rng.choice(["*", "ab*", "?" * 96, "?" * 95, good[0][:90] + "*"])]
    prefix = rng.choices(["", "ForAnyValue:", "ForAllValues:"], [14, 1, 1])[0]
    suffix = "IfExists" if rng.random() < 0.08 else ""
    return {f"{prefix}{operator}{suffix}": {key: values if len(values) > 1 or rng.random() < 0.5 else values[0]}}


def _other_condition(rng: random.Random) -> dict[str, object]:
    if rng.random() < 0.25:
        key = rng.choice(list(TYPED))
        typed_operators, typed_values = TYPED[key]
        suffix = "IfExists" if rng.random() < 0.15 else ""
        return {rng.choice(typed_operators) + suffix: {key: rng.choice(typed_values)}}
    key = rng.choice(list(OTHER_KEYS))
    operators = ARN if key == "aws:PrincipalArn" and rng.random() < 0.5 else STRING
    operator = rng.choice(operators) + ("IfExists" if rng.random() < 0.1 else "")
    if key == "kms:EncryptionContextKeys" or rng.random() < 0.06:
        operator = rng.choice(["ForAnyValue:", "ForAllValues:"]) + operator
    if rng.random() < 0.1:
        return {"Null": {key: rng.choice(["true", "false"])}}
    values = list(OTHER_KEYS[key])
    if rng.random() < 0.05:
        values.append("${aws:PrincipalTag/team}")
    return {operator: {key: rng.sample(values, rng.choice([1, 1, 2]) if len(values) > 1 else 1)}}


def _merged(*parts: dict[str, object]) -> dict[str, object]:
    merged: dict[str, dict[str, object]] = {}
    for part in parts:
        for operator, keys in part.items():
            assert isinstance(keys, dict)
            merged.setdefault(operator, {}).update(keys)
    return dict(merged)


def _principal(rng: random.Random) -> object:
    if rng.random() < 0.15:
        return "*"
    if rng.random() < 0.08:
        return {"Service": rng.choice(["s3.amazonaws.com", "ec2.amazonaws.com"])}
    return {"AWS": rng.sample(NAMED[:9], rng.choice([1, 1, 2]))}


def _actions(rng: random.Random) -> dict[str, object]:
    roll = rng.random()
    if roll < 0.15:
        return {"Action": rng.choice(["kms:*", "*", "kms:Decrypt*", "kms:Generate*"])}
    if roll < 0.25:
        return {"NotAction": rng.sample([*SIX, *ESCALATIONS, "kms:Describe*"], rng.choice([1, 3, 6]))}
    if roll < 0.65:
        return {"Action": rng.sample(SIX, rng.choice([1, 2, 4, 6]))}
    return {"Action": rng.sample([*SIX, *ESCALATIONS, "kms:Encrypt", "kms:DescribeKey"], rng.choice([1, 2, 4]))}


def _statement(rng: random.Random, good: list[str]) -> dict[str, object]:
    deny = rng.random() < 0.4
    statement: dict[str, object] = {"Effect": "Deny" if deny else "Allow", "Resource": "*"}
    statement["NotPrincipal" if deny and rng.random() < 0.1 else "Principal"] = (
        "*" if deny and rng.random() < 0.6 else _principal(rng)
    )
    statement |= _actions(rng)
    if deny and rng.random() < 0.4:
        statement.pop("NotAction", None)
        statement["Action"] = [*SIX]
    parts = [_attestation(rng, good)] if rng.random() < (0.6 if deny else 0.75) else []
    parts += [_other_condition(rng) for _ in range(rng.choice([0, 0, 0, 1, 1, 2]))]
    if parts:
        statement["Condition"] = _merged(*parts)
    if isinstance(statement.get("NotPrincipal"), str):
        statement["NotPrincipal"] = {"AWS": [ENCLAVE, SESSION, ROOT]}
    return statement


def _guards(rng: random.Random, good: list[str]) -> list[dict[str, object]]:
    """The robust pattern, often, so that many of the random policies are proven."""
    found: list[dict[str, object]] = []
    if rng.random() < 0.7:
        found.append({"Effect": "Deny", "Principal": "*", "Action": "kms:*" if rng.random() < 0.2 else [*SIX], "Resource": "*",
                      "Condition": {"StringNotEqualsIgnoreCase": {rng.choice([PCR0, IMAGE]): good}}})  # fmt: skip
    if rng.random() < 0.7:
        denied = [*ESCALATIONS] if rng.random() < 0.7 else ["kms:CreateGrant", "kms:ReEncrypt*"]
        found.append({"Effect": "Deny", "Principal": "*", "Action": denied, "Resource": "*"})
        if "kms:PutKeyPolicy" in denied and rng.random() < 0.5:
            found[-1]["Condition"] = {"ArnNotEquals": {"aws:PrincipalArn": ADMIN}}
    return found


def random_case(rng: random.Random) -> Case:
    """Return one random question."""
    good = rng.sample(PCRS[:4], rng.choice([1, 1, 2]))
    statements = [_statement(rng, good) for _ in range(rng.choice([1, 2, 3, 4]))] + _guards(rng, good)
    rng.shuffle(statements)
    text = json.dumps({"Version": rng.choices(["2012-10-17", "2008-10-17"], [9, 1])[0], "Statement": statements})
    identity_text = {
        "Version": "2012-10-17",
        "Statement": [{k: v for k, v in _statement(rng, good).items() if "Principal" not in k} for _ in range(2)],
    }
    identity = (parse_policy(json.dumps(identity_text), kind=PolicyKind.IDENTITY),)
    complete = rng.random() < 0.3
    grants: tuple[Grant, ...] = ()
    if rng.random() < 0.15:
        operations = frozenset(rng.sample(["Decrypt", "GenerateDataKey", "Encrypt", "CreateGrant", "DescribeKey"], 2))
        subset = rng.choice([None, {"class": "weights"}])
        grants = (Grant(grantee_principal=rng.choice([ENCLAVE, USER, FOREIGN]), operations=operations, encryption_context_subset=subset),)  # fmt: skip
    approved = frozenset(good)
    question = Question(
        key_policy=parse_policy(text, kind=PolicyKind.KEY),
        approved=ApprovedMeasurements(pcr0=frozenset(map(Sha384.from_hex, approved))),
        administrators=frozenset({ADMIN}) if rng.random() < 0.7 else frozenset(),
        identity_policies={ENCLAVE: identity, USER: identity} if complete else {},
        identity_complete=frozenset({HOME}) if complete else frozenset(),
        grants=grants,
    )
    return Case(question=question, approved=approved, identity=identity)


PRINCIPALS = (
    *(Principal.from_arn(name) for name in (ENCLAVE, ADMIN, OTHER, USER, FOREIGN, SESSION, ROOT, FOREIGN_ROOT)),
    Principal.from_arn(f"arn:aws:iam::{HOME}:user/bob"),
    Principal.from_arn(f"arn:aws:iam::{HOME}:role/team/x"),
    Principal.from_arn(f"arn:aws:iam::{AWAY}:role/team/y"),
    Principal.from_arn("arn:aws:iam::777788889999:role/far"),
    Principal.from_arn("arn:aws:sts::111122223333:federated-user/fed"),
    Principal.of_service("s3.amazonaws.com"),
    Principal.of_service("ec2.amazonaws.com"),
)


def random_request(rng: random.Random, key_arn: str) -> Request:
    """Return one random request, such as KMS could see it: attestation keys come together or not at all."""
    action = rng.choice([*SIX, *SIX, *ESCALATIONS, "kms:OperationNotYetKnown"])
    context: dict[str, str | tuple[str, ...]] = {}
    if action in ATTESTABLE_ACTIONS and rng.random() < 0.7:
        if rng.random() < 0.15:
            context["kms:RecipientAttestation:NitroTPMPCR4"] = rng.choice(PCRS)
        else:
            value = rng.choice([*PCRS, "34" * 48])
            context |= {PCR0: value, IMAGE: value}
            if rng.random() < 0.5:
                context["kms:RecipientAttestation:PCR8"] = rng.choice(PCRS)
    for key, values in OTHER_KEYS.items():
        if key in {
            "kms:CallerAccount",
            "aws:PrincipalAccount",
            "aws:PrincipalArn",
            "aws:PrincipalType",
            "aws:username",
        }:
            continue
        if rng.random() < 0.4:
            chosen = rng.choice([*values, values[0].lower(), values[0].swapcase(), "else"])
            context[key] = (chosen, rng.choice(values)) if key == "kms:EncryptionContextKeys" else chosen
    for key, (_, values) in TYPED.items():
        if rng.random() < 0.4:
            near = {"aws:MultiFactorAuthAge": ("59", "61", "99999", "x"), "aws:SourceIp": ("10.1.2.3", "10.2.0.1", "8.8.8.8", "2001:db8::1"), "aws:CurrentTime": ("2025-01-01", "2026-06-01T00:00:00Z", "2030-01-01")}  # fmt: skip
            options = near.get(key, values)
            context[key] = rng.choice([*options, *(v for v in values if "/" not in v)])
    return Request(principal=rng.choice(PRINCIPALS), action=action, resource=key_arn, context=context)
