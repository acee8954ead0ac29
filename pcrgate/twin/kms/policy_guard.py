"""Judge a key policy before it takes effect: is it JSON of the right size, and does it lock its author out?"""

import json
from typing import Final

from pcrgate.twin.kms.interface import Caller, KeyDescription
from pcrgate.twin.kms.service_errors import AwsCode, AwsError

POLICY_MAX_BYTES: Final = 32_768
"""Longest key policy. Spec: KMS Developer Guide, "Resource quotas" (key policy document size, 32 KB)."""


def default_policy(partition: str, account: str) -> str:
    """Return the policy of a key created without one: the account may do everything, through IAM.

    Spec: KMS Developer Guide, "Default key policy".
    """
    statement = {
        "Sid": "Enable IAM User Permissions",
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:{partition}:iam::{account}:root"},
        "Action": "kms:*",
        "Resource": "*",
    }
    return json.dumps({"Version": "2012-10-17", "Id": "key-default-1", "Statement": [statement]}, indent=2)


def check_policy_text(policy: str) -> None:
    """Accept a policy that is a JSON object of at most 32 KB.

    Raises:
        AwsError: LimitExceededException or MalformedPolicyDocumentException.
    """
    if len(policy.encode()) > POLICY_MAX_BYTES:
        raise AwsError(AwsCode.LIMIT_EXCEEDED, f"The key policy is longer than {POLICY_MAX_BYTES} bytes")
    try:
        document = json.loads(policy)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or "Statement" not in document:
        raise AwsError(AwsCode.MALFORMED_POLICY, "The key policy is not a JSON policy document")


class TextOnlyGuard:
    """Accept every policy that is well-formed; for a KMS without an enforcement point around it."""

    def check(self, policy: str, key: KeyDescription, caller: Caller, *, bypass_lockout_check: bool) -> None:
        """Accept: :func:`check_policy_text` ran before."""
