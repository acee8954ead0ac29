"""Findings of the linter: a stable code, how grave it is, where it is, and what to do."""

from dataclasses import dataclass
from enum import Enum, IntEnum

from kms_policies.document import Statement
from kms_policies.operations import KEY_ACTIONS
from kms_policies.patterns import action_pattern


class Severity(IntEnum):
    """Say how grave a finding is; the gravest is the lowest number."""

    ERROR = 0
    """What is written cannot be meant: it opens, or it can never apply."""
    WARNING = 1
    """What is written is often a mistake, or will become one."""
    NOTE = 2
    """What is written is fine and worth knowing."""


class LintCode(Enum):
    """Name every finding; the value is stable."""

    MISSPELT_KEY = "misspelt-key"
    UNKNOWN_KEY = "unknown-key"
    IF_EXISTS = "if-exists"
    SET_OPERATOR = "set-operator"
    WILDCARD_VALUE = "wildcard-value"
    FOREIGN_OPERATOR = "foreign-operator"
    MALFORMED_PCR = "malformed-pcr"
    ZERO_PCR = "zero-pcr"
    CASE = "case"
    CASE_SENSITIVE = "case-sensitive"
    DENY_POSITIVE = "deny-positive"
    ALLOW_NEGATED = "allow-negated"
    PRESENCE_ONLY = "presence-only"
    NEVER_SATISFIABLE = "never-satisfiable"
    ALWAYS_DENIED = "always-denied"
    PCR0_MISSING = "pcr0-missing"
    NITROTPM_INCOMPLETE = "nitrotpm-incomplete"
    MIXED_ATTESTATION = "mixed-attestation"
    RELEASE_UNCONDITIONED = "release-unconditioned"
    NOT_PRINCIPAL = "not-principal"
    WILDCARD_PRINCIPAL = "wildcard-principal"
    ROOT_DELEGATION = "root-delegation"
    ALLOW_NOT_ACTION = "allow-not-action"
    ALLOW_EVERYTHING = "allow-everything"
    UNKNOWN_ACTION = "unknown-action"
    FOREIGN_ACTION = "foreign-action"
    OLD_VERSION = "old-version"
    SIZE = "size"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Hold one finding.

    Attributes:
        code: which.
        severity: how grave.
        index: the statement's place from 0, or None for the whole policy.
        sid: the statement's ``Sid``, if it has one.
        message: the fact.
        advice: what to do.
    """

    code: LintCode
    severity: Severity
    index: int | None
    sid: str | None
    message: str
    advice: str

    @property
    def where(self) -> str:
        """How a person would name the place."""
        if self.index is None:
            return "policy"
        return f"statement {self.index}" if self.sid is None else f"statement {self.index} ({self.sid})"


def finding(code: LintCode, severity: Severity, statement: Statement | None, message: str, advice: str) -> Finding:
    """Return a finding about a statement, or about the whole policy."""
    return Finding(
        code=code,
        severity=severity,
        index=None if statement is None else statement.index,
        sid=None if statement is None else statement.sid,
        message=message,
        advice=advice,
    )


def matched_actions(statement: Statement) -> frozenset[str]:
    """Return every action on a key, of those known to the installed botocore, that a statement covers."""
    pattern = action_pattern(statement.actions)
    return frozenset(
        action for action in KEY_ACTIONS if (pattern.fullmatch(action.lower()) is not None) is not statement.not_action
    )
