"""Decisions: what the evaluator answers, and what a person needs to understand a refusal.

Spec: IAM User Guide, "Policy evaluation logic".
"""

from dataclasses import dataclass
from enum import Enum

from kms_policies.document import Condition, Statement
from kms_policies.request import Grant


class Outcome(Enum):
    """Name why a request is allowed or denied."""

    ALLOW = "allow"
    EXPLICIT_DENY = "explicit-deny"
    IMPLICIT_DENY = "implicit-deny"
    KEY_STATE = "key-state"


class Shortfall(Enum):
    """Name why a statement did not allow, or that it denied."""

    DENIES = "denies"
    CONDITION = "condition"
    PRINCIPAL = "principal"
    PRINCIPAL_AND_CONDITION = "principal-and-condition"
    NOT_ENOUGH = "not-enough"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionReport:
    """Hold one condition of a statement as it came out.

    Attributes:
        condition: the condition; its ``values`` are what it asks for.
        present: the request's values for its key; empty when the key is missing.
        held: whether it held.
    """

    condition: Condition
    present: tuple[str, ...]
    held: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NearMiss:
    """Hold a statement that covers the action and key but did not let the request through.

    Attributes:
        source: which policy it stands in, for example ``key policy``.
        statement: the statement.
        shortfall: why it did not allow, or that it denies.
        conditions: every condition of it as it came out.
    """

    source: str
    statement: Statement
    shortfall: Shortfall
    conditions: tuple[ConditionReport, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Hold the decision on a request.

    Attributes:
        allowed: whether KMS carries it out.
        outcome: why.
        statement: the statement that decided, or ``None`` for a grant, an implicit deny and a root user.
        source: the policy it stands in, for example ``key policy`` or ``identity policy 1``; empty without statement.
        grant: the grant that allowed it, or ``None``.
        why: one sentence for a person, of public values.
        near_misses: for a denied request, the statements that deny it or fell short of allowing it.
    """

    allowed: bool
    outcome: Outcome
    statement: Statement | None
    source: str
    grant: Grant | None
    why: str
    near_misses: tuple[NearMiss, ...]
