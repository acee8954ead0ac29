"""One request on its way through the KMS: its members, who calls, and what the service lends to every operation."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from pcrgate.twin.kms.cms import ContentForm, write_ciphertext_for_recipient
from pcrgate.twin.kms.fields import Fields
from pcrgate.twin.kms.interface import AuthorizationCheck, Caller, ContextValue, PolicyGuard, Prepared, Response
from pcrgate.twin.kms.key_state import require_state
from pcrgate.twin.kms.keyring import Keyring
from pcrgate.twin.kms.last_usage import LastUsage
from pcrgate.twin.kms.randomness import Randomness
from pcrgate.twin.kms.records import KeyRecord
from pcrgate.twin.kms.request_shape import violation
from pcrgate.twin.kms.service_errors import AwsCode, AwsError
from pcrgate.twin.kms.wrapping_keys import WrappingKeys

_CROSS_ACCOUNT: Final = frozenset(
    {
        "CreateGrant",
        "Decrypt",
        "DeriveSharedSecret",
        "DescribeKey",
        "Encrypt",
        "GenerateDataKey",
        "GenerateDataKeyPair",
        "GenerateDataKeyPairWithoutPlaintext",
        "GenerateDataKeyWithoutPlaintext",
        "GenerateMac",
        "GetKeyRotationStatus",
        "GetPublicKey",
        "ListGrants",
        "ReEncrypt",
        "RetireGrant",
        "RevokeGrant",
        "Sign",
        "Verify",
        "VerifyMac",
    }
)
"""Operations that may name a key of another account. Spec: KMS API, "Cross-account use" of each operation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """Hold what all requests share.

    Attributes:
        keyring: every key and alias.
        clock_ms: milliseconds since 1970.
        randomness: source of keys, ids and IVs.
        guard: judges key policies.
        content_form: form of the content in CiphertextForRecipient.
        last_usage: when each key was last used.
        wrapping_keys: key pairs of GetParametersForImport that wait for their import.
    """

    keyring: Keyring
    clock_ms: Callable[[], int]
    randomness: Randomness
    guard: PolicyGuard
    content_form: ContentForm
    last_usage: LastUsage = field(default_factory=LastUsage)
    wrapping_keys: WrappingKeys = field(default_factory=WrappingKeys)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundKey:
    """Hold a key that a request named.

    Attributes:
        record: the key as it was when the request was prepared.
        alias: the alias name that was used, or None.
    """

    record: KeyRecord
    alias: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Hold one request.

    Attributes:
        operation: API name.
        request: its members, shape checked.
        caller: who calls.
        resources: what the service lends.
    """

    operation: str
    request: Fields
    caller: Caller
    resources: Resources

    @property
    def keyring(self) -> Keyring:
        """Every key and alias."""
        return self.resources.keyring

    def now_ms(self) -> int:
        """Return the time."""
        return self.resources.clock_ms()

    def key(self, member: str = "KeyId", *, aliases: bool = False) -> FoundKey:
        """Find the key that a member names.

        Raises:
            AwsError: NotFoundException, InvalidArnException, or AccessDeniedException for another account's key where
                the operation stays within one account.
        """
        record, alias = self.keyring.resolve(self.request.text(member), self.caller, aliases=aliases)
        if record.account != self.caller.account and self.operation not in _CROSS_ACCOUNT:
            raise AwsError(
                AwsCode.ACCESS_DENIED,
                f"User: {self.caller.arn} is not authorized to perform: kms:{self.operation} on this resource because "
                "the resource does not exist in this account",
            )
        return FoundKey(record=record, alias=alias)

    def usable(self, record: KeyRecord) -> KeyRecord:
        """Return the key as it is now, if its state lets this operation through.

        Raises:
            AwsError: NotFoundException, DisabledException or KMSInvalidStateException.
        """
        current = self.keyring.require(record.arn)
        require_state(current, self.operation, self.now_ms())
        return current

    def note_use(self, key: KeyRecord) -> None:
        """Remember that this operation used the key."""
        self.resources.last_usage.note(key.arn, self.operation, self.now_ms())

    def stop_if_dry_run(self) -> None:
        """End here when the request asked for a dry run: everything was checked.

        Raises:
            AwsError: DryRunOperationException.
        """
        if self.request.flag("DryRun"):
            raise AwsError(AwsCode.DRY_RUN, "The request would have succeeded, but the DryRun option is set.")

    def check(
        self,
        found: FoundKey,
        *,
        action: str | None = None,
        context: Mapping[str, ContextValue] | None = None,
        encryption_context: Mapping[str, str] | None = None,
        permitted_principals: frozenset[str] = frozenset(),
    ) -> AuthorizationCheck:
        """Return the authorisation check on a key, with the condition keys that request and key give.

        Spec: KMS Developer Guide, "AWS KMS condition keys".
        """
        key = self.keyring.describe(found.record)
        values: dict[str, ContextValue] = {
            "kms:CallerAccount": self.caller.account,
            "kms:KeySpec": key.key_spec,
            "kms:KeyUsage": key.key_usage,
            "kms:KeyOrigin": key.origin,
            "kms:MultiRegion": "true" if key.multi_region else "false",
        }
        if key.multi_region:
            values["kms:MultiRegionKeyType"] = "REPLICA" if found.record.is_replica else "PRIMARY"
        if key.aliases:
            values["kms:ResourceAliases"] = key.aliases
        if found.alias is not None:
            values["kms:RequestAlias"] = found.alias
        values |= {f"aws:ResourceTag/{name}": text for name, text in key.tags.items()}
        if encryption_context:
            values |= {f"kms:EncryptionContext:{name}": text for name, text in encryption_context.items()}
            values["kms:EncryptionContextKeys"] = tuple(sorted(encryption_context))
        return AuthorizationCheck(
            action=action or f"kms:{self.operation}",
            resource=key.arn,
            key=key,
            context=values | dict(context or {}),
            grant_tokens=self.grant_tokens(),
            encryption_context=dict(encryption_context or {}),
            permitted_principals=permitted_principals,
        )

    def account_check(
        self,
        *,
        action: str | None = None,
        resource: str = "*",
        context: Mapping[str, ContextValue] | None = None,
    ) -> AuthorizationCheck:
        """Return the check of an operation without a key: identity policies alone decide."""
        return AuthorizationCheck(
            action=action or f"kms:{self.operation}",
            resource=resource,
            key=None,
            context={"kms:CallerAccount": self.caller.account} | dict(context or {}),
        )

    def grant_tokens(self) -> tuple[str, ...]:
        """Return the request's grant tokens.

        Raises:
            AwsError: InvalidGrantTokenException when one was never given out or its grant is gone.
        """
        tokens = self.request.texts("GrantTokens")
        for token in tokens:
            if self.keyring.find_grant(token=token) is None:
                raise AwsError(AwsCode.INVALID_GRANT_TOKEN, "The grant token is invalid or its grant was retired")
        return tokens

    def prepared(
        self, *checks: AuthorizationCheck, run: Callable[[], Response], released: str | None = None
    ) -> Prepared:
        """Return the prepared operation.

        Args:
            checks: what must be authorised.
            run: does it, and returns the answer.
            released: the member that is sealed to a recipient; None when the operation takes no recipient.

        Raises:
            AwsError: ValidationException for a Recipient without document or algorithm.
        """
        document = self._recipient_document() if released is not None else None

        def execute(*, recipient_spki_der: bytes | None = None) -> Response:
            if (document is None) != (recipient_spki_der is None):
                raise AwsError(AwsCode.INTERNAL, "a recipient key is needed exactly when the request has a Recipient")
            response = run()
            if recipient_spki_der is None or released is None:
                return response
            return self._sealed(response, released, recipient_spki_der)

        return Prepared(operation=self.operation, checks=checks, execute=execute, recipient_document=document)

    def _recipient_document(self) -> bytes | None:
        recipient = self.request.structure("Recipient")
        if recipient is None:
            return None
        if not recipient.has("KeyEncryptionAlgorithm"):
            raise violation("null", "recipient.keyEncryptionAlgorithm", "Member must not be null")
        if not recipient.has("AttestationDocument"):
            raise violation("null", "recipient.attestationDocument", "Member must not be null")
        return recipient.blob("AttestationDocument")

    def _sealed(self, response: Response, released: str, spki_der: bytes) -> Response:
        plaintext = response[released]
        if not isinstance(plaintext, bytes):
            raise AwsError(AwsCode.INTERNAL, "there is nothing to seal to the recipient")
        sealed = write_ciphertext_for_recipient(
            plaintext,
            spki_der,
            content_form=self.resources.content_form,
            randomness=self.resources.randomness,
        )
        kept = {name: value for name, value in response.items() if name != released}
        return kept | {"CiphertextForRecipient": sealed}
