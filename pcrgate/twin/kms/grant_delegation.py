"""Grants made under grants: whoever may create grants only because of a grant can pass on no more than it holds."""

from pcrgate.twin.kms.interface import GrantDescription


def is_within(child: GrantDescription, parent: GrantDescription) -> bool:
    """Whether a new grant gives no more than an existing one.

    Its operations are among the parent's, and its constraints are at least as narrow.

    Spec: KMS Developer Guide, "Granting CreateGrant permission".
    """
    if not set(child.operations) <= set(parent.operations):
        return False
    if parent.source_arn is not None and child.source_arn != parent.source_arn:
        return False
    if parent.context_equals is not None:
        return child.context_equals == parent.context_equals
    if parent.context_subset is not None:
        required = parent.context_subset.items()
        return any(context is not None and required <= context.items() for context in _contexts(child))
    return True


def _contexts(grant: GrantDescription) -> tuple[dict[str, str] | None, ...]:
    return tuple(None if context is None else dict(context) for context in (grant.context_equals, grant.context_subset))
