"""Random policies and requests, from a seed: what two evaluators are asked to agree on."""

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

HOME: Final = "111122223333"
ABROAD: Final = "444455556666"
KEY_ARN: Final = f"arn:aws:kms:eu-central-1:{HOME}:key/12345678-1234-1234-1234-123456789abc"
OTHER_KEY_ARN: Final = f"arn:aws:kms:eu-central-1:{HOME}:key/99999999-1234-1234-1234-123456789abc"
SESSION: Final = f"arn:aws:sts::{HOME}:assumed-role/parent/i-0123"
ROLE: Final = f"arn:aws:iam::{HOME}:role/parent"
USER: Final = f"arn:aws:iam::{HOME}:user/operator"
ROOT: Final = f"arn:aws:iam::{HOME}:root"
FOREIGN_SESSION: Final = f"arn:aws:sts::{ABROAD}:assumed-role/stranger/s"
FOREIGN_ROLE: Final = f"arn:aws:iam::{ABROAD}:role/stranger"
FOREIGN_USER: Final = f"arn:aws:iam::{ABROAD}:user/stranger"
FOREIGN_ROOT: Final = f"arn:aws:iam::{ABROAD}:root"
SERVICE: Final = "s3.amazonaws.com"

PRINCIPALS: Final = (SESSION, SESSION, SESSION, USER, ROOT, FOREIGN_SESSION, FOREIGN_USER, FOREIGN_ROOT, SERVICE)
ACTIONS: Final = (
    "kms:Decrypt",
    "kms:Decrypt",
    "kms:GenerateDataKey",
    "kms:GenerateDataKeyPair",
    "kms:DeriveSharedSecret",
    "kms:Encrypt",
    "kms:CreateGrant",
    "kms:PutKeyPolicy",
    "kms:ReEncryptFrom",
    "kms:DescribeKey",
)
ACTION_PATTERNS: Final = (
    "kms:*",
    "*",
    "kms:Decrypt",
    "KMS:decrypt",
    "kms:De*",
    "kms:Generate*",
    "kms:GenerateDataKey*",
    "kms:?ecrypt",
    "kms:*Key*",
    "kms:ReEncrypt*",
    "kms:Encrypt",
    "kms:CreateGrant",
    "kms:Put*Policy",
    "s3:GetObject",
)
RESOURCE_PATTERNS: Final = (
    "*",
    "*",
    "*",
    KEY_ARN,
    OTHER_KEY_ARN,
    f"arn:aws:kms:*:{HOME}:key/*",
    f"arn:aws:kms:*:{ABROAD}:key/*",
    f"arn:aws:kms:eu-central-1:{HOME}:key/1234567?-*",
    f"arn:aws:kms:eu-central-?:{HOME}:key/*-123456789abc",
    "arn:aws:kms:*:*:*",
    "arn:aws:s3:::bucket/*",
)
PRINCIPAL_ELEMENTS: Final[tuple[Any, ...]] = (
    "*",
    {"AWS": "*"},
    {"AWS": ROOT},
    {"AWS": HOME},
    {"AWS": ROLE},
    {"AWS": SESSION},
    {"AWS": USER},
    {"AWS": FOREIGN_ROOT},
    {"AWS": [ABROAD, HOME]},
    {"AWS": [FOREIGN_ROLE, FOREIGN_USER]},
    {"AWS": FOREIGN_SESSION},
    {"AWS": [ROLE, USER, FOREIGN_ROLE]},
    {"Service": SERVICE},
    {"Service": ["ec2.amazonaws.com", SERVICE], "AWS": ROLE},
)
LIMITED_ELEMENTS: Final[tuple[Any, ...]] = (
    {"AWS": ROOT},
    {"AWS": HOME},
    {"AWS": ROLE},
    {"AWS": FOREIGN_ROOT},
    {"AWS": [FOREIGN_ROLE, FOREIGN_USER]},
)
"""Allows that session policies and boundaries limit for both evaluators (see the README)."""

NOT_PRINCIPAL_ELEMENTS: Final[tuple[Any, ...]] = (
    {"AWS": [ROOT, ROLE, SESSION, USER]},
    {"AWS": [HOME, USER, ROLE, SESSION]},
    {"AWS": [FOREIGN_ROOT, FOREIGN_ROLE, FOREIGN_SESSION, FOREIGN_USER]},
    {"Service": SERVICE},
)
"""Either all names of a caller or none: for a part of them the simulator decides otherwise (see the README)."""


def _pcr(digit: str) -> str:
    return digit * 96


_ATTESTABLE: Final = frozenset(
    {"kms:Decrypt", "kms:GenerateDataKey", "kms:GenerateDataKeyPair", "kms:DeriveSharedSecret"}
)
_WITH_CONTEXT: Final = frozenset(
    {
        "kms:Decrypt",
        "kms:Encrypt",
        "kms:GenerateDataKey",
        "kms:GenerateDataKeyPair",
        "kms:ReEncryptFrom",
        "kms:CreateGrant",
    }
)
PCRS: Final = (_pcr("a"), _pcr("b"), _pcr("c"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """Hold a condition key: which operators go with it, what a request may hold, what a policy may ask for."""

    name: str
    operators: tuple[str, ...]
    present: tuple[str | list[str], ...]
    wanted: tuple[str, ...]
    actions: frozenset[str] | None = None
    """The actions whose requests can hold it; ``None`` for all."""


_STRINGS: Final = (
    "StringEquals",
    "StringNotEquals",
    "StringEqualsIgnoreCase",
    "StringNotEqualsIgnoreCase",
    "StringLike",
    "StringNotLike",
)
_ARNS: Final = ("ArnEquals", "ArnLike", "ArnNotEquals", "ArnNotLike", "StringLike", "StringEquals")
_ORDERS: Final = ("Equals", "NotEquals", "LessThan", "LessThanEquals", "GreaterThan", "GreaterThanEquals")
_NUMBERS: Final = tuple(f"Numeric{order}" for order in _ORDERS)
_DATES: Final = tuple(f"Date{order}" for order in _ORDERS)

SINGLE_VALUED: Final = (
    Key(
        name="kms:RecipientAttestation:PCR0",
        operators=_STRINGS,
        present=(*PCRS, PCRS[0].upper()),
        wanted=(*PCRS, PCRS[1].upper(), "aaaa*", "*", "?" * 96, "${aws:PrincipalTag/pcr}"),
        actions=_ATTESTABLE,
    ),
    Key(
        name="kms:RecipientAttestation:ImageSha384",
        operators=_STRINGS,
        present=PCRS,
        wanted=(*PCRS, "b*b", "*c", "${kms:RecipientAttestation:PCR0}"),
        actions=_ATTESTABLE,
    ),
    Key(
        name="kms:RecipientAttestation:PCR8",
        operators=_STRINGS,
        present=PCRS[:2],
        wanted=(*PCRS[:2], "*a*", "*b*b*"),
        actions=_ATTESTABLE,
    ),
    Key(
        name="aws:PrincipalTag/pcr",
        operators=_STRINGS,
        present=(PCRS[0], "team*", "team"),
        wanted=(PCRS[0], "team*", "t??m*", "${aws:username, 'team*'}"),
    ),
    Key(
        name="kms:ViaService",
        operators=_STRINGS,
        present=("s3.eu-central-1.amazonaws.com", "ebs.eu-central-1.amazonaws.com"),
        wanted=("s3.*.amazonaws.com", "s3.eu-central-1.amazonaws.com", "*"),
    ),
    Key(
        name="aws:PrincipalArn",
        operators=_ARNS,
        present=(),
        wanted=(
            ROLE,
            USER,
            f"arn:aws:iam::{HOME}:role/*",
            "arn:aws:iam::*:user/*",
            "arn:*:iam::*:*",
            SESSION,
            f"arn:aws:iam::{HOME}:user/${{aws:username, 'nobody'}}",
        ),
    ),
    Key(
        name="aws:SourceArn",
        operators=_ARNS,
        present=("arn:aws:s3:::bucket", "arn:aws:s3:::team", f"arn:aws:sns:eu-central-1:{HOME}:a:b", ROLE, "no-arn"),
        wanted=(
            "arn:aws:s3:::bucket",
            "arn:aws:s3:::*",
            f"arn:aws:sns:*:{HOME}:a:*",
            "arn:aws:sns:*:a:b",
            "arn:*:s3:*:*:*",
            "arn:aws:s3:::${aws:PrincipalTag/pcr, 'bucket'}",
        ),
    ),
    Key(
        name="aws:MultiFactorAuthAge",
        operators=_NUMBERS,
        present=("0", "10", "10.5", "-3", "x"),
        wanted=("10", "10.0", "0", "-3", "300"),
    ),
    Key(
        name="aws:CurrentTime",
        operators=_DATES,
        present=("2026-01-01T00:00:00Z", "2026-06-01T12:00:00Z"),
        wanted=("2026-01-01T00:00:00Z", "2026-06-01T12:00:00.000Z", "2027-01-01"),
    ),
    Key(name="aws:SecureTransport", operators=("Bool",), present=("true", "false", "True"), wanted=("true", "false")),
    Key(
        name="kms:GrantIsForAWSResource",
        operators=("Bool",),
        present=("true", "false"),
        wanted=("true", "FALSE"),
        actions=frozenset({"kms:CreateGrant"}),
    ),
    Key(
        name="aws:SourceIp",
        operators=("IpAddress", "NotIpAddress"),
        present=("203.0.113.7", "198.51.100.1", "2001:db8::1", "x"),
        wanted=("203.0.113.0/24", "203.0.113.7/32", "2001:db8::/32", "198.51.0.0/16"),
    ),
    Key(
        name="kms:EncryptionContext:${EncryptionContextKey}",
        operators=_STRINGS,
        present=("weights", "session", "Weights"),
        wanted=("weights", "session", "w*s", "${aws:username}"),
        actions=_WITH_CONTEXT,
    ),
)
MULTI_VALUED: Final = (
    Key(
        name="kms:EncryptionContextKeys",
        operators=_STRINGS,
        present=(["class"], ["class", "name"], ["name", "epoch", "x"]),
        wanted=("class", "name", "Class", "*e*", "epoch"),
        actions=_WITH_CONTEXT,
    ),
    Key(
        name="kms:ResourceAliases",
        operators=_STRINGS,
        present=(["alias/weights"], ["alias/weights", "alias/old"]),
        wanted=("alias/weights", "alias/*", "alias/OLD"),
    ),
    Key(
        name="aws:PrincipalOrgPaths",
        operators=_STRINGS,
        present=(["o-a/r/ou-1/"], ["o-a/r/ou-1/", "o-b/r/ou-2/"]),
        wanted=("o-a/*", "o-a/r/ou-1/", "*ou-2/"),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policies:
    """Hold one set of policies, as decoded documents."""

    key_policy: Mapping[str, Any]
    identity: Sequence[Mapping[str, Any]] = ()
    control: Sequence[Mapping[str, Any]] = ()
    session: Mapping[str, Any] | None = None
    boundary: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Hold one request."""

    principal: str
    action: str
    context: Mapping[str, str | list[str]]
    resource: str = KEY_ARN


class Generator:
    """Make cases; the same seed makes the same ones."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def _some(self, options: Sequence[Any], most: int) -> Any:
        count = self._random.randint(1, most)
        chosen = [self._random.choice(options) for _ in range(count)]
        return chosen[0] if count == 1 and self._random.random() < 0.5 else chosen

    def _spelt(self, name: str) -> str:
        return name.swapcase() if self._random.random() < 0.1 and "$" not in name else name

    def _condition(self) -> tuple[str, str, Any]:
        roll = self._random.random()
        if roll < 0.12:
            key = self._random.choice(SINGLE_VALUED + MULTI_VALUED)
            return "Null", self._spelt(key.name), self._random.choice(["true", "false", ["true", "false"], True, False])
        if roll < 0.3:
            key = self._random.choice(MULTI_VALUED)
            prefix = self._random.choice(("ForAnyValue:", "ForAllValues:"))
        else:
            key = self._random.choice(SINGLE_VALUED)
            prefix = self._random.choice(("", "", "", "", "", "", "ForAnyValue:", "ForAllValues:"))
        suffix = "" if prefix == "ForAnyValue:" else self._random.choice(("", "", "", "IfExists"))
        return (
            f"{prefix}{self._random.choice(key.operators)}{suffix}",
            self._spelt(key.name),
            self._some(key.wanted, 3),
        )

    def _conditions(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for _ in range(self._random.choice((0, 0, 1, 1, 1, 2, 3))):
            operator, key, values = self._condition()
            held = found.setdefault(operator, {})
            if key.lower() not in {name.lower() for name in held}:
                held[key] = values
        return found

    def _statement(self, *, effects: Sequence[str], principal: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
        effect = self._random.choice(effects)
        statement: dict[str, Any] = {"Effect": effect} | principal(effect)
        negated_action = self._random.random() < 0.1
        statement["NotAction" if negated_action else "Action"] = self._some(ACTION_PATTERNS, 3)
        negated_resource = self._random.random() < 0.08
        resources = RESOURCE_PATTERNS[3:] if negated_resource else RESOURCE_PATTERNS
        statement["NotResource" if negated_resource else "Resource"] = self._some(resources, 2)
        conditions = self._conditions()
        if conditions:
            statement["Condition"] = conditions
        return statement

    def _key_principal(self, effect: str) -> dict[str, Any]:
        if effect == "Deny" and self._random.random() < 0.2:
            return {"NotPrincipal": self._random.choice(NOT_PRINCIPAL_ELEMENTS)}
        return {"Principal": self._random.choice(PRINCIPAL_ELEMENTS)}

    def _limited_principal(self, effect: str) -> dict[str, Any]:
        return {"Principal": self._random.choice(PRINCIPAL_ELEMENTS if effect == "Deny" else LIMITED_ELEMENTS)}

    def _policy(self, statements: list[dict[str, Any]]) -> dict[str, Any]:
        # The simulator replaces variables in the old version too, so the old version gets none.
        variables = any(f"${{{prefix}:" in json.dumps(statements) for prefix in ("aws", "kms"))
        version = "2008-10-17" if not variables and self._random.random() < 0.1 else "2012-10-17"
        return {"Version": version, "Statement": statements}

    def _identity(self, effects: Sequence[str] = ("Allow", "Allow", "Allow", "Deny")) -> dict[str, Any]:
        count = self._random.randint(1, 2)
        return self._policy([self._statement(effects=effects, principal=lambda _: {}) for _ in range(count)])

    def _control(self) -> dict[str, Any]:
        actions = self._some([pattern for pattern in ACTION_PATTERNS if pattern != "*"], 2)
        statement = {"Effect": "Deny", "Principal": "*", "Action": actions, "Resource": "*"}
        return {"Version": "2012-10-17", "Statement": [statement | {"Condition": self._conditions()}]}

    def _context(self, action: str) -> dict[str, str | list[str]]:
        context: dict[str, str | list[str]] = {}
        for key in SINGLE_VALUED + MULTI_VALUED:
            possible = key.actions is None or action in key.actions
            if possible and key.present and self._random.random() < 0.5:
                context[self._spelt(key.name)] = self._random.choice(key.present)
        return context

    def _maybe(self, chance: float, make: Callable[[], dict[str, Any]]) -> dict[str, Any] | None:
        return make() if self._random.random() < chance else None

    def policies(self) -> Policies:
        """Return one set of policies."""
        effects = ("Allow", "Allow", "Deny")
        session, boundary = self._maybe(0.15, self._identity), self._maybe(0.15, self._identity)
        principal = self._key_principal if session is boundary is None else self._limited_principal
        statements = [self._statement(effects=effects, principal=principal) for _ in range(self._random.randint(1, 4))]
        return Policies(
            key_policy=self._policy(statements),
            identity=[self._identity() for _ in range(self._random.choice((0, 0, 1, 1, 2)))],
            control=[self._control() for _ in range(self._random.choice((0, 0, 0, 0, 1)))],
            session=session,
            boundary=boundary,
        )

    def question(self) -> Question:
        """Return one request; it carries only keys that its action can carry."""
        action = self._random.choice(ACTIONS)
        return Question(principal=self._random.choice(PRINCIPALS), action=action, context=self._context(action))
