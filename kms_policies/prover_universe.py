"""Everything a question speaks of: statements, grants, callers, condition keys, and the key it is about.

Callers and actions that all statements treat alike fall together here, so that the solver sees each difference once.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

from kms_policies.condition_keys import ATTESTATION_KEYS
from kms_policies.document import Effect, Policy
from kms_policies.grants import find_grant
from kms_policies.matching import CompiledStatement, compile_policy
from kms_policies.operators import ValueType
from kms_policies.patterns import match_glob, parse_template
from kms_policies.prover_caller_class import CallerClass
from kms_policies.prover_callers import DERIVED_KEYS, Caller, answer_of, callers_of, named_accounts
from kms_policies.prover_comparisons import Comparison, Match
from kms_policies.prover_question import ANY_PRINCIPAL, Question
from kms_policies.prover_tiers import Tiers, tiers_of
from kms_policies.request import ENCRYPTION_CONTEXT_PREFIX, Grant, PrincipalKind, Request
from kms_policies.statements import Condition

ASSUMED_ACCOUNT: Final = "111122223333"
ASSUMED_KEY: Final = "arn:aws:kms:us-east-1:{account}:key/00000000-0000-4000-8000-000000000000"
"""The key that requests name when neither metadata nor a policy says which one it is."""

CONTEXT_PREFIX: Final = ENCRYPTION_CONTEXT_PREFIX.lower()
_KEY_ARN: Final = re.compile(r"arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key/[0-9a-z-]+")
_ARN_ACCOUNT: Final = re.compile(r"arn:aws[a-z-]*:[a-z]+:[a-z0-9-]*:(\d{12}):")
_ROOT: Final = re.compile(r"arn:aws[a-z-]*:iam::(\d{12}):root")


@dataclass(frozen=True, slots=True, eq=False)
class Sourced:
    """Hold a statement with where it stands.

    Attributes:
        source: for example ``key policy``.
        compiled: the statement, ready to be matched.
        variables: whether ``${...}`` is replaced.
    """

    source: str
    compiled: CompiledStatement
    variables: bool

    def comparisons(self) -> Iterator[tuple[Condition, str, Comparison]]:
        """Yield every condition that compares something, with its key and what it compares with."""
        for condition in self.compiled.statement.conditions:
            if condition.value_type is not ValueType.PRESENCE:
                yield condition, condition.folded_key, Comparison.of(condition, variables=self.variables)


def _sourced(source: str, policy: Policy, effect: Effect) -> list[Sourced]:
    compiled = compile_policy(policy)
    chosen = compiled.allows if effect is Effect.ALLOW else compiled.denies
    return [Sourced(source, one, policy.has_variables) for one in chosen]


@dataclass(frozen=True)
class Universe:
    """Hold the question with everything it speaks of.

    Attributes:
        question: what is asked.
    """

    question: Question

    @cached_property
    def allows(self) -> list[Sourced]:
        """The Allow statements of the key policy."""
        return _sourced("key policy", self.question.key_policy, Effect.ALLOW)

    @cached_property
    def denies(self) -> list[Sourced]:
        """The Deny statements of the key policy and of resource control policies."""
        found = _sourced("key policy", self.question.key_policy, Effect.DENY)
        for policy in self.question.resource_control_policies:
            found += _sourced("resource control policy", policy, Effect.DENY)
        return found

    @cached_property
    def identity(self) -> dict[str, tuple[list[Sourced], list[Sourced]]]:
        """The Allow and Deny statements of identity policies by what they are attached to."""
        found = {}
        for name, policies in self.question.identity_policies.items():
            source = "identity policy" if name == ANY_PRINCIPAL else f"identity policy of {name}"
            allows = [one for policy in policies for one in _sourced(source, policy, Effect.ALLOW)]
            denies = [one for policy in policies for one in _sourced(source, policy, Effect.DENY)]
            found[name] = (allows, denies)
        return found

    @cached_property
    def statements(self) -> list[Sourced]:
        """Every statement."""
        attached = [one for allows, denies in self.identity.values() for one in (*allows, *denies)]
        return [*self.allows, *self.denies, *attached]

    @cached_property
    def grants(self) -> list[Grant]:
        """The grants on the key."""
        return list(self.question.grants)

    @cached_property
    def comparisons(self) -> dict[str, list[Comparison]]:
        """What every condition key, lower case, is compared with."""
        found: dict[str, list[Comparison]] = {}
        for one in self.statements:
            for condition in one.compiled.statement.conditions:
                found.setdefault(condition.folded_key, [])
            for _, key, comparison in one.comparisons():
                found[key].append(comparison)
        for grant in self.grants:
            for key, text in grant_pairs(grant):
                found.setdefault(key, []).append(Comparison("StringEquals", (text,), variables=False))
        return found

    @cached_property
    def spellings(self) -> Mapping[str, str]:
        """How each condition key is spelt, by its lower-case name: as AWS does where known, else as a policy does."""
        conditions = (condition for one in self.statements for condition in one.compiled.statement.conditions)
        return {condition.folded_key: condition.key for condition in conditions} | ATTESTATION_KEYS

    @cached_property
    def tiers(self) -> Tiers:
        """The actions of every tier."""
        return tiers_of(self.question.key, self.comparisons)

    @cached_property
    def key_arn(self) -> str:
        """The ARN of the key: from the metadata, from a ``Resource``, or made up for the likely account."""
        if self.question.key is not None:
            return str(self.question.key.arn)
        resources = {r for one in self.allows + self.denies for r in one.compiled.statement.resources}
        whole = sorted(filter(_KEY_ARN.fullmatch, resources))
        return whole[0] if len(whole) == 1 else ASSUMED_KEY.format(account=self._likely_account)

    @cached_property
    def account(self) -> str:
        """The account of the key."""
        return self.key_arn.split(":")[4]

    @cached_property
    def _likely_account(self) -> str:
        """The account of the administrators, or the one that the policy names most."""
        for names in (self.question.administrators, self._principal_names):
            accounts = Counter(match[1] for name in names if (match := _ARN_ACCOUNT.match(name)))
            accounts.update(name for name in names if name in named_accounts({name}))
            if accounts:
                return min(accounts, key=lambda account: (-accounts[account], account))
        return ASSUMED_ACCOUNT

    @cached_property
    def _principal_names(self) -> list[str]:
        elements = (one.compiled.statement.principal for one in self.statements)
        return [name for element in elements if element is not None for name in element.aws if name != "*"]

    def is_covered(self, one: Sourced, action: str) -> bool:
        """Whether action and resource are the statement's; a Deny on a resource left open is taken not to be."""
        statement = one.compiled.statement
        if (one.compiled.actions.fullmatch(action.lower()) is not None) is statement.not_action:
            return False
        if statement.resources == ("*",) and not statement.not_resource:
            return True
        templates = [parse_template(text, variables=one.variables) for text in statement.resources]
        known = self.question.key is not None and all(template.is_fixed for template in templates)
        if not known:
            return statement.effect is Effect.ALLOW
        hit = any((atoms := t.atoms({})) is not None and match_glob(atoms, self.key_arn) for t in templates)
        return hit is not statement.not_resource

    @cached_property
    def open_resources(self) -> list[Sourced]:
        """Statements whose resource the question does not settle."""
        return [
            one
            for one in self.statements
            if one.compiled.statement.resources != ("*",)
            and (self.question.key is None or any("${" in text for text in one.compiled.statement.resources))
        ]

    @cached_property
    def callers(self) -> list[CallerClass]:
        """Every caller that some statement, grant or declaration tells apart from the others."""
        question = self.question
        names = {*self._principal_names, *question.administrators, *question.identity_policies}
        names |= {grant.grantee_principal for grant in self.grants}
        names |= {text for comparison in self.comparisons.get("aws:principalarn", ()) for text in comparison.literals()}
        accounts = {self.account, *question.identity_complete}
        for key in ("aws:principalaccount", "kms:calleraccount"):
            texts = {text for comparison in self.comparisons.get(key, ()) for text in comparison.literals()}
            accounts |= named_accounts(texts)
        services = {name for one in self.statements if (p := one.compiled.statement.principal) for name in p.service}
        services |= {name for name in names if re.fullmatch(r"[a-z0-9.-]+\.[a-z.]+", name)}
        for comparison in self.comparisons.get("aws:principalservicename", ()):
            services |= comparison.literals()
        users = {text for comparison in self.comparisons.get("aws:username", ()) for text in comparison.literals()}
        classes: dict[tuple[object, ...], CallerClass] = {}
        for caller in callers_of(names, services, accounts, users):
            described = self._describe(caller)
            kept = classes.setdefault(described.signature, described)
            if kept is not described:
                kept.members.append(caller)
        return list(classes.values())

    @cached_property
    def _derived(self) -> dict[str, list[Comparison]]:
        used = (key for key in self.comparisons if key in DERIVED_KEYS)
        return {key: list(dict.fromkeys(self.comparisons[key])) for key in used}

    def _describe(self, caller: Caller) -> CallerClass:
        request = Request(principal=caller.principal, action="kms:Decrypt", resource=self.key_arn)
        derived = request.folded
        answers: dict[tuple[str, Comparison], Match] = {}
        for key, comparisons in self._derived.items():
            if key in derived:
                answers |= {(key, comparison): answer_of(comparison, key, caller) for comparison in comparisons}
        described = CallerClass(
            caller=caller,
            reach=tuple(one.compiled.reach(request, bounded=False) for one in (*self.allows, *self.denies)),
            answers=answers,
            present=frozenset(self._derived.keys() & derived.keys()),
            granted=frozenset(i for i, grant in enumerate(self.grants) if _speaks_of(grant, request)),
            attached=self._attached(caller),
            home=caller.principal.account == self.account,
            members=[caller],
        )
        described.iam = self._iam(caller)
        described.declared, described.delegated = self._declared(caller)
        return described

    def _attached(self, caller: Caller) -> tuple[str, ...]:
        """Return the names under which identity policies are known to be attached to a caller."""
        principal = caller.principal
        if principal.kind in {PrincipalKind.SERVICE, PrincipalKind.ROOT}:
            return ()
        names = {principal.arn, principal.role_arn}
        return tuple(
            name
            for name in self.identity
            if name in names or ((match := _ROOT.fullmatch(name)) and match[1] == principal.account)
        )

    def _iam(self, caller: Caller) -> bool | None:
        """Return whether IAM surely allows everything to a caller; None when the given identity policies decide."""
        principal = caller.principal
        if principal.kind is PrincipalKind.SERVICE:
            return False
        complete = principal.account in self.question.identity_complete
        return None if complete and principal.kind is not PrincipalKind.ROOT else True

    def _declared(self, caller: Caller) -> tuple[bool, bool]:
        """Return whether a caller is a declared administrator, and whether it is one where IAM decides."""
        principal, declared = caller.principal, self.question.administrators
        roots = {match[1] for name in declared if (match := _ROOT.fullmatch(name))}
        return not declared.isdisjoint({principal.arn, principal.role_arn} - {None}), principal.account in roots


def grant_pairs(grant: Grant) -> Iterator[tuple[str, str]]:
    """Yield the condition keys, lower case, that a grant's constraints compare, with the text they ask for."""
    for pairs in (grant.encryption_context_equals, grant.encryption_context_subset):
        yield from ((CONTEXT_PREFIX + name.lower(), text) for name, text in (pairs or {}).items())
    if grant.source_arn is not None:
        yield "aws:sourcearn", grant.source_arn


def _speaks_of(grant: Grant, request: Request) -> bool:
    bare = replace(
        grant,
        operations=frozenset({"Decrypt"}),
        encryption_context_equals=None,
        encryption_context_subset=None,
        source_arn=None,
        retiring_principal=None,
    )
    return find_grant((bare,), request) is not None


def group_actions(universe: Universe, statements: Iterable[Sourced]) -> list[tuple[str, ...]]:
    """Return the actions in groups that every statement, grant and tier treats alike, the most telling first."""
    tiers, listed = universe.tiers, list(statements)
    groups: dict[tuple[object, ...], list[str]] = {}
    for action in tiers.actions:
        name = action.removeprefix("kms:").lower()
        signature = (
            tuple(universe.is_covered(one, action) for one in listed),
            tuple(action in actions for actions in tiers.by_tier.values()),
            action in tiers.attestable,
            action == "kms:CreateGrant",
            tuple(name in {operation.lower() for operation in grant.operations} for grant in universe.grants),
        )
        groups.setdefault(signature, []).append(action)
    return [tuple(group) for group in groups.values()]
