"""Who could ask: every principal that the policies tell apart, and one unnamed of each kind for all others.

An unnamed caller stands for every user, role session, federated user or service that no policy spells out. What a
policy asks of its ARN with wildcards stays open for the solver, unless the caller's kind and account settle it.

Spec: IAM User Guide, "AWS JSON policy elements: Principal", "NotPrincipal", "AWS global condition context keys".
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from kms_policies.prover_comparisons import Comparison, Match
from kms_policies.prover_witness import Impossible, Pattern, find_string
from kms_policies.request import Principal, PrincipalKind, Request
from pcrgate.errors import ErrorCode, KeyPolicyError

CALLERS_MAX: Final = 8_000
"""Most callers told apart: a key policy of 32 kB names at most some 700 principals, each in an account of its own."""

UNNAMED: Final = "not-named-in-any-policy"
"""Name that unnamed callers carry; another is made up when a policy does spell it out."""

_SESSION: Final = "session"
"""Name of the session that a role's ARN stands for. Spec: ``Principal.from_arn``."""

DERIVED_KEYS: Final = frozenset(
    {
        "aws:principalaccount",
        "aws:principalarn",
        "aws:principalisawsservice",
        "aws:principalservicename",
        "aws:principaltype",
        "aws:username",
        "kms:calleraccount",
    }
)
"""Condition keys that AWS fills from the caller, lower case: who asks settles what they hold."""

_ACCOUNT_ID: Final = re.compile(r"\d{12}")
_ROOT_ARN: Final = re.compile(r"arn:(aws[a-z-]*):iam::(\d{12}):root")
_UNIQUE_ID: Final = re.compile(r"A[A-Z0-9]{15,127}")
_SHAPES: Final = {
    PrincipalKind.ROLE_SESSION: "arn:{partition}:iam::{account}:role/{name}",
    PrincipalKind.USER: "arn:{partition}:iam::{account}:user/{name}",
    PrincipalKind.FEDERATED: "arn:{partition}:sts::{account}:federated-user/{name}",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Hold one principal that the policies tell apart from all others.

    Attributes:
        principal: who it is; for an unnamed caller with a made-up name.
        shape: for an unnamed caller, what ``aws:PrincipalArn`` looks like; it stands for all of that shape that no
            policy spells out. None for a named one, and for one that has no such ARN.
        unnamed: whether it stands for all of its kind that no policy spells out.
        stranger: whether its account is one that no policy spells out.
        session: whether its session is named and only its role's path is made up.
    """

    principal: Principal
    shape: Pattern | None = None
    unnamed: bool = False
    stranger: bool = False
    session: bool = False

    def derived(self) -> Mapping[str, str | tuple[str, ...]]:
        """Return the condition keys that AWS fills from this caller, lower case."""
        return Request(principal=self.principal, action="kms:Decrypt", resource="*").folded

    def renamed(self, arn: str) -> "Caller":
        """Return the same caller under another ``aws:PrincipalArn``.

        Raises:
            KeyPolicyError: ``policy-request`` when it is no principal's ARN.
        """
        if self.session:
            return replace(self, principal=replace(self.principal, role_arn=arn))
        return replace(self, principal=Principal.from_arn(arn, unique_id=self.principal.unique_id))


def named_accounts(names: Iterable[str]) -> set[str]:
    """Return the accounts that are named as such: by their twelve digits or by their root ARN."""
    found = {name for name in names if _ACCOUNT_ID.fullmatch(name)}
    return found | {match[2] for name in names if (match := _ROOT_ARN.fullmatch(name))}


def answer_of(comparison: Comparison, key: str, caller: Caller) -> Match:
    """Return how the caller's own value of a derived key, which it has, compares, variables left aside."""
    value = str(caller.derived()[key])
    far = caller.stranger and key in {"aws:principalaccount", "kms:calleraccount"}
    if not caller.unnamed:
        return comparison.answer(value)
    if far:
        return _shaped(comparison, Pattern.of("????????????"), value)
    if key == "aws:principalarn" and caller.shape is not None:
        return _shaped(comparison, caller.shape, value)
    if key in {"aws:username", "aws:principalservicename"}:
        return _shaped(comparison, Pattern.of("?*"), value)
    return comparison.answer(value)


def _shaped(comparison: Comparison, shape: Pattern, example: str) -> Match:
    """Compare with what is known of a made-up text: its shape, and that it is no text of the policies."""
    if comparison.is_typed or comparison.folded:
        return Match.OPEN
    for pattern in comparison.patterns:
        if find_string((shape,), (pattern,)) is Impossible.NONE:
            return Match.YES
        if find_string((shape, pattern), ()) is not Impossible.NONE:
            return Match.OPEN
    return Match.NEITHER if comparison.answer(example) is Match.NEITHER else Match.NO


def callers_of(
    names: Iterable[str], services: Iterable[str], accounts: Iterable[str], users: Iterable[str]
) -> list[Caller]:
    """Return every caller that the given names tell apart, the most telling first.

    Args:
        names: whatever the policies name as principals: ARNs, account ids, unique ids; other texts are left out.
        services: service names.
        accounts: further accounts, twelve digits.
        users: user names that policies compare with.

    Raises:
        KeyPolicyError: ``prove-limit`` past the limit.
    """
    named = set(names)
    partition = next((name.split(":")[1] for name in sorted(named) if name.startswith("arn:aws")), "aws")
    taken = any(name.endswith(f"/{_SESSION}") for name in named)
    read = (principal for name in named if (principal := _read(name)) is not None)
    principals = {_another_session(principal) if taken else principal for principal in read} | {
        principal for name in named if ":assumed-role/" in name and (principal := _read(name)) is not None
    }
    principals |= set(_sessions_of_pathed_roles(principals))
    known = {p.account for p in principals if p.account} | set(accounts) | named_accounts(named)
    pairs = ((account, user) for account in known for user in users)
    principals |= {p for a, user in pairs if (p := _read(f"arn:{partition}:iam::{a}:user/{user}")) is not None}
    stranger = _stranger(known)
    unnamed = UNNAMED
    while any(unnamed in text for text in named):
        unnamed += "-x"
    found = [Caller(principal=principal) for principal in sorted(principals, key=_order)]
    found += list(_pathed_sessions(principals, unnamed))
    for account in (*sorted(known), stranger):
        far = account == stranger
        found += [replace(caller, stranger=far) for caller in _unnamed(account, partition, unnamed, far=far)]
    owner = min(known, default=stranger)
    for unique_id in sorted(name for name in named if _UNIQUE_ID.fullmatch(name)):
        for caller in _unnamed(owner, partition, f"{unnamed}-{unique_id}", far=False):
            if caller.principal.kind in {PrincipalKind.ROLE_SESSION, PrincipalKind.USER}:
                found.append(replace(caller, principal=replace(caller.principal, unique_id=unique_id)))
    found += [Caller(principal=Principal.of_service(name)) for name in sorted(set(services))]
    found.append(Caller(principal=Principal.of_service(f"{unnamed}.amazonaws.com"), unnamed=True))
    found = list({(caller.principal, caller.unnamed): caller for caller in found}.values())
    if len(found) > CALLERS_MAX:
        raise KeyPolicyError(
            ErrorCode.PROVE_LIMIT, f"the policies tell {len(found)} principals apart, expected at most {CALLERS_MAX}"
        )
    return found


def _order(principal: Principal) -> tuple[bool, str]:
    return principal.kind is PrincipalKind.ROOT, str(principal)


def _read(name: str) -> Principal | None:
    try:
        return Principal.from_arn(name)
    except KeyPolicyError:
        return None


def _another_session(principal: Principal) -> Principal:
    """Return another session of the same role where the policies do spell out the usual one; others unchanged."""
    if principal.kind is not PrincipalKind.ROLE_SESSION:
        return principal
    return replace(principal, arn=f"{str(principal.arn).rpartition('/')[0]}/{UNNAMED}")


def _sessions_of_pathed_roles(principals: Iterable[Principal]) -> Iterator[Principal]:
    """Yield each named session once more under each named role it may belong to: its own ARN holds no path."""
    sessions = [p for p in principals if p.kind is PrincipalKind.ROLE_SESSION]
    roles: dict[tuple[str | None, str], set[str]] = {}
    for one in sessions:
        roles.setdefault((one.account, _role_name(one)), set()).add(str(one.role_arn))
    for session in sessions:
        for role in roles[session.account, _role_name(session)]:
            yield Principal.from_arn(str(session.arn), role_arn=role)
        yield Principal.from_arn(str(session.role_arn))


def _role_name(session: Principal) -> str:
    return str(session.arn).split("/")[1]


def _pathed_sessions(principals: Iterable[Principal], unnamed: str) -> Iterator[Caller]:
    """Yield each named session under a role with a path that no policy spells out."""
    for session in sorted((p for p in principals if p.kind is PrincipalKind.ROLE_SESSION), key=str):
        if str(session.arn).endswith((f"/{_SESSION}", f"/{UNNAMED}")):
            continue
        start = f"arn:{str(session.arn).split(':')[1]}:iam::{session.account}:role"
        role = f"{start}/{unnamed}/{_role_name(session)}"
        shape = Pattern.of(f"{start}/?*/{_role_name(session)}")
        principal = Principal.from_arn(str(session.arn), role_arn=role)
        yield Caller(principal=principal, shape=shape, unnamed=True, session=True)


def _unnamed(account: str, partition: str, name: str, *, far: bool) -> Iterator[Caller]:
    """Yield one role session, user and federated user of an account that nothing spells out, and the root user."""
    for form in _SHAPES.values():
        principal = Principal.from_arn(form.format(partition=partition, account=account, name=name))
        shape = form.format(partition=partition, account="????????????" if far else account, name="?*")
        yield Caller(principal=principal, shape=Pattern.of(shape), unnamed=True)
    root = Principal.of_root(account, partition=partition)
    # The root user has one name, so where the account is named there is nothing left to make up.
    root_shape = Pattern.of(f"arn:{partition}:iam::????????????:root") if far else None
    yield Caller(principal=root, shape=root_shape, unnamed=far)


def _stranger(known: set[str]) -> str:
    """Return an account that nothing spells out."""
    number = 999_999_999_999
    while str(number) in known:
        number -= 1
    return str(number)
