"""Rules of the linter about single conditions on attestation keys: name, operator, value, direction.

Spec: KMS Developer Guide, "Condition keys for AWS Nitro Enclaves", "Condition keys for NitroTPM"; IAM User Guide,
"IAM JSON policy elements: Condition operators", "Multivalued context keys".
"""

import difflib
import re
from collections.abc import Callable, Iterator
from typing import Final

from kms_policies.condition_keys import (
    ATTESTATION_KEYS,
    COMPARING_OPERATORS,
    FREE_KEY_PREFIX,
    KMS_KEYS,
    NITROTPM_MAX_INDEX,
    is_attestation_key,
)
from kms_policies.document import Condition, Effect, Policy, Statement
from kms_policies.lint_findings import Finding, LintCode, Severity, finding
from kms_policies.request import NITROTPM_KEY_PREFIX, PCR_KEY_PREFIX
from pcrgate.units import PCR_MAX_INDEX, SHA384_BYTES

MISSPELT_RATIO: Final = 0.8
"""Keys at least this similar to an attestation key (difflib's ratio) are taken for a slip: one to five letters."""

_ZERO_IS_MEANT: Final = f"{NITROTPM_KEY_PREFIX}12".lower()
_PCR: Final = re.compile(rf"[0-9a-fA-F]{{{2 * SHA384_BYTES}}}")


def _conditions(policy: Policy) -> Iterator[tuple[Statement, Condition]]:
    for statement in policy.statements:
        for condition in statement.conditions:
            if is_attestation_key(condition):
                yield statement, condition


def _keys(policy: Policy) -> Iterator[Finding]:
    for statement in policy.statements:
        for condition in statement.conditions:
            key = condition.folded_key
            if key in ATTESTATION_KEYS:
                continue
            nearest = difflib.get_close_matches(key, ATTESTATION_KEYS, n=1, cutoff=MISSPELT_RATIO)
            if nearest or "attestation" in key:
                meant = ATTESTATION_KEYS[nearest[0]] if nearest else f"{PCR_KEY_PREFIX}0"
                effect = "the statement never allows" if statement.effect is Effect.ALLOW else "it is never present"
                yield finding(
                    LintCode.MISSPELT_KEY,
                    Severity.ERROR,
                    statement,
                    f"{condition.key[:100]!a} is no condition key of KMS: {effect}",
                    f"Write {meant}; indexes end at {PCR_MAX_INDEX} for PCR and {NITROTPM_MAX_INDEX} for NitroTPMPCR.",
                )
            elif key.startswith("kms:") and key not in KMS_KEYS and not key.startswith(FREE_KEY_PREFIX):
                yield finding(
                    LintCode.UNKNOWN_KEY,
                    Severity.WARNING,
                    statement,
                    f"{condition.key[:100]!a} is no condition key of KMS that is known here",
                    "Check the name: a key that is never present makes positive operators false, negated ones true.",
                )


def _operators(policy: Policy) -> Iterator[Finding]:
    for statement, condition in _conditions(policy):
        if condition.if_exists:
            yield finding(
                LintCode.IF_EXISTS,
                Severity.ERROR,
                statement,
                f"{condition.operator_text} on {condition.key} is true when nothing is attested",
                "Drop IfExists.",
            )
        if condition.set_operator is not None:
            yield finding(
                LintCode.SET_OPERATOR,
                Severity.ERROR,
                statement,
                f"{condition.operator_text} on {condition.key}: the key has one value, and set operators decide "
                "otherwise when it is absent",
                f"Write {condition.operator}.",
            )
        if condition.operator in {"StringLike", "StringNotLike"}:
            wild = any("*" in value or "?" in value for value in condition.values)
            yield finding(
                LintCode.WILDCARD_VALUE,
                Severity.ERROR if wild else Severity.WARNING,
                statement,
                f"{condition.operator_text} on {condition.key}"
                + (" with a wildcard: measurements that nobody approved match" if wild else " invites a wildcard"),
                "Compare whole values with StringEqualsIgnoreCase (Allow) or StringNotEqualsIgnoreCase (Deny).",
            )
        elif condition.operator not in COMPARING_OPERATORS and condition.operator != "Null":
            yield finding(
                LintCode.FOREIGN_OPERATOR,
                Severity.ERROR,
                statement,
                f"{condition.operator_text} does not compare text such as {condition.key}",
                "Use StringEqualsIgnoreCase (Allow) or StringNotEqualsIgnoreCase (Deny).",
            )


def _values(policy: Policy) -> Iterator[Finding]:
    for statement, condition in _conditions(policy):
        if condition.operator not in COMPARING_OPERATORS:
            continue
        folds = condition.operator.endswith("IgnoreCase")
        approves = (statement.effect is Effect.ALLOW) is not condition.negated
        for value in condition.values:
            if not _PCR.fullmatch(value):
                yield finding(
                    LintCode.MALFORMED_PCR,
                    Severity.ERROR,
                    statement,
                    f"{condition.key} is compared with {value[:24]!a} ({len(value)} characters)",
                    f"Give {2 * SHA384_BYTES} lower-case hex digits, without prefix, wildcard or variable.",
                )
            elif not value.strip("0") and approves and condition.folded_key != _ZERO_IS_MEANT:
                yield finding(
                    LintCode.ZERO_PCR,
                    Severity.ERROR,
                    statement,
                    f"{condition.key} is approved at all zero, as every enclave in debug mode measures",
                    "Remove the value; start the enclave without debug mode and use what it measures then.",
                )
            elif value != value.lower() and not folds:
                yield finding(
                    LintCode.CASE,
                    Severity.ERROR,
                    statement,
                    f"{condition.operator_text} on {condition.key} holds upper case: KMS holds lower case, never equal",
                    f"Write it in lower case, and use {condition.operator}IgnoreCase.",
                )
        if not folds:
            yield finding(
                LintCode.CASE_SENSITIVE,
                Severity.NOTE,
                statement,
                f"{condition.operator_text} on {condition.key} tells upper from lower case",
                f"{condition.operator}IgnoreCase cannot surprise.",
            )


def _directions(policy: Policy) -> Iterator[Finding]:
    for statement, condition in _conditions(policy):
        if condition.operator == "Null":
            continue
        denies_zero = all(not value.strip("0") for value in condition.values)
        if statement.effect is Effect.DENY and not condition.negated and not denies_zero:
            yield finding(
                LintCode.DENY_POSITIVE,
                Severity.ERROR,
                statement,
                f"Deny with {condition.operator_text} on {condition.key} denies the listed measurements and lets the "
                "unattested through",
                "Use StringNotEqualsIgnoreCase: it is true for other values and for no value.",
            )
        if statement.effect is Effect.ALLOW and condition.negated:
            yield finding(
                LintCode.ALLOW_NEGATED,
                Severity.ERROR,
                statement,
                f"Allow with {condition.operator_text} on {condition.key} holds for all but the listed, and unattested",
                "Use StringEqualsIgnoreCase.",
            )


CONDITION_RULES: Final[tuple[Callable[[Policy], Iterator[Finding]], ...]] = (
    _keys,
    _operators,
    _values,
    _directions,
)
"""Every rule of this module."""
