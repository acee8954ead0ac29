"""Conditions: whether a request's context fulfils them, as IAM decides it.

Spec: IAM User Guide, "Condition operators", "Conditions with multiple context keys or values", "Single-valued vs.
multivalued context keys", "Set operators".
"""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from kms_policies import operators
from kms_policies.document import Condition, SetOperator, ValueType
from kms_policies.patterns import Atoms, Context, Template, match_arn, match_glob, parse_template

_Matcher: TypeAlias = Callable[[str, Context], bool | None]
"""Tells whether one value of the request matches any value of the policy.

``None`` means that it matches none but could not be compared with all: a variable without value, or a value of the
wrong type. Such a comparison fulfils neither an operator nor its ``Not...`` form.
"""

_ORDERS: Final[Mapping[str, Callable[[Any, Any], bool]]] = MappingProxyType(
    {
        "Equals": operator.eq,
        "NotEquals": operator.eq,
        "LessThan": operator.lt,
        "LessThanEquals": operator.le,
        "GreaterThan": operator.gt,
        "GreaterThanEquals": operator.ge,
    }
)
"""What a positive match is; the ``Not...`` of the language is applied to the outcome, not to each value."""


def _equals_matcher(templates: tuple[Template, ...], *, fold: bool) -> _Matcher:
    fixed = frozenset(_folded(template.text({}), fold=fold) for template in templates if template.is_fixed)
    variable = tuple(template for template in templates if not template.is_fixed)

    def matches(value: str, context: Context) -> bool | None:
        wanted = _folded(value, fold=fold)
        if wanted in fixed:
            return True
        texts = [_folded(template.text(context), fold=fold) for template in variable]
        return True if wanted in texts else None if None in texts else False

    return matches


def _folded(text: str | None, *, fold: bool) -> str | None:
    return text.lower() if fold and text is not None else text


def _pattern_matcher(templates: tuple[Template, ...], match: Callable[[Atoms, str], bool | None]) -> _Matcher:
    fixed = tuple(atoms for template in templates if template.is_fixed and (atoms := template.atoms({})) is not None)
    variable = tuple(template for template in templates if not template.is_fixed)

    def matches(value: str, context: Context) -> bool | None:
        incomparable = False
        for atoms in (*fixed, *(template.atoms(context) for template in variable)):
            outcome = None if atoms is None else match(atoms, value)
            if outcome:
                return True
            incomparable = incomparable or outcome is None
        return None if incomparable else False

    return matches


def _typed_matcher(
    values: tuple[str, ...], read: Callable[[str], Any], compare: Callable[[Any, Any], bool]
) -> _Matcher:
    wanted = tuple(read(value) for value in values)

    def matches(value: str, _context: Context) -> bool | None:
        present = read(value)
        return None if present is None else any(compare(present, one) for one in wanted)

    return matches


def _address_matcher(values: tuple[str, ...]) -> _Matcher:
    networks = tuple(network for value in values if (network := operators.read_network(value)) is not None)

    def matches(value: str, _context: Context) -> bool | None:
        address = operators.read_address(value)
        return None if address is None else any(address in network for network in networks)

    return matches


def _matcher(condition: Condition, *, variables: bool) -> _Matcher:
    value_type, name, values = condition.value_type, condition.operator, condition.values
    if value_type in (ValueType.STRING, ValueType.ARN):
        templates = tuple(parse_template(value, variables=variables) for value in values)
        if value_type is ValueType.ARN:
            return _pattern_matcher(templates, match_arn)
        if name.endswith("Like"):
            return _pattern_matcher(templates, match_glob)
        return _equals_matcher(templates, fold=name.endswith("IgnoreCase"))
    if value_type is ValueType.NUMERIC:
        return _typed_matcher(values, operators.read_number, _ORDERS[name.removeprefix("Numeric")])
    if value_type is ValueType.DATE:
        return _typed_matcher(values, operators.read_date, _ORDERS[name.removeprefix("Date")])
    if value_type is ValueType.IP:
        return _address_matcher(values)
    if value_type is ValueType.BINARY:
        return _typed_matcher(values, operators.read_binary, operator.eq)
    return _typed_matcher(values, operators.read_bool, operator.eq)


def present_values(condition: Condition, context: Context) -> tuple[str, ...]:
    """Return the request's values for the condition's key; empty when the key is missing."""
    value = context.get(condition.folded_key, ())
    return (value,) if isinstance(value, str) else value


@dataclass(frozen=True, slots=True)
class CompiledCondition:
    """Hold one condition ready to be evaluated many times.

    Attributes:
        condition: what it was compiled from.
        folded_key: the key in lower case.
        matcher: whether one value of the request matches any value of the policy.
    """

    condition: Condition
    folded_key: str
    matcher: _Matcher

    def holds(self, context: Context) -> bool:
        """Tell whether a request with this context fulfils the condition."""
        raw = context.get(self.folded_key, ())
        present = (raw,) if isinstance(raw, str) else raw
        condition = self.condition
        if condition.value_type is ValueType.PRESENCE:
            return any(operators.read_bool(value) is (not present) for value in condition.values)
        negated = condition.negated
        if not present:
            if condition.set_operator is SetOperator.FOR_ALL_VALUES or condition.if_exists:
                return True
            return negated and condition.set_operator is None
        # By identity: what could not be compared (None) is neither a match nor its opposite.
        outcomes = (self.matcher(value, context) is (not negated) for value in present)
        if condition.set_operator is SetOperator.FOR_ALL_VALUES:
            return all(outcomes)
        if condition.set_operator is SetOperator.FOR_ANY_VALUE:
            return any(outcomes)
        # Several values under an operator for one: any may match, and for a negated operator none may.
        return all(outcomes) if negated else any(outcomes)


def compile_condition(condition: Condition, *, variables: bool) -> CompiledCondition:
    """Prepare a condition for evaluation.

    Args:
        condition: a parsed condition.
        variables: whether the policy's version knows variables.
    """
    return CompiledCondition(condition, condition.folded_key, _matcher(condition, variables=variables))
