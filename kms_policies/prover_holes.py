"""Name the mistake behind a counterexample, so that a person knows what to mend and a vector what to expect.

Spec: IAM User Guide, "Condition operators", "Set operators"; KMS Developer Guide, "Grants", "Condition keys".
"""

from collections.abc import Mapping
from enum import Enum
from typing import Final

from kms_policies.operations import ATTESTABLE_ACTIONS, FUTURE_ACTION, LABEL_ACTIONS, PLAINTEXT_ACTIONS
from kms_policies.operators import SetOperator, ValueType
from kms_policies.prover_domains import ATTESTATION_PREFIX, is_measurement
from kms_policies.prover_encoding import Via, Way
from kms_policies.prover_keys import IMAGE, NITROTPM_PREFIX, PCR0
from kms_policies.prover_question import ApprovedMeasurements
from kms_policies.prover_tiers import Tier
from kms_policies.prover_universe import Sourced, Universe
from kms_policies.request import PrincipalKind, Request
from kms_policies.statements import Condition

ZERO_PCR: Final = "0" * 96


class Hole(Enum):
    """List every kind of mistake; the text is stable."""

    GRANT = "grant"
    UNATTESTABLE_OPERATION = "unattestable-operation"
    ZERO_PCR = "zero-pcr"
    UNAPPROVED_PCR = "unapproved-pcr"
    WILDCARD_PCR = "wildcard-pcr"
    IF_EXISTS = "if-exists"
    SET_OPERATOR = "set-operator"
    NEGATED_OPERATOR = "negated-operator"
    PRESENCE_ONLY = "presence-only"
    POLICY_VARIABLE = "policy-variable"
    PCR8_ONLY = "pcr8-only"
    WITHOUT_PCR0 = "without-pcr0"
    FURTHER_PCR = "further-pcr"
    NITROTPM = "nitrotpm"
    NITROTPM_PARTIAL = "nitrotpm-partial"
    MISSPELT_KEY = "misspelt-key"
    ROOT_DELEGATION = "root-delegation"
    CROSS_ACCOUNT = "cross-account"
    SERVICE_PRINCIPAL = "service-principal"
    VIA_SERVICE = "via-service"
    WILDCARD_PRINCIPAL = "wildcard-principal"
    NOT_PRINCIPAL = "not-principal"
    NOT_ACTION = "not-action"
    SECOND_ALLOW = "second-allow"
    UNCONDITIONED_ALLOW = "unconditioned-allow"
    WEAK_DENY = "weak-deny"
    FORGOTTEN_OPERATION = "forgotten-operation"
    PUT_KEY_POLICY = "put-key-policy"
    CREATE_GRANT = "create-grant"
    RE_ENCRYPT = "re-encrypt"
    REPLICATE = "replicate"
    IMPORT_MATERIAL = "import-material"
    FUTURE_OPERATION = "future-operation"
    LABEL_STEERING = "tag-or-alias-steering"
    AVAILABILITY = "availability"


_BY_ACTION: Final = {
    "kms:PutKeyPolicy": Hole.PUT_KEY_POLICY,
    "kms:CreateGrant": Hole.CREATE_GRANT,
    "kms:ReEncryptFrom": Hole.RE_ENCRYPT,
    "kms:ReplicateKey": Hole.REPLICATE,
    "kms:ImportKeyMaterial": Hole.IMPORT_MATERIAL,
    FUTURE_ACTION: Hole.FUTURE_OPERATION,
} | dict.fromkeys(LABEL_ACTIONS, Hole.LABEL_STEERING)


def name_hole(universe: Universe, tier: Tier, way: Way, request: Request) -> Hole:
    """Return the kind of mistake that lets a request through.

    Args:
        universe: everything the question speaks of.
        tier: what the request leads to.
        way: the statement or grant that lets it through.
        request: the request.
    """
    if tier is Tier.AVAILABILITY:
        return Hole.AVAILABILITY
    if way.statement is None:
        return Hole.GRANT
    if tier is Tier.ESCALATION:
        return _delegated(universe, way, request) or _BY_ACTION[request.action]
    if request.action in PLAINTEXT_ACTIONS - ATTESTABLE_ACTIONS:
        return Hole.UNATTESTABLE_OPERATION
    conditions = [c for c in way.statement.compiled.statement.conditions if c.folded_key.startswith(ATTESTATION_PREFIX)]
    if conditions:
        return _of_conditions(universe.question.approved, conditions, way.statement, request.folded)
    return _of_principal(universe, way, request)


def _delegated(universe: Universe, way: Way, request: Request) -> Hole | None:
    """Return the hole of a whole account let in, own or foreign; None when the caller is named."""
    foreign = request.principal.account not in {None, universe.account}
    element = None if way.statement is None else way.statement.compiled.statement.principal
    named = element is not None and not element.any
    if way.via is Via.ACCOUNT or (named and request.principal.kind is PrincipalKind.ROOT):
        return Hole.CROSS_ACCOUNT if foreign else Hole.ROOT_DELEGATION
    return None


def _of_conditions(
    approved: ApprovedMeasurements,
    conditions: list[Condition],
    one: Sourced,
    context: Mapping[str, str | tuple[str, ...]],
) -> Hole:
    """Return why conditions on attestation keys do not hold the request back."""
    keys = {condition.folded_key for condition in conditions}
    attested = any(name in context for name in map(str.lower, context) if is_measurement(name))
    if any(one.variables and "${" in value for condition in conditions for value in condition.values):
        return Hole.POLICY_VARIABLE
    if not all(map(is_measurement, keys)):
        return Hole.MISSPELT_KEY
    if not attested:
        return _without_attestation(conditions)
    if PCR0 not in context:
        return Hole.NITROTPM_PARTIAL if approved.nitrotpm else Hole.NITROTPM
    return _with_enclave(approved, conditions, keys, str(context[PCR0]))


def _without_attestation(conditions: list[Condition]) -> Hole:
    for condition in conditions:
        if condition.if_exists:
            return Hole.IF_EXISTS
    for condition in conditions:
        if condition.set_operator is SetOperator.FOR_ALL_VALUES:
            return Hole.SET_OPERATOR
    return Hole.PRESENCE_ONLY if all(c.value_type is ValueType.PRESENCE for c in conditions) else Hole.NEGATED_OPERATOR


def _with_enclave(approved: ApprovedMeasurements, conditions: list[Condition], keys: set[str], pcr0: str) -> Hole:
    if pcr0 == ZERO_PCR:
        return Hole.ZERO_PCR
    if any(pcr0 == value.hex() for value in approved.pcr0):
        return Hole.FURTHER_PCR
    on_image = [c for c in conditions if c.folded_key in {PCR0, IMAGE}]
    if all(condition.value_type is ValueType.PRESENCE for condition in conditions):
        return Hole.PRESENCE_ONLY
    if not on_image:
        if all(key.startswith(NITROTPM_PREFIX) for key in keys):
            return Hole.NITROTPM
        return Hole.PCR8_ONLY if keys == {f"{ATTESTATION_PREFIX}pcr8"} else Hole.WITHOUT_PCR0
    if any(condition.negated for condition in on_image):
        return Hole.NEGATED_OPERATOR
    if any(pcr0 in map(str.lower, condition.values) for condition in on_image):
        return Hole.UNAPPROVED_PCR
    if any(set("*?") & set(value) for condition in on_image for value in condition.values):
        return Hole.WILDCARD_PCR
    return Hole.PRESENCE_ONLY


def _of_principal(universe: Universe, way: Way, request: Request) -> Hole:
    """Return why a statement without any condition on an attestation lets this principal through."""
    if (weak := _of_denies(universe, request)) is not None:
        return weak
    delegated = _delegated(universe, way, request)
    if delegated is not None or way.statement is None:
        return delegated or Hole.GRANT
    statement = way.statement.compiled.statement
    if request.principal.kind is PrincipalKind.SERVICE:
        return Hole.SERVICE_PRINCIPAL
    if any(condition.folded_key == "kms:viaservice" for condition in statement.conditions):
        return Hole.VIA_SERVICE
    if statement.not_principal:
        return Hole.NOT_PRINCIPAL
    if statement.principal is not None and statement.principal.any:
        return Hole.WILDCARD_PRINCIPAL
    if request.principal.account != universe.account:
        return Hole.CROSS_ACCOUNT
    if statement.not_action:
        return Hole.NOT_ACTION
    conditioned = (
        one
        for one in universe.allows
        if one is not way.statement
        and any(c.folded_key.startswith(ATTESTATION_PREFIX) for c in one.compiled.statement.conditions)
    )
    return (
        Hole.SECOND_ALLOW
        if any(universe.is_covered(one, request.action) for one in conditioned)
        else Hole.UNCONDITIONED_ALLOW
    )


def _of_denies(universe: Universe, request: Request) -> Hole | None:
    """Return why the Deny statements on attestation keys do not stop the request; None when there are none."""
    meant = [
        one
        for one in universe.denies
        if any(c.folded_key.startswith(ATTESTATION_PREFIX) for c in one.compiled.statement.conditions)
    ]
    covering = [one for one in meant if universe.is_covered(one, request.action)]
    if not meant:
        return None
    if not covering:
        return Hole.FORGOTTEN_OPERATION
    if any(one.compiled.statement.not_principal and not one.compiled.reach(request, bounded=False) for one in covering):
        return Hole.NOT_PRINCIPAL
    return Hole.WEAK_DENY
