"""The seam between the KMS and the one enforcement point in front of it.

A request passes in four steps, and the enforcement point owns the second and third::

    prepared = service.prepare(operation, request, caller)       # shape, keys found; nothing changed, nothing decrypted
    recipient = verify(prepared.recipient_document)              # the attestation document, if there is one
    for check in prepared.checks: authorize(check, recipient)    # key policy + IAM + grants, every check must pass
    response = prepared.execute(recipient_spki_der=...)          # key state, dry run, the operation itself

``request`` and ``response`` hold native values: ``bytes`` for blobs, seconds since 1970 (int or float) for times.
``pcrgate.twin.kms.wire_json`` turns them from and into the JSON of the protocol: ``parse_request(operation, body)``,
``render_response(response)``, ``render_error(error)``.

The service itself is ``pcrgate.twin.kms.service.KmsService(store=MemoryStore() | DirectoryStore(path),
clock_ms=..., rng=SystemRandomness() | SeededRandomness(seed), guard=..., content_form="chunked" | "primitive")``;
stores live in ``pcrgate.twin.kms.store``, randomness in ``pcrgate.twin.kms.randomness``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from pcrgate.twin.kms.service_errors import AwsCode, AwsError

Response = Mapping[str, object]
"""The members of an answer, named as in the API; empty when the operation returns nothing."""

ContextValue = str | tuple[str, ...]
"""One condition value, or the values of a multi-valued key. Booleans are ``true``/``false``, numbers are decimal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Say who calls, and at which endpoint.

    Attributes:
        account: twelve digits, the caller's account.
        region: the Region of the endpoint that was called.
        arn: the principal as in CloudTrail: user, ``...:root``, or assumed-role session ARN.
        partition: ``aws``, ``aws-us-gov`` or ``aws-cn``.
        role_arn: the role behind an assumed-role session, else None.
    """

    account: str
    region: str
    arn: str
    partition: str = "aws"
    role_arn: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantDescription:
    """Show one grant on a key to the enforcement point.

    Attributes:
        grant_id: 64 hex digits.
        grantee: principal ARN, or the name of a service principal.
        retiring: principal that may retire the grant, or None.
        operations: API names as in CreateGrant, for example ``Decrypt`` or ``ReEncryptFrom``.
        context_equals: the encryption context must be exactly this; None without the constraint.
        context_subset: the encryption context must contain this; None without the constraint.
        source_arn: value that ``aws:SourceArn`` must have; None without the constraint.
        created_ms: milliseconds since 1970; lets a twin model that grants take time to arrive.
        token: the grant token that makes the grant effective at once.
    """

    grant_id: str
    grantee: str
    retiring: str | None
    operations: tuple[str, ...]
    context_equals: Mapping[str, str] | None
    context_subset: Mapping[str, str] | None
    source_arn: str | None
    created_ms: int
    token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyDescription:
    """Show a key to the enforcement point: everything that policies can speak about, and no key material.

    Attributes:
        arn: the full key ARN.
        key_id: UUID or ``mrk-`` id.
        account: the account that owns the key.
        region: the Region the key lives in.
        policy: text of the key policy.
        key_spec: for example ``SYMMETRIC_DEFAULT``.
        key_usage: for example ``ENCRYPT_DECRYPT``.
        origin: ``AWS_KMS`` or ``EXTERNAL``.
        multi_region: whether the key is a multi-Region key.
        state: ``Enabled``, ``Disabled``, ``PendingDeletion``, ``PendingImport`` ...
        aliases: alias names (``alias/...``) that point at the key.
        tags: tag key to value.
        grants: all live grants.
    """

    arn: str
    key_id: str
    account: str
    region: str
    policy: str
    key_spec: str
    key_usage: str
    origin: str
    multi_region: bool
    state: str
    aliases: tuple[str, ...]
    tags: Mapping[str, str]
    grants: tuple[GrantDescription, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationCheck:
    """Ask one question of the enforcement point: may the caller do this to that?

    Attributes:
        action: IAM action, for example ``kms:Decrypt`` or ``kms:ReEncryptFrom``.
        resource: the key ARN, an alias ARN (no key policy: identity policies alone), or ``*``.
        key: the key whose policy and grants count; None when no key policy is in play.
        context: condition keys that come from the request and the key (``kms:EncryptionContext:NAME``,
            ``kms:EncryptionContextKeys``, ``kms:KeySpec``, ``aws:ResourceTag/NAME`` ...). The enforcement point adds
            those of the principal, the connection and the attestation document.
        grant_tokens: tokens sent with the request.
        encryption_context: the plain context of this check (grant constraints look at it).
        permitted_principals: ARNs that the resource itself lets do this (the retiring principal of a grant): allowed
            without any policy, unless one denies.
        counting_grants: ids of the grants that may allow this; None for all of the key's. CreateGrant through a grant
            passes on no more than that grant holds, so only wide enough grants count there.
    """

    action: str
    resource: str
    key: KeyDescription | None
    context: Mapping[str, ContextValue] = field(default_factory=dict)
    grant_tokens: tuple[str, ...] = ()
    encryption_context: Mapping[str, str] = field(default_factory=dict)
    permitted_principals: frozenset[str] = frozenset()
    counting_grants: frozenset[str] | None = None


class Execute(Protocol):
    """Run a prepared operation, once."""

    def __call__(self, *, recipient_spki_der: bytes | None = None) -> Response:
        """Do what was asked, under the key's present state.

        Args:
            recipient_spki_der: the verified document's public_key; required exactly when the request had a Recipient.

        Raises:
            AwsError: key state, dry run, invalid ciphertext and everything else that KMS refuses.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """Hold an operation whose request is well-formed and whose keys exist; nothing has happened yet.

    Attributes:
        operation: API name, for example ``Decrypt``.
        checks: every authorisation that must pass before :attr:`execute`; one at least.
        execute: runs the operation. Without a recipient key it refuses when the request carried a Recipient.
        recipient_document: the attestation document of the request, unverified; None when there is none.

    Raises:
        AwsError: KMSInternalException for an operation that would run without being authorised.
    """

    operation: str
    checks: tuple[AuthorizationCheck, ...]
    execute: Execute
    recipient_document: bytes | None = None

    def __post_init__(self) -> None:
        if not self.checks:
            raise AwsError(AwsCode.INTERNAL, f"{self.operation} asks for no authorisation, expected one check at least")

    @property
    def key_arns(self) -> tuple[str, ...]:
        """ARNs of the keys in play, in order, each once (CloudTrail's ``resources``)."""
        return tuple(dict.fromkeys(check.key.arn for check in self.checks if check.key is not None))


class PolicyGuard(Protocol):
    """Judge a key policy before it takes effect (CreateKey, PutKeyPolicy, ReplicateKey)."""

    def check(self, policy: str, key: KeyDescription, caller: Caller, *, bypass_lockout_check: bool) -> None:
        """Accept the policy, or say why not.

        Args:
            policy: the new text, valid JSON.
            key: the key; its ``policy`` is already the new text.
            caller: who sets it; must be able to call PutKeyPolicy again unless the check is bypassed.
            bypass_lockout_check: the request's BypassPolicyLockoutSafetyCheck.

        Raises:
            AwsError: MalformedPolicyDocumentException.
        """
        ...


class Kms(Protocol):
    """Answer KMS requests in two steps, so that authorisation stays at one place outside."""

    def prepare(self, operation: str, request: Mapping[str, object], caller: Caller) -> Prepared:
        """Check the shape of a request and find its keys, without changing or decrypting anything.

        Raises:
            AwsError: ValidationException, NotFoundException, InvalidArnException, InvalidCiphertextException,
                UnsupportedOperationException, UnknownOperationException ...
        """
        ...

    def describe(self, arn: str) -> KeyDescription | None:
        """Return the key of that ARN as it is now, or None."""
        ...

    def close(self) -> None:
        """Let go of the store; no request may follow."""
        ...
