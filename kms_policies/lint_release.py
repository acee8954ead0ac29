"""Rules of the linter about whole statements that release: can they be met, and do they ask for the right PCRs.

Spec: KMS Developer Guide, "Condition keys for AWS Nitro Enclaves", "Condition keys for NitroTPM".
"""

from collections.abc import Callable, Iterator
from typing import Final

from kms_policies.condition_keys import ATTESTATION_KEYS, COMPARING_OPERATORS, is_attestation_key
from kms_policies.document import Effect, Policy, Statement
from kms_policies.lint_findings import Finding, LintCode, Severity, finding, matched_actions
from kms_policies.operations import ATTESTABLE_ACTIONS, PLAINTEXT_ACTIONS
from kms_policies.request import IMAGE_KEY, NITROTPM_KEY_PREFIX, PCR_KEY_PREFIX

_NITROTPM_SET: Final = (4, 7, 12)


def _presence(policy: Policy) -> Iterator[Finding]:
    for statement in policy.statements:
        keys = [condition for condition in statement.conditions if is_attestation_key(condition)]
        if keys and all(condition.operator == "Null" for condition in keys):
            allows = statement.effect is Effect.ALLOW
            if allows or not any(_gates(other) for other in policy.statements):
                yield finding(
                    LintCode.PRESENCE_ONLY,
                    Severity.ERROR if allows else Severity.WARNING,
                    statement,
                    "it asks whether anything is attested, not what: any image will do",
                    "Compare PCR0 with the approved measurements.",
                )


def _satisfiability(policy: Policy) -> Iterator[Finding]:
    for statement in policy.statements:
        keys = {condition.folded_key for condition in statement.conditions if is_attestation_key(condition)}
        if not keys:
            continue
        actions = matched_actions(statement)
        if statement.effect is Effect.ALLOW:
            hopeless = sorted(actions - ATTESTABLE_ACTIONS)
            positive = any(
                is_attestation_key(condition) and not condition.negated and not condition.if_exists
                for condition in statement.conditions
            )
            if hopeless and positive:
                listed = ", ".join(hopeless[:4]) + (f" and {len(hopeless) - 4} more" if len(hopeless) > 4 else "")
                yield finding(
                    LintCode.NEVER_SATISFIABLE,
                    Severity.ERROR,
                    statement,
                    f"{listed} cannot carry an attestation: for them this condition is never met",
                    "Give them a statement of their own, without attestation keys.",
                )
            nitrotpm = {key for key in keys if key.startswith(NITROTPM_KEY_PREFIX.lower())}
            if nitrotpm and keys - nitrotpm:
                yield finding(
                    LintCode.MIXED_ATTESTATION,
                    Severity.ERROR,
                    statement,
                    "it asks for PCRs of an enclave and of NitroTPM at once, and no document has both",
                    "Use one statement for each.",
                )
        elif _gates(statement):
            shut = sorted(actions & {"kms:DescribeKey", "kms:Encrypt", "kms:GetKeyPolicy", "kms:PutKeyPolicy"})
            if shut:
                yield finding(
                    LintCode.ALWAYS_DENIED,
                    Severity.ERROR,
                    statement,
                    f"{', '.join(shut)} cannot carry an attestation, so this denies them to everyone, always",
                    "List only the operations that yield plaintext.",
                )


def _gates(statement: Statement) -> bool:
    """Tell whether a Deny compares attestation keys in the way that also stops the unattested."""
    return statement.effect is Effect.DENY and any(
        is_attestation_key(condition) and condition.negated and condition.operator in COMPARING_OPERATORS
        for condition in statement.conditions
    )


def _keys_asked(policy: Policy, statement: Statement) -> set[str]:
    """Return the attestation keys that a release by this Allow must match: its own and those of the Deny statements."""
    own = {
        condition.folded_key
        for condition in statement.conditions
        if is_attestation_key(condition) and not condition.negated and condition.operator != "Null"
    }
    for other in policy.statements:
        everyone = other.principal is None or (other.principal.any and not other.not_principal)
        if _gates(other) and everyone and matched_actions(statement) & ATTESTABLE_ACTIONS <= matched_actions(other):
            own |= {condition.folded_key for condition in other.conditions if is_attestation_key(condition)}
    return own


def _reference_values(policy: Policy) -> Iterator[Finding]:
    for statement in policy.statements:
        if statement.effect is Effect.DENY or not matched_actions(statement) & ATTESTABLE_ACTIONS:
            continue
        keys = _keys_asked(policy, statement)
        nitrotpm = {key for key in keys if key.startswith(NITROTPM_KEY_PREFIX.lower())}
        enclave = keys - nitrotpm
        if not keys and matched_actions(statement) & PLAINTEXT_ACTIONS:
            if not any(is_attestation_key(condition) for condition in statement.conditions):
                yield finding(
                    LintCode.RELEASE_UNCONDITIONED,
                    Severity.ERROR,
                    statement,
                    "it allows plaintext and no condition here or in a Deny asks for an attestation",
                    "Add the condition on PCR0, and a Deny with StringNotEqualsIgnoreCase for everyone.",
                )
        elif enclave and not enclave & {IMAGE_KEY.lower(), f"{PCR_KEY_PREFIX}0".lower()}:
            yield finding(
                LintCode.PCR0_MISSING,
                Severity.ERROR,
                statement,
                f"{', '.join(sorted(ATTESTATION_KEYS[key] for key in enclave))} without PCR0: any image of that "
                "signer, role or instance will do",
                "Add kms:RecipientAttestation:PCR0.",
            )
        missing = [index for index in _NITROTPM_SET if f"{NITROTPM_KEY_PREFIX}{index}".lower() not in nitrotpm]
        if nitrotpm and missing:
            yield finding(
                LintCode.NITROTPM_INCOMPLETE,
                Severity.ERROR,
                statement,
                "NitroTPM without "
                + ", ".join(f"PCR{index}" for index in missing)
                + (": the same kernel starts with any command line" if 12 in missing else ""),
                "Condition on NitroTPMPCR4, NitroTPMPCR7 and NitroTPMPCR12 together.",
            )


RELEASE_RULES: Final[tuple[Callable[[Policy], Iterator[Finding]], ...]] = (
    _presence,
    _satisfiability,
    _reference_values,
)
"""Every rule of this module."""
