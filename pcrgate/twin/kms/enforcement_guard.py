"""What a key policy must be before it takes effect: readable, about principals that exist, and not a lock-out.

Spec: KMS API Reference, PutKeyPolicy (Policy, BypassPolicyLockoutSafetyCheck); KMS Developer Guide, "Changing a key
policy".
"""

from kms_policies.document import Policy, PolicyKind
from pcrgate.errors import KeyPolicyError
from pcrgate.twin.accounts import Accounts
from pcrgate.twin.kms.enforcement import caller_question, make_request, parsed
from pcrgate.twin.kms.enforcement_caller import AuthenticatedCaller
from pcrgate.twin.kms.interface import Caller, KeyDescription
from pcrgate.twin.kms.service_errors import AwsCode, AwsError


class KeyPolicyGuard:
    """Judge policies for CreateKey, PutKeyPolicy and ReplicateKey."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    def check(self, policy: str, key: KeyDescription, caller: Caller, *, bypass_lockout_check: bool) -> None:
        """Accept the policy, or say why not: 1 readable, 2 principals, 3 the caller can change it again.

        Raises:
            AwsError: ``MalformedPolicyDocumentException``.
        """
        # 1
        try:
            document = parsed(policy, PolicyKind.KEY)
        except KeyPolicyError as error:
            raise AwsError(AwsCode.MALFORMED_POLICY, f"The new key policy is not valid: {error.message}") from error
        # 2
        unknown = self._unknown_principals(document)
        if unknown:
            message = f"Policy contains a statement with one or more invalid principals: {unknown[0]}"
            raise AwsError(AwsCode.MALFORMED_POLICY, message)
        # 3
        if not bypass_lockout_check and not _may_change_again(document, key, caller):
            message = "The new key policy will not allow you to update the key policy in the future."
            raise AwsError(AwsCode.MALFORMED_POLICY, message)

    def _unknown_principals(self, document: Policy) -> list[str]:
        named = [name for statement in document.statements if statement.principal for name in statement.principal.aws]
        return [name for name in named if name.startswith("arn:") and not self._exists(name)]

    def _exists(self, arn: str) -> bool:
        try:
            return self._accounts.knows_principal(arn)
        except KeyPolicyError:
            return False


def _may_change_again(document: Policy, key: KeyDescription, caller: Caller) -> bool:
    if not isinstance(caller, AuthenticatedCaller):
        raise TypeError("the caller was not authenticated")
    request = make_request("kms:PutKeyPolicy", key.arn, caller, {})
    return caller_question(request, caller, key_policy=document).decide().allowed
