"""Say which key each ``aws_kms_key_policy`` of a Terraform plan or state belongs to, where that is certain.

A key that no policy resource certainly belongs to must show a policy itself: AWS gives it the default one otherwise,
which delegates to the account. So a policy resource counts as planned, not as configured (``count = 0`` plans none),
and for the one instance that it names; ``depends_on`` names nothing.

Spec: Terraform, "JSON Output Format": values representation, configuration representation, expression representation.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from kms_policies.plan_addresses import Address

KEY_TYPES: Final = frozenset(
    {"aws_kms_key", "aws_kms_external_key", "aws_kms_replica_key", "aws_kms_replica_external_key"}
)
KEY_POLICY: Final = "aws_kms_key_policy"

_OWN_INDEX: Final = frozenset({"each.key", "count.index"})
"""References that pick the key with the policy resource's own index."""

_IDENTIFIERS: Final = ("key_id", "id", "arn")
"""Attributes of a key that a policy resource's ``key_id`` may hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedResource:
    """Hold one managed resource that will be there, or is.

    Attributes:
        address: its full address with indexes.
        type: its type.
        values: its attributes, without those that are known only after apply.
    """

    address: str
    type: str
    values: Mapping[str, Any]


def find_owners(resources: Iterable[PlannedResource], configuration: object) -> dict[str, str]:
    """Return the address of the key for the address of each policy resource whose key is certain.

    Args:
        resources: what will be there, or is.
        configuration: the root module of the plan's ``configuration``; anything else where there is none.
    """
    known = list(resources)
    keys = {one.address for one in known if one.type in KEY_TYPES}
    by_identifier = {
        one.values[name]: one.address
        for one in known
        if one.type in KEY_TYPES
        for name in _IDENTIFIERS
        if isinstance(one.values.get(name), str)
    }
    references = dict(_references(configuration, ""))
    owners = {}
    for one in known:
        if one.type != KEY_POLICY:
            continue
        key_id = one.values.get("key_id")
        if isinstance(key_id, str):
            owner = by_identifier.get(key_id)
        else:
            own = Address.parse(one.address)
            owner = _named(own, references.get(own.without_indexes, frozenset()))
        if owner in keys:
            owners[one.address] = owner
    return owners


def _named(policy: Address, references: frozenset[str]) -> str | None:
    """Return the address of the key instance that an expression with these references can only mean, or None."""
    own_index = bool(references & _OWN_INDEX)
    named = set()
    for reference in references - _OWN_INDEX:
        kind, _, rest = reference.partition(".")
        if kind not in KEY_TYPES or not rest:
            return None
        named.add(Address.parse(reference).first_two)
    # Terraform lists an indexed reference together with the resource that it indexes.
    plain = {name.without_indexes for name in named}
    indexed = {str(name) for name in named if str(name) not in plain}
    if len(plain) != 1 or len(indexed) > 1 or (indexed and own_index):
        return None
    name = next(iter(indexed or plain)) + (policy.last_index if own_index else "")
    return f"{policy.module}.{name}" if policy.module else name


def _references(module: object, prefix: str) -> Iterator[tuple[str, frozenset[str]]]:
    """Yield address without indexes, and what ``key_id`` refers to, of each configured policy resource."""
    if not isinstance(module, dict):
        return
    for raw in _dicts(module.get("resources")):
        if raw.get("type") == KEY_POLICY:
            key_id = _dict(_dict(raw.get("expressions")).get("key_id"))
            found = key_id.get("references")
            yield prefix + str(raw.get("address")), frozenset(map(str, found if isinstance(found, list) else ()))
    for name, call in _dict(module.get("module_calls")).items():
        yield from _references(_dict(call).get("module"), f"{prefix}module.{name}.")


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _dicts(value: object) -> list[dict[str, Any]]:
    return [member for member in value if isinstance(member, dict)] if isinstance(value, list) else []
