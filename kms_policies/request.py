"""What is judged: a principal, a request with its context, the grants on a key and the key's own metadata.

Spec: IAM User Guide, "AWS JSON policy elements: Principal", "AWS global condition context keys"; KMS Developer Guide,
"Grants in AWS KMS", "AWS KMS condition keys", "Condition keys for AWS Nitro Enclaves".
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Final, Self

from pcrgate.errors import ErrorCode, KeyPolicyError
from pcrgate.units import KeyArn, Sha384

IMAGE_KEY: Final = "kms:RecipientAttestation:ImageSha384"
"""The condition key that KMS fills with PCR0, beside ``PCR0`` itself."""

PCR_KEY_PREFIX: Final = "kms:RecipientAttestation:PCR"
"""Followed by the index, 0 to 31: the PCRs of an enclave."""

NITROTPM_KEY_PREFIX: Final = "kms:RecipientAttestation:NitroTPMPCR"
"""Followed by the index, 0 to 23: the PCRs of an instance with NitroTPM."""

ENCRYPTION_CONTEXT_PREFIX: Final = "kms:EncryptionContext:"
"""Followed by the name of one pair of the encryption context."""

ENCRYPTION_CONTEXT_KEYS: Final = "kms:EncryptionContextKeys"
"""The names of all pairs of the encryption context, as a set."""

_ACCOUNT: Final = re.compile(r"\d{12}")
_PRINCIPAL_ARN: Final = re.compile(
    r"arn:(?P<partition>aws[a-z-]*):(?P<service>iam|sts)::(?P<account>\d{12}):"
    r"(?P<kind>root|user/|role/|assumed-role/|federated-user/)(?P<name>[\x21-\x7e]*)"
)


class PrincipalKind(Enum):
    """Name what makes a request."""

    USER = "user"
    ROLE_SESSION = "role-session"
    ROOT = "root"
    FEDERATED = "federated"
    SERVICE = "service"
    ANONYMOUS = "anonymous"


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Hold who makes a request; made by the constructors below.

    Attributes:
        kind: what it is.
        arn: its own ARN; for a role session the session's. ``None`` for services and anonymous callers.
        account: twelve digits. ``None`` for services and anonymous callers.
        role_arn: for a role session, the role's ARN with its path; for a federated user, the ARN of the IAM user who
            made the session, where known.
        service: for a service, its name, for example ``s3.amazonaws.com``.
        unique_id: the ``AIDA...`` or ``AROA...`` id that IAM gave the user or role, where known.
    """

    kind: PrincipalKind
    arn: str | None = None
    account: str | None = None
    role_arn: str | None = None
    service: str | None = None
    unique_id: str | None = None

    @classmethod
    def from_arn(cls, text: str, *, role_arn: str | None = None, unique_id: str | None = None) -> Self:
        """Read the ARN of a user, an account root, a role, a role session or a federated user.

        The ARN of a role stands for a session of it named ``session``. The ARN of a session does not hold the role's
        path: pass ``role_arn`` when the role has one, and for a federated user the ARN of the user behind it.

        Raises:
            KeyPolicyError: ``policy-request`` for anything else.
        """
        match = _PRINCIPAL_ARN.fullmatch(text)
        if match is None:
            raise KeyPolicyError(ErrorCode.POLICY_REQUEST, "not the ARN of a user, role, role session or account root")
        partition, service, account, kind, name = match.group("partition", "service", "account", "kind", "name")
        if kind == "root" and service == "iam" and not name:
            return cls(kind=PrincipalKind.ROOT, arn=text, account=account)
        if kind == "user/" and service == "iam" and name:
            return cls(kind=PrincipalKind.USER, arn=text, account=account, unique_id=unique_id)
        if kind == "role/" and service == "iam" and name:
            session = f"arn:{partition}:sts::{account}:assumed-role/{name.rpartition('/')[2]}/session"
            return cls(
                kind=PrincipalKind.ROLE_SESSION, arn=session, account=account, role_arn=text, unique_id=unique_id
            )
        if kind == "assumed-role/" and service == "sts" and name.count("/") == 1:
            role = role_arn or f"arn:{partition}:iam::{account}:role/{name.partition('/')[0]}"
            return cls(kind=PrincipalKind.ROLE_SESSION, arn=text, account=account, role_arn=role, unique_id=unique_id)
        if kind == "federated-user/" and service == "sts" and name:
            return cls(kind=PrincipalKind.FEDERATED, arn=text, account=account, role_arn=role_arn)
        raise KeyPolicyError(ErrorCode.POLICY_REQUEST, "not the ARN of a user, role, role session or account root")

    @classmethod
    def of_root(cls, account: str, *, partition: str = "aws") -> Self:
        """Return the root user of an account, given its twelve digits.

        Raises:
            KeyPolicyError: ``policy-request`` when the account is not twelve digits.
        """
        if not _ACCOUNT.fullmatch(account):
            raise KeyPolicyError(ErrorCode.POLICY_REQUEST, "an account has 12 digits")
        return cls(kind=PrincipalKind.ROOT, arn=f"arn:{partition}:iam::{account}:root", account=account)

    @classmethod
    def of_service(cls, name: str) -> Self:
        """Return an AWS service calling as itself, for example ``s3.amazonaws.com``."""
        return cls(kind=PrincipalKind.SERVICE, service=name)

    @classmethod
    def anonymous(cls) -> Self:
        """Return a caller without credentials."""
        return cls(kind=PrincipalKind.ANONYMOUS)

    @property
    def identity_arn(self) -> str | None:
        """What ``aws:PrincipalArn`` holds: the role's ARN for a role session, else the own ARN."""
        return self.role_arn if self.kind is PrincipalKind.ROLE_SESSION else self.arn

    def __str__(self) -> str:
        return self.arn or self.service or "anonymous"


def _type_of(principal: Principal) -> str:
    return {
        PrincipalKind.USER: "User",
        PrincipalKind.ROLE_SESSION: "AssumedRole",
        PrincipalKind.ROOT: "Account",
        PrincipalKind.FEDERATED: "FederatedUser",
        PrincipalKind.SERVICE: "Service",
        PrincipalKind.ANONYMOUS: "Anonymous",
    }[principal.kind]


def _derived_context(principal: Principal) -> dict[str, str]:
    """Return the keys that AWS itself fills from the principal, folded."""
    derived = {"aws:principaltype": _type_of(principal)}
    if principal.account is not None and principal.identity_arn is not None:
        derived["aws:principalarn"] = principal.identity_arn
        derived["aws:principalaccount"] = principal.account
        derived["kms:calleraccount"] = principal.account
        derived["aws:principalisawsservice"] = "false"
    if principal.kind is PrincipalKind.USER and principal.arn is not None:
        derived["aws:username"] = principal.arn.rpartition("/")[2]
    if principal.kind is PrincipalKind.SERVICE and principal.service is not None:
        derived["aws:principalisawsservice"] = "true"
        derived["aws:principalservicename"] = principal.service
    return derived


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Hold one request to KMS as the authoriser sees it.

    Attributes:
        principal: who asks.
        action: for example ``kms:Decrypt``; ``ReEncrypt`` is two requests, one a key.
        resource: the key's ARN, or ``*`` for an action without a key.
        context: condition keys and values as given; a tuple makes a key multi-valued. Names are case-insensitive.
        folded: the same with lower-case names, and the keys AWS fills from the principal where ``context`` is silent.
    """

    principal: Principal
    action: str
    resource: str
    context: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    folded: Mapping[str, str | tuple[str, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        given = {name.lower(): value for name, value in self.context.items()}
        if len(given) != len(self.context):
            raise KeyPolicyError(ErrorCode.POLICY_REQUEST, "a context key is given twice: names are case-insensitive")
        object.__setattr__(self, "folded", MappingProxyType(_derived_context(self.principal) | given))

    @property
    def account(self) -> str | None:
        """The account of the key, twelve digits; ``None`` for an action without a key."""
        parts = self.resource.split(":", 5)
        return parts[4] if len(parts) == 6 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Hold one grant on a key. It cannot carry an attestation condition.

    Attributes:
        grantee_principal: the ARN of the user, role, session or account root, or a service name.
        operations: grant operations by name without prefix, for example ``Decrypt``.
        encryption_context_equals: the exact encryption context it asks for, or ``None``.
        encryption_context_subset: the pairs it asks for, or ``None``.
        source_arn: the resource on whose behalf the call must be made, or ``None``.
        retiring_principal: who may retire it, or ``None``.
        grant_id: its id, for messages.
    """

    grantee_principal: str
    operations: frozenset[str]
    encryption_context_equals: Mapping[str, str] | None = None
    encryption_context_subset: Mapping[str, str] | None = None
    source_arn: str | None = None
    retiring_principal: str | None = None
    grant_id: str = ""


class KeyState(Enum):
    """Name the state of a key. Spec: KMS Developer Guide, "Key states of AWS KMS keys"."""

    CREATING = "Creating"
    ENABLED = "Enabled"
    DISABLED = "Disabled"
    PENDING_DELETION = "PendingDeletion"
    PENDING_IMPORT = "PendingImport"
    PENDING_REPLICA_DELETION = "PendingReplicaDeletion"
    UNAVAILABLE = "Unavailable"
    UPDATING = "Updating"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyMetadata:
    """Hold what ``DescribeKey`` says of a key, as far as a decision depends on it.

    Attributes:
        arn: the key's ARN.
        state: its state.
        origin: ``AWS_KMS``, ``EXTERNAL``, ``AWS_CLOUDHSM`` or ``EXTERNAL_KEY_STORE``.
        multi_region: whether it may have replicas, each with a policy of its own.
        key_spec: for example ``SYMMETRIC_DEFAULT``.
        key_usage: for example ``ENCRYPT_DECRYPT``.
    """

    arn: KeyArn
    state: KeyState = KeyState.ENABLED
    origin: str = "AWS_KMS"
    multi_region: bool = False
    key_spec: str = "SYMMETRIC_DEFAULT"
    key_usage: str = "ENCRYPT_DECRYPT"

    @property
    def account(self) -> str:
        """The owning account, twelve digits."""
        return self.arn.account


def attestation_context(pcrs: Mapping[int, Sha384]) -> dict[str, str]:
    """Return the condition keys KMS fills from an enclave's attestation document.

    Args:
        pcrs: the document's PCRs by index, 0 to 31.
    """
    context = {f"{PCR_KEY_PREFIX}{index}": value.hex() for index, value in pcrs.items()}
    if 0 in pcrs:
        context[IMAGE_KEY] = pcrs[0].hex()
    return context


def nitrotpm_context(pcrs: Mapping[int, Sha384]) -> dict[str, str]:
    """Return the condition keys KMS fills from a NitroTPM attestation document.

    Args:
        pcrs: the document's PCRs by index, 0 to 23.
    """
    return {f"{NITROTPM_KEY_PREFIX}{index}": value.hex() for index, value in pcrs.items()}


def encryption_context(pairs: Mapping[str, str]) -> dict[str, str | tuple[str, ...]]:
    """Return the condition keys KMS fills from an encryption context; none for an empty one."""
    if not pairs:
        return {}
    return {ENCRYPTION_CONTEXT_KEYS: tuple(pairs)} | {
        ENCRYPTION_CONTEXT_PREFIX + name: value for name, value in pairs.items()
    }
