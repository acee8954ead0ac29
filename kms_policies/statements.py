"""Statements of a policy: who, what, on which resource, under which conditions.

Spec: IAM User Guide, "IAM JSON policy element reference".
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final, NoReturn

from kms_policies.operators import OPERATORS, SetOperator, ValueType, check_value, parse_operator
from kms_policies.strict_json import NumberText
from pcrgate.errors import ErrorCode, KeyPolicyError


class PolicyKind(Enum):
    """Name where a policy is attached: this decides which elements it must and must not have."""

    KEY = "key policy"
    IDENTITY = "identity policy"
    RESOURCE_CONTROL = "resource control policy"
    SESSION = "session policy"


class Effect(Enum):
    """Name what a matching statement does."""

    ALLOW = "Allow"
    DENY = "Deny"


@dataclass(frozen=True, slots=True, kw_only=True)
class PrincipalElement:
    """Hold the ``Principal`` or ``NotPrincipal`` of a statement.

    Attributes:
        any: whether it is ``*`` or names ``*`` under ``AWS``: everyone, anonymous callers and services included.
        aws: ARNs, unique ids and twelve-digit accounts as written; ``*`` is kept here too.
        service: service names.
        federated: federation providers; no request to KMS is made by one.
        canonical: canonical user ids; no request to KMS is made by one.
    """

    any: bool
    aws: tuple[str, ...] = ()
    service: tuple[str, ...] = ()
    federated: tuple[str, ...] = ()
    canonical: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """Hold one condition key under one operator.

    Attributes:
        operator: the operator without prefix and suffix, spelt as AWS does, a member of ``OPERATORS``.
        set_operator: ``ForAnyValue`` or ``ForAllValues``, or ``None``.
        if_exists: whether the operator ends in ``IfExists``.
        key: the condition key as written; names are case-insensitive.
        values: at least one value; numbers and booleans as the text they were written as.
    """

    operator: str
    set_operator: SetOperator | None
    if_exists: bool
    key: str
    values: tuple[str, ...]

    @property
    def folded_key(self) -> str:
        """The key in lower case."""
        return self.key.lower()

    @property
    def value_type(self) -> ValueType:
        """What the operator compares."""
        return OPERATORS[self.operator]

    @property
    def negated(self) -> bool:
        """Whether the operator is a ``Not...``: true for a missing key, false when any value matches."""
        return "Not" in self.operator

    @property
    def operator_text(self) -> str:
        """The whole operator as AWS spells it."""
        prefix = "" if self.set_operator is None else f"{self.set_operator.value}:"
        return f"{prefix}{self.operator}{'IfExists' if self.if_exists else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """Hold one statement.

    Attributes:
        index: its place in the document, from 0.
        sid: its ``Sid``, or ``None``.
        effect: allow or deny.
        principal: who it speaks of; ``None`` in identity and session policies.
        not_principal: whether ``principal`` came as ``NotPrincipal``.
        actions: action patterns as written.
        not_action: whether ``actions`` came as ``NotAction``.
        resources: resource patterns as written.
        not_resource: whether ``resources`` came as ``NotResource``.
        conditions: all must hold; empty when there are none.
    """

    index: int
    sid: str | None
    effect: Effect
    principal: PrincipalElement | None
    not_principal: bool
    actions: tuple[str, ...]
    not_action: bool
    resources: tuple[str, ...]
    not_resource: bool
    conditions: tuple[Condition, ...]

    @property
    def label(self) -> str:
        """How messages name it: its place and its ``Sid``."""
        return f"statement {self.index}" if self.sid is None else f"statement {self.index} ({self.sid})"


_STATEMENT_ELEMENTS: Final = frozenset(
    {"Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition"}
)
_PRINCIPAL_TYPES: Final = frozenset({"AWS", "Service", "Federated", "CanonicalUser"})
_WITHOUT_PRINCIPAL: Final = frozenset({PolicyKind.IDENTITY, PolicyKind.SESSION})
_ACTION: Final = re.compile(r"\*|[A-Za-z0-9-]+:[A-Za-z0-9*?]+")
_RESOURCE: Final = re.compile(r"\*|arn(?::[^\x00-\x1f:]*){4}:[^\x00-\x1f]+|arn:[^\x00-\x1f*?$]*\*")
"""Everything, an ARN of six parts, or a prefix with a star at its end: other short forms are read in two ways."""
_AWS_PRINCIPAL: Final = re.compile(
    r"\*|\d{12}|A[A-Z0-9]{15,127}"
    r"|arn:aws[a-z-]*:iam::\d{12}:(?:root|(?:user|role)/[!-)+->@-~]+)"
    r"|arn:aws[a-z-]*:sts::\d{12}:(?:assumed-role/[!-)+-.0->@-~]+/|federated-user/)[!-)+-.0->@-~]+"
)
_SERVICE: Final = re.compile(r"[a-z0-9][a-z0-9-]*(?:\.[a-z0-9-]+)+")


def refuse_element(where: str, fact: str) -> NoReturn:
    """Raise ``policy-element`` for what stands at ``where``."""
    raise KeyPolicyError(ErrorCode.POLICY_ELEMENT, f"{where}: {fact}")


def _texts(value: object, where: str, element: str) -> tuple[str, ...]:
    """Return one string or a list of strings as a tuple; neither the list nor a string is empty."""
    items = value if isinstance(value, list) else [value]
    if not items or not all(isinstance(item, str) and not isinstance(item, NumberText) and item for item in items):
        refuse_element(where, f"{element} is not a string or a list of strings, none of them empty")
    return tuple(items)


def _either(raw: Mapping[str, object], element: str, where: str) -> tuple[tuple[str, ...], bool]:
    """Return the strings of ``element`` or of its ``Not...`` form, and which of the two it was."""
    plain, negated = element in raw, f"Not{element}" in raw
    if plain == negated:
        refuse_element(where, f"expected exactly one of {element} and Not{element}")
    return _texts(raw[f"Not{element}" if negated else element], where, element), negated


def _parse_principal(value: object, where: str) -> PrincipalElement:
    if value == "*":
        return PrincipalElement(any=True, aws=("*",))
    if not isinstance(value, dict) or not value or not _PRINCIPAL_TYPES.issuperset(value):
        raise KeyPolicyError(
            ErrorCode.POLICY_PRINCIPAL,
            f"{where}: a principal is * or an object of AWS, Service, Federated, CanonicalUser",
        )
    lists = {kind: _texts(names, where, f"Principal.{kind}") for kind, names in value.items()}
    for kind, pattern in (("AWS", _AWS_PRINCIPAL), ("Service", _SERVICE)):
        for name in lists.get(kind, ()):
            if not pattern.fullmatch(name):
                raise KeyPolicyError(
                    ErrorCode.POLICY_PRINCIPAL,
                    f"{where}: {name[:120]!a} is no {kind} principal; only a lone * matches more",
                )
    aws = lists.get("AWS", ())
    return PrincipalElement(
        any="*" in aws,
        aws=aws,
        service=lists.get("Service", ()),
        federated=lists.get("Federated", ()),
        canonical=lists.get("CanonicalUser", ()),
    )


def _principal_of(raw: Mapping[str, object], kind: PolicyKind, where: str) -> tuple[PrincipalElement | None, bool]:
    present = [name for name in ("Principal", "NotPrincipal") if name in raw]
    if kind in _WITHOUT_PRINCIPAL:
        if present:
            raise KeyPolicyError(ErrorCode.POLICY_PRINCIPAL, f"{where}: a principal has no place in an {kind.value}")
        return None, False
    if len(present) != 1:
        raise KeyPolicyError(ErrorCode.POLICY_PRINCIPAL, f"{where}: expected exactly one of Principal and NotPrincipal")
    element = _parse_principal(raw[present[0]], where)
    negated = present[0] == "NotPrincipal"
    if kind is PolicyKind.RESOURCE_CONTROL and (negated or not element.any):
        raise KeyPolicyError(ErrorCode.POLICY_PRINCIPAL, f"{where}: the principal of a resource control policy is *")
    return element, negated


def _value_text(value: object, where: str, key: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        refuse_element(where, f"a value of condition key {key[:120]!a} is not a string, number or boolean")
    return str(value)


def _parse_conditions(value: object, where: str) -> tuple[Condition, ...]:
    if not isinstance(value, dict):
        refuse_element(where, "Condition is not an object")
    found: dict[tuple[str, str], Condition] = {}
    for written, keys in value.items():
        operator, set_operator, if_exists = parse_operator(written)
        if not isinstance(keys, dict) or not keys:
            refuse_element(where, f"condition operator {written[:80]!a} holds no condition key")
        for key, raw_values in keys.items():
            items = raw_values if isinstance(raw_values, list) else [raw_values]
            if not key.strip() or not key.isprintable() or not items:
                refuse_element(
                    where, f"condition operator {written[:80]!a} has an empty or unprintable key, or no value"
                )
            values = tuple(_value_text(item, where, key) for item in items)
            for text in values:
                check_value(operator, text)
            condition = Condition(
                operator=operator, set_operator=set_operator, if_exists=if_exists, key=key, values=values
            )
            if (condition.operator_text, condition.folded_key) in found:
                raise KeyPolicyError(
                    ErrorCode.POLICY_DUPLICATE_KEY, f"{where}: {condition.operator_text} {key[:120]!a} is given twice"
                )
            found[condition.operator_text, condition.folded_key] = condition
    return tuple(found.values())


def parse_statement(raw: object, index: int, kind: PolicyKind) -> Statement:
    """Read one statement out of decoded JSON.

    Args:
        raw: the decoded statement.
        index: its place in the document, from 0.
        kind: where the policy is attached.

    Raises:
        KeyPolicyError: ``policy-element``, ``policy-principal``, ``policy-operator``, ``policy-value`` or
            ``policy-duplicate-key``.
    """
    where = f"statement {index}"
    if not isinstance(raw, dict):
        refuse_element(where, "not an object")
    unknown = sorted(set(raw) - _STATEMENT_ELEMENTS)
    if unknown:
        refuse_element(where, f"unknown element {unknown[0][:80]!a}")
    sid = raw.get("Sid")
    if "Sid" in raw and (not isinstance(sid, str) or isinstance(sid, NumberText) or not sid.isprintable()):
        refuse_element(where, "Sid is not a string of printable characters")
    effect = {"Allow": Effect.ALLOW, "Deny": Effect.DENY}.get(str(raw.get("Effect")))
    if effect is None:
        refuse_element(where, "Effect is not Allow or Deny")
    principal, not_principal = _principal_of(raw, kind, where)
    actions, not_action = _either(raw, "Action", where)
    resources, not_resource = _either(raw, "Resource", where)
    for element, pattern, texts in (("Action", _ACTION, actions), ("Resource", _RESOURCE, resources)):
        for text in texts:
            if not pattern.fullmatch(text):
                refuse_element(where, f"{text[:120]!a} is no {element}")
    if kind is PolicyKind.RESOURCE_CONTROL and (not_action or (effect is Effect.DENY and "*" in actions)):
        refuse_element(where, "a resource control policy denies by Action, each with a service prefix")
    return Statement(
        index=index,
        sid=sid or None,
        effect=effect,
        principal=principal,
        not_principal=not_principal,
        actions=actions,
        not_action=not_action,
        resources=resources,
        not_resource=not_resource,
        conditions=_parse_conditions(raw["Condition"], where) if "Condition" in raw else (),
    )
