"""How many decisions a second the evaluator makes on a typical key policy."""

import json
from functools import partial

from kms_policies.document import PolicyKind, parse_policy
from kms_policies.evaluator import evaluate
from kms_policies.request import Principal, Request, attestation_context
from pcrgate.units import Sha384
from tests.bench.figure import Figure, interleaved

REPETITIONS = 15
DECISIONS_PER_S_MIN = 3_000
"""What the issue asks of the evaluator."""

_ACCOUNT = "111122223333"
_KEY = f"arn:aws:kms:eu-central-1:{_ACCOUNT}:key/12345678-1234-1234-1234-123456789abc"
_APPROVED = Sha384(b"\x01" * 48)
_OTHER = Sha384(b"\x02" * 48)


def typical_policy() -> str:
    """Return a key policy as the templates make it: administrator, publisher, enclave, and the two Denys."""
    measurements = {"kms:RecipientAttestation:PCR0": [_APPROVED.hex(), "ab" * 48]}

    def role(name: str) -> dict[str, str]:
        return {"AWS": f"arn:aws:iam::{_ACCOUNT}:role/{name}"}

    statements = [
        (
            "Allow",
            role("admin"),
            ["kms:DescribeKey", "kms:Get*", "kms:List*", "kms:PutKeyPolicy", "kms:TagResource"],
            {},
        ),
        ("Allow", role("publisher"), ["kms:Encrypt", "kms:GenerateDataKeyWithoutPlaintext"], {}),
        ("Allow", role("parent"), ["kms:DescribeKey", "kms:GetKeyPolicy"], {}),
        ("Allow", role("parent"), "kms:Decrypt", {"StringEqualsIgnoreCase": measurements}),
        ("Allow", role("parent"), "kms:GenerateDataKey", {"StringEqualsIgnoreCase": measurements}),
        ("Deny", "*", ["kms:Decrypt", "kms:GenerateDataKey*"], {"StringNotEqualsIgnoreCase": measurements}),
        ("Deny", "*", ["kms:CreateGrant", "kms:ReEncrypt*", "kms:ReplicateKey", "kms:ImportKeyMaterial"], {}),
        ("Deny", "*", ["kms:Encapsulate", "kms:Decapsulate", "kms:DeriveSharedSecret"], {}),
    ]
    return json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {"Effect": effect, "Principal": who, "Action": action, "Resource": "*", "Condition": condition}
                for effect, who, action, condition in statements
            ],
        }
    )


def evaluator_figures() -> list[Figure]:
    """Measure decisions on a policy that is parsed once: attested, wrongly attested and not attested."""
    policy = parse_policy(typical_policy(), kind=PolicyKind.KEY)
    parent = Principal.from_arn(f"arn:aws:iam::{_ACCOUNT}:role/parent")

    def requests(measured: dict[str, str]) -> Request:
        return Request(principal=parent, action="kms:Decrypt", resource=_KEY, context=measured)

    cases = {
        "allowed": requests(attestation_context({0: _APPROVED})),
        "wrong measurement": requests(attestation_context({0: _OTHER})),
        "not attested": requests({}),
    }
    seconds = interleaved(
        {name: partial(evaluate, request, key_policy=policy) for name, request in cases.items()},
        REPETITIONS,
    )
    return [
        Figure.at_least(f"decisions, {name}", 1 / each, "1/s", DECISIONS_PER_S_MIN) for name, each in seconds.items()
    ]
