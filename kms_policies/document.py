"""Policy documents: text in, frozen statements out, or a refusal that says what AWS would not take or nobody can mean.

The parser is stricter than AWS on purpose: what two readers could read in two ways (a key twice, an empty list, a
condition operator nobody knows) is refused, never guessed at.

Spec: IAM User Guide, "IAM JSON policy reference"; KMS Developer Guide, "Key policies in AWS KMS".
"""

import hashlib
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from kms_policies.operators import SetOperator, ValueType
from kms_policies.statements import (
    Condition,
    Effect,
    PolicyKind,
    PrincipalElement,
    Statement,
    parse_statement,
    refuse_element,
)
from kms_policies.strict_json import NumberText, parse_strict, read_text, without_white_space
from pcrgate.errors import ErrorCode, KeyPolicyError

__all__ = [
    "CURRENT_VERSION",
    "IDENTITY_MAX_BYTES",
    "OLD_VERSION",
    "POLICY_MAX_BYTES",
    "RESOURCE_CONTROL_MAX_BYTES",
    "SESSION_MAX_BYTES",
    "STATEMENTS_MAX",
    "TEXT_MAX_BYTES",
    "Condition",
    "Effect",
    "Policy",
    "PolicyKind",
    "PrincipalElement",
    "SetOperator",
    "Statement",
    "ValueType",
    "parse_policy",
]

TEXT_MAX_BYTES: Final = 131_072
"""Longest policy text read at all: what the ``Policy`` parameter of PutKeyPolicy may hold, white space included."""

POLICY_MAX_BYTES: Final = 32_768
"""Largest key policy without insignificant white space. Spec: KMS Developer Guide, "Quotas", key policy size."""

IDENTITY_MAX_BYTES: Final = 10_240
"""Largest identity policy: what the inline policies of a role may hold in sum. Spec: IAM User Guide, "Quotas"."""

RESOURCE_CONTROL_MAX_BYTES: Final = 5_120
"""Largest resource control policy. Spec: Organizations User Guide, "Quotas"."""

SESSION_MAX_BYTES: Final = 2_048
"""Largest session policy. Spec: STS API Reference, AssumeRole."""

STATEMENTS_MAX: Final = 500
"""Most statements in one document: no statement that AWS takes has under 66 bytes, so no key policy holds more."""

CURRENT_VERSION: Final = "2012-10-17"
"""The version of the policy language that knows variables."""

OLD_VERSION: Final = "2008-10-17"
"""The older version, also what AWS takes a document without ``Version`` for: ``${...}`` is plain text in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Hold a whole document.

    Attributes:
        kind: where it is attached.
        version: ``2012-10-17`` or ``2008-10-17``; the latter also for a document that states none.
        policy_id: its ``Id``, or ``None``.
        statements: at least one, in order.
        size_bytes: its size as UTF-8 without insignificant white space, as AWS counts it.
        source_sha256: SHA-256 of the text it was read from, 32 bytes.
    """

    kind: PolicyKind
    version: str
    policy_id: str | None
    statements: tuple[Statement, ...]
    size_bytes: int
    source_sha256: bytes

    @property
    def has_variables(self) -> bool:
        """Whether ``${...}`` in values and resources is replaced."""
        return self.version == CURRENT_VERSION

    def __hash__(self) -> int:
        return hash(self.source_sha256)


_MAX_BYTES: Final = MappingProxyType(
    {
        PolicyKind.KEY: POLICY_MAX_BYTES,
        PolicyKind.IDENTITY: IDENTITY_MAX_BYTES,
        PolicyKind.RESOURCE_CONTROL: RESOURCE_CONTROL_MAX_BYTES,
        PolicyKind.SESSION: SESSION_MAX_BYTES,
    }
)
_POLICY_ELEMENTS: Final = frozenset({"Version", "Id", "Statement"})


def parse_policy(text: str | bytes, *, kind: PolicyKind, max_bytes: int | None = None) -> Policy:
    """Read a policy document strictly.

    Args:
        text: the JSON text; bytes are UTF-8.
        kind: where the policy is attached.
        max_bytes: the largest size without white space to take instead of the limit of ``kind``: for judging
            documents that AWS would not store.

    Raises:
        KeyPolicyError: ``policy-json``, ``policy-duplicate-key``, ``policy-too-large``, ``policy-version``,
            ``policy-element``, ``policy-operator``, ``policy-value`` or ``policy-principal``.

    Spec: IAM User Guide, "Grammar of the IAM JSON policy language".
    """
    limit = _MAX_BYTES[kind] if max_bytes is None else max_bytes
    source, data = read_text(text, max(TEXT_MAX_BYTES, 4 * limit), kind.value)
    document = parse_strict(source, kind.value)
    size_bytes = len(without_white_space(source).encode())
    if size_bytes > limit:
        raise KeyPolicyError(
            ErrorCode.POLICY_TOO_LARGE, f"the {kind.value} has {size_bytes} bytes, expected at most {limit}"
        )
    if not isinstance(document, dict):
        refuse_element(kind.value, "not an object")
    unknown = sorted(set(document) - _POLICY_ELEMENTS)
    if unknown:
        refuse_element(kind.value, f"unknown element {unknown[0][:80]!a}")
    version = document.get("Version", OLD_VERSION)
    if not isinstance(version, str) or version not in (CURRENT_VERSION, OLD_VERSION):
        raise KeyPolicyError(ErrorCode.POLICY_VERSION, f"Version is not {CURRENT_VERSION} (or {OLD_VERSION})")
    if kind is PolicyKind.RESOURCE_CONTROL and version != CURRENT_VERSION:
        raise KeyPolicyError(ErrorCode.POLICY_VERSION, f"Version of a {kind.value} is not {CURRENT_VERSION}")
    policy_id = document.get("Id")
    if "Id" in document and (not isinstance(policy_id, str) or isinstance(policy_id, NumberText)):
        refuse_element(kind.value, "Id is not a string")
    raw_statements = document.get("Statement")
    statements = raw_statements if isinstance(raw_statements, list) else [raw_statements]
    if not statements:
        refuse_element(kind.value, "no statement")
    if len(statements) > STATEMENTS_MAX:
        raise KeyPolicyError(
            ErrorCode.POLICY_TOO_LARGE, f"{len(statements)} statements, expected at most {STATEMENTS_MAX}"
        )
    return Policy(
        kind=kind,
        version=version,
        policy_id=policy_id or None,
        statements=tuple(parse_statement(raw, index, kind) for index, raw in enumerate(statements)),
        size_bytes=size_bytes,
        source_sha256=hashlib.sha256(data).digest(),
    )
