"""Who an access key belongs to: users and assumed-role sessions of moto's IAM and STS, and the twin's bootstrap keys.

The only module that reads moto's IAM and STS; what it returns is frozen and knows nothing of moto.
"""

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from moto.iam.models import iam_backends
from moto.sts.models import sts_backends

from kms_policies.request import Principal
from pcrgate.twin.faults import FaultCode, FrontDoorError

PARTITIONS: Final = ("aws", "aws-us-gov", "aws-cn")
"""Partitions that are searched for an access key."""

_DENY_ALL: Final = '{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"*","Resource":"*"}]}'
_NOT_VALID: Final = "The security token included in the request is invalid."


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Hold who calls and what speaks for or against them, outside the key policy.

    Attributes:
        principal: the caller, as policies see it.
        partition: ``aws``, ``aws-us-gov`` or ``aws-cn``.
        access_key_id: the key the request was signed with; empty for an identity that did not sign.
        secret_access_key: its secret.
        session_token: what temporary credentials must be sent with, or None for long-term keys.
        expires: when temporary credentials end, or None.
        identity_policies: texts of the identity policies, groups' included.
        session_policies: texts of the session's policies; empty when the session is not narrowed.
        boundary: text of the role's permissions boundary, or None; moto keeps none for users.
        user_id: what ``aws:userid`` holds.
        tags: the principal's tags.
    """

    principal: Principal
    partition: str
    access_key_id: str = ""
    secret_access_key: str = field(default="", repr=False)
    session_token: str | None = field(default=None, repr=False)
    expires: datetime | None = None
    identity_policies: tuple[str, ...] = ()
    session_policies: tuple[str, ...] = ()
    boundary: str | None = None
    user_id: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class BootstrapKey:
    """Hold an access key of an account's root user: what administers the twin before any user exists.

    Attributes:
        account: twelve digits.
        access_key_id: 20 characters, made from the account.
        secret_access_key: 40 characters.
    """

    account: str
    access_key_id: str
    secret_access_key: str = field(repr=False)

    @classmethod
    def derive(cls, seed: bytes, account: str) -> "BootstrapKey":
        """Return the key that belongs to a seed and an account: the same on every start with that seed."""
        digest = hmac.digest(seed, b"pcrgate twin bootstrap key 1: " + account.encode(), "sha512")
        marker = hashlib.sha256(account.encode()).hexdigest()[:12].upper()
        return cls(account=account, access_key_id=f"AKIATWIN{marker}", secret_access_key=digest.hex()[:40])


class Accounts:
    """Find identities in moto's IAM and STS, and the bootstrap keys in front of them."""

    def __init__(self, bootstrap: Iterable[BootstrapKey]) -> None:
        self._bootstrap = {key.access_key_id: key for key in bootstrap}
        self._session_policy_arns: dict[str, tuple[str, ...]] = {}
        for key in self._bootstrap.values():
            _introduce(key)

    def of_access_key(self, access_key_id: str, *, session_token: str | None, partition: str) -> Identity:
        """Return whom the access key belongs to.

        Raises:
            FrontDoorError: ``UnrecognizedClientException`` for keys nobody has, inactive ones and wrong tokens,
                ``ExpiredTokenException`` for sessions that are over.
        """
        found = self._find(access_key_id, partition)
        if found is None:
            raise FrontDoorError(FaultCode.UNRECOGNIZED_CLIENT, _NOT_VALID)
        expected = (found.session_token or "").encode()
        if not hmac.compare_digest(expected, (session_token or "").encode()):
            raise FrontDoorError(FaultCode.UNRECOGNIZED_CLIENT, _NOT_VALID)
        if found.expires is not None and found.expires <= datetime.now(UTC):
            raise FrontDoorError(FaultCode.EXPIRED_TOKEN, "The security token included in the request is expired")
        return found

    def is_bootstrap(self, access_key_id: str) -> bool:
        """Whether the access key is a bootstrap key."""
        return access_key_id in self._bootstrap

    def narrow_session(self, access_key_id: str, policy_arns: Iterable[str]) -> None:
        """Remember the managed policies that a session was made with: moto forgets them."""
        self._session_policy_arns[access_key_id] = tuple(policy_arns)

    def knows_principal(self, arn: str) -> bool:
        """Whether the user or role of that ARN exists (for a session ARN, its role); accounts always do."""
        principal = Principal.from_arn(arn)
        if arn.endswith(":root"):
            return True
        backend = _iam(principal.account or "", arn.split(":")[1])
        if principal.role_arn is not None and ":assumed-role/" in arn:
            return any(role.name == principal.role_arn.rpartition("/")[2] for role in backend.get_roles())
        if principal.role_arn is not None:
            return any(role.arn == arn for role in backend.get_roles())
        return any(user.arn == arn for user in backend.users.values())

    def _find(self, access_key_id: str, partition: str) -> Identity | None:
        bootstrap = self._bootstrap.get(access_key_id)
        if bootstrap is not None:
            return Identity(
                principal=Principal.of_root(bootstrap.account, partition=partition),
                partition=partition,
                access_key_id=bootstrap.access_key_id,
                secret_access_key=bootstrap.secret_access_key,
                user_id=bootstrap.account,
            )
        for account in list(iam_backends):
            backend = iam_backends[account][partition]
            key = backend.access_keys.get(access_key_id)
            if key is None or key.status != "Active":
                continue
            if key.role_arn is not None:
                return _session(account, partition, access_key_id, self._session_policy_arns.get(access_key_id, ()))
            return _user(backend, key, partition) if key.user_name is not None else None
        return None


def _introduce(key: BootstrapKey) -> None:
    # moto finds the account of a request by its access key, so it must know ours; as root users have no IAM user,
    # the entry is made like the ones STS makes.
    backend = iam_backends[key.account]["aws"]
    entry = backend.create_temp_access_key()
    backend.access_keys.pop(entry.access_key_id)
    entry.access_key_id, entry.secret_access_key = key.access_key_id, key.secret_access_key
    backend.access_keys[key.access_key_id] = entry


def _iam(account: str, partition: str) -> Any:
    return iam_backends[account][partition]


def _user(backend: Any, key: Any, partition: str) -> Identity | None:
    user = backend.users.get(key.user_name)
    if user is None:
        return None
    groups = backend.get_groups_for_user(user.name)
    policies = [text for holder in (user, *groups) for text in _policies(holder)]
    return Identity(
        principal=Principal.from_arn(user.arn, unique_id=user.id),
        partition=partition,
        access_key_id=key.access_key_id,
        secret_access_key=key.secret_access_key,
        identity_policies=tuple(policies),
        user_id=user.id,
        tags={tag["Key"]: tag["Value"] for tag in backend.list_user_tags(user.name)},
    )


def _session(account: str, partition: str, access_key_id: str, policy_arns: tuple[str, ...]) -> Identity | None:
    sessions = reversed(sts_backends[account][partition].assumed_roles)
    session = next((found for found in sessions if found.access_key_id == access_key_id), None)
    if session is None:
        return None
    backend = _iam(account, partition)
    role = next((found for found in backend.get_roles() if found.arn == session.role_arn), None)
    narrowing = [*([session.policy] if session.policy else []), *(_managed(backend, arn) for arn in policy_arns)]
    return Identity(
        principal=Principal.from_arn(session.arn, role_arn=session.role_arn, unique_id=role.id if role else None),
        partition=partition,
        access_key_id=session.access_key_id,
        secret_access_key=session.secret_access_key,
        session_token=session.session_token,
        expires=session.expiration.replace(tzinfo=UTC),
        identity_policies=tuple(_policies(role)) if role else (),
        session_policies=tuple(narrowing),
        boundary=_managed(backend, role.permissions_boundary_arn) if role and role.permissions_boundary_arn else None,
        user_id=session.user_id,
        tags=_tags(role.tags) if role else {},
    )


def _policies(holder: Any) -> list[str]:
    managed = [_default_version(policy) for policy in holder.managed_policies.values()]
    return [*(str(text) for text in holder.policies.values()), *managed]


def _managed(backend: Any, arn: str) -> str:
    # A policy that is gone allows nothing.
    policy = backend.managed_policies.get(arn)
    return _DENY_ALL if policy is None else _default_version(policy)


def _default_version(policy: Any) -> str:
    return str(next(version.document for version in policy.versions if version.is_default))


def _tags(tags: Any) -> dict[str, str]:
    pairs = tags.values() if isinstance(tags, dict) else tags or ()
    return {pair["Key"]: pair["Value"] for pair in pairs}
