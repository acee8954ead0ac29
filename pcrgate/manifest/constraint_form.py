"""Rules to plain values and back: the maps that stand in the payload.

Spec: docs/protocol.md, release manifest, rules.
"""

from pcrgate.attestation.cbor import CborValue
from pcrgate.errors import ErrorCode, ManifestError
from pcrgate.manifest.constraints import Constraint, Equals, FreeText, IntegerRange, MaxAmount, OneOf, Prefix
from pcrgate.manifest.fields import Fields
from pcrgate.manifest.grants import ActionRule, Argument, Grant, WorkloadRules


def grant_value(grant: Grant) -> CborValue:
    """Return the map of a grant."""
    return {
        "agent": grant.agent,
        "workload": grant.workload,
        "expires_ms": grant.expires_ms,
        "max_uses_per_boot": grant.max_uses_per_boot,
        "actions": [_action_value(rule) for rule in grant.actions],
    }


def read_grant(value: CborValue) -> Grant:
    """Return the grant of a map.

    Raises:
        ManifestError: for what is no grant.
    """
    fields = Fields(value, "a grant")
    grant = Grant(
        agent=fields.text("agent"),
        workload=fields.text("workload"),
        expires_ms=fields.integer("expires_ms"),
        max_uses_per_boot=fields.optional_integer("max_uses_per_boot"),
        actions=fields.entries("actions", read_action),
    )
    fields.done()
    return grant


def rules_value(rules: WorkloadRules) -> CborValue:
    """Return the map of a workload's rules."""
    return {"workload": rules.workload, "actions": [_action_value(rule) for rule in rules.actions]}


def read_rules(value: CborValue) -> WorkloadRules:
    """Return the workload's rules of a map.

    Raises:
        ManifestError: for what are no rules.
    """
    fields = Fields(value, "a workload's rules")
    rules = WorkloadRules(workload=fields.text("workload"), actions=fields.entries("actions", read_action))
    fields.done()
    return rules


def _action_value(rule: ActionRule) -> CborValue:
    return {
        "action": rule.action,
        "purposes": list(rule.purposes),
        "max_uses_per_boot": rule.max_uses_per_boot,
        "arguments": {name: _argument_value(argument) for name, argument in rule.arguments.items()},
    }


def read_action(value: CborValue) -> ActionRule:
    """Return the rule of a map.

    Raises:
        ManifestError: for what is no rule.
    """
    fields = Fields(value, "an action")
    arguments = fields.mapping("arguments")
    rule = ActionRule(
        action=fields.text("action"),
        purposes=fields.texts("purposes"),
        max_uses_per_boot=fields.optional_integer("max_uses_per_boot"),
        # a key that is no text is refused as a name
        arguments={name: _read_argument(argument) for name, argument in arguments.items()},  # type: ignore[misc]
    )
    fields.done()
    return rule


def _argument_value(argument: Argument) -> CborValue:
    return {"required": argument.required, **_constraint_value(argument.constraint)}


def _constraint_value(constraint: Constraint) -> dict[int | str, CborValue]:
    match constraint:
        case Equals():
            return {"kind": "equals", "value": constraint.value}
        case OneOf():
            return {"kind": "one-of", "values": list(constraint.values)}
        case Prefix():
            return {"kind": "prefix", "prefix": constraint.prefix, "max_bytes": constraint.max_bytes}
        case FreeText():
            return {"kind": "free-text", "max_bytes": constraint.max_bytes}
        case IntegerRange():
            return {
                "kind": "integer",
                "minimum": constraint.minimum,
                "maximum": constraint.maximum,
                "total_per_boot": constraint.total_per_boot,
            }
        case MaxAmount():
            return {
                "kind": "amount",
                "currency": constraint.currency,
                "max_minor_units": constraint.max_minor_units,
                "total_minor_units_per_boot": constraint.total_minor_units_per_boot,
            }


def _read_argument(value: CborValue) -> Argument:
    fields = Fields(value, "an argument")
    required, constraint = fields.boolean("required"), _read_constraint(fields)
    fields.done()
    return Argument(constraint=constraint, required=required)


def _read_constraint(fields: Fields) -> Constraint:
    match fields.text("kind"):
        case "equals":
            return Equals(value=fields.take("value"))  # type: ignore[arg-type]  # the type itself refuses others
        case "one-of":
            return OneOf(values=fields.entries("values", lambda item: item))  # type: ignore[arg-type]  # as above
        case "prefix":
            return Prefix(prefix=fields.text("prefix"), max_bytes=fields.integer("max_bytes"))
        case "free-text":
            return FreeText(max_bytes=fields.integer("max_bytes"))
        case "integer":
            return IntegerRange(
                minimum=fields.integer("minimum"),
                maximum=fields.integer("maximum"),
                total_per_boot=fields.optional_integer("total_per_boot"),
            )
        case "amount":
            return MaxAmount(
                currency=fields.text("currency"),
                max_minor_units=fields.integer("max_minor_units"),
                total_minor_units_per_boot=fields.optional_integer("total_minor_units_per_boot"),
            )
        case _:
            raise ManifestError(
                ErrorCode.MANIFEST_FIELD,
                "an argument is of unknown kind, expected equals, one-of, prefix, free-text, integer or amount",
            )
