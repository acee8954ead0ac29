"""Lint: what is written in a policy and cannot be meant, each with advice. Reads one document; proves nothing.

The prover decides whether plaintext can leave; the linter says which words are wrong, also in a policy that happens to
hold. Rules about attestation keys stand in ``kms_policies.lint_attestation`` and ``kms_policies.lint_release``.
"""

from collections.abc import Callable, Iterator
from typing import Final

from kms_policies.document import (
    CURRENT_VERSION,
    IDENTITY_MAX_BYTES,
    POLICY_MAX_BYTES,
    RESOURCE_CONTROL_MAX_BYTES,
    SESSION_MAX_BYTES,
    Effect,
    Policy,
    PolicyKind,
)
from kms_policies.lint_attestation import CONDITION_RULES
from kms_policies.lint_findings import Finding, LintCode, Severity, finding, matched_actions
from kms_policies.lint_release import RELEASE_RULES
from kms_policies.operations import ALL_ACTIONS, PREFIX
from kms_policies.patterns import action_pattern

SIZE_WARNING_PERCENT: Final = 90
"""From this share of the size limit on, the next roll-over may not fit: one more PCR value in two statements is 200
bytes, some 4 % of a small policy but under 1 % of a full one."""

_MAX_BYTES: Final = {
    PolicyKind.KEY: POLICY_MAX_BYTES,
    PolicyKind.IDENTITY: IDENTITY_MAX_BYTES,
    PolicyKind.RESOURCE_CONTROL: RESOURCE_CONTROL_MAX_BYTES,
    PolicyKind.SESSION: SESSION_MAX_BYTES,
}


def lint(policy: Policy) -> tuple[Finding, ...]:
    """Return every finding, the gravest first, then in the order of the statements."""
    found = [one for rule in _RULES for one in rule(policy)]
    return tuple(sorted(found, key=lambda one: (one.severity.value, -1 if one.index is None else one.index)))


def _version(policy: Policy) -> Iterator[Finding]:
    if policy.version != CURRENT_VERSION:
        yield finding(
            LintCode.OLD_VERSION,
            Severity.WARNING,
            None,
            f"the version is {policy.version} (also what a missing Version means)",
            f'Write "Version": "{CURRENT_VERSION}"; in the old version ${{...}} is plain text.',
        )


def _size(policy: Policy) -> Iterator[Finding]:
    limit = _MAX_BYTES[policy.kind]
    if policy.size_bytes * 100 >= limit * SIZE_WARNING_PERCENT:
        yield finding(
            LintCode.SIZE,
            Severity.WARNING,
            None,
            f"the policy has {policy.size_bytes} bytes of {limit}",
            "Remove drained measurements before the next roll-over: a policy that does not fit cannot be put.",
        )


def _unknown_actions(policy: Policy) -> Iterator[Finding]:
    for statement in policy.statements:
        for action in statement.actions:
            if not action.lower().startswith(PREFIX) and action != "*":
                if policy.kind is PolicyKind.KEY:
                    yield finding(
                        LintCode.FOREIGN_ACTION,
                        Severity.WARNING,
                        statement,
                        f"{action[:80]!a} is no action of KMS, and a key policy speaks of nothing else",
                        "Remove it.",
                    )
                continue
            pattern = action_pattern((action,))
            if not any(pattern.fullmatch(known.lower()) for known in ALL_ACTIONS):
                yield finding(
                    LintCode.UNKNOWN_ACTION,
                    Severity.ERROR,
                    statement,
                    f"{action[:80]!a} matches no action of KMS",
                    "Correct the name. ReEncrypt is two actions: kms:ReEncryptFrom and kms:ReEncryptTo.",
                )


def _not_action(policy: Policy) -> Iterator[Finding]:
    for statement in policy.statements:
        if statement.not_action and statement.effect is Effect.ALLOW:
            yield finding(
                LintCode.ALLOW_NOT_ACTION,
                Severity.ERROR,
                statement,
                "it allows every action but those it lists, also ones that AWS adds later",
                "List what is allowed. NotAction belongs in Deny statements.",
            )


def _principals(policy: Policy) -> Iterator[Finding]:
    for statement in policy.statements:
        principal = statement.principal
        if principal is None:
            continue
        if statement.not_principal:
            allow = statement.effect is Effect.ALLOW
            yield finding(
                LintCode.NOT_PRINCIPAL,
                Severity.ERROR if allow else Severity.WARNING,
                statement,
                "it allows everyone but those it names"
                if allow
                else "it spares only those whose account, role and session are all named",
                'Deny everyone ("Principal": "*") with ArnNotEquals on aws:PrincipalArn.',
            )
        elif statement.effect is Effect.ALLOW and principal.any:
            yield finding(
                LintCode.WILDCARD_PRINCIPAL,
                Severity.WARNING if statement.conditions else Severity.ERROR,
                statement,
                "it allows everyone, in every account" + (" who meets its conditions" if statement.conditions else ""),
                "Name the roles by their ARNs.",
            )
        elif statement.effect is Effect.ALLOW and any(
            name.isdigit() or name.endswith(":root") for name in principal.aws
        ):
            yield finding(
                LintCode.ROOT_DELEGATION,
                Severity.WARNING,
                statement,
                "it delegates to an account: any IAM policy there can give these actions to anyone",
                "Name roles instead; if it must stay, keep the Deny statements and watch the account's IAM policies.",
            )


def _future_actions(policy: Policy) -> Iterator[Finding]:
    for statement in policy.statements:
        broad = [action for action in statement.actions if action.lower() in {"*", "kms:*"}]
        if broad and not statement.not_action and statement.effect is Effect.ALLOW:
            yield finding(
                LintCode.ALLOW_EVERYTHING,
                Severity.WARNING,
                statement,
                f"{broad[0]} allows {len(matched_actions(statement))} actions, and those that AWS adds later",
                "List the actions that are needed.",
            )


_RULES: Final[tuple[Callable[[Policy], Iterator[Finding]], ...]] = (
    _version,
    _size,
    _unknown_actions,
    _not_action,
    _principals,
    _future_actions,
    *CONDITION_RULES,
    *RELEASE_RULES,
)
