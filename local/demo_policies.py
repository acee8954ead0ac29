"""Scenes of key policies: the shipped one is proven; two that look alike each yield a request that gets through."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

from kms_policies.document import PolicyKind, parse_policy
from kms_policies.inputs import EnclaveMeasurements, KeyPolicyInputs
from kms_policies.prover import ApprovedMeasurements, Question, prove
from kms_policies.rendering import Template, render
from local.scene import PROVEN, OtherVerdict, Scene
from pcrgate.units import Sha384


@dataclass(frozen=True, slots=True, kw_only=True)
class Roles:
    """Name who deals with the key, by the ARNs of their roles.

    Attributes:
        account: the account that owns the key, twelve digits.
        administrator: may change the policy.
        publisher: seals.
        parent: calls on behalf of the enclave.
    """

    account: str
    administrator: str
    publisher: str
    parent: str


def key_policy(roles: Roles, image: Sha384) -> str:
    """Return the shipped policy of a key for weights, filled with these roles and one image."""
    inputs = KeyPolicyInputs(
        account=roles.account,
        administrators=(roles.administrator,),
        publishers=(roles.publisher,),
        parents=(roles.parent,),
        measurements=EnclaveMeasurements(pcr0=(image,)),
    )
    return render(Template.MODEL_WEIGHTS_KEY, inputs)


def policy_scenes(roles: Roles, image: Sha384) -> Iterator[Scene]:
    """Yield the scenes in order."""
    shipped = key_policy(roles, image)
    yield Scene(
        title="the shipped key policy",
        expected=PROVEN,
        play=lambda: judge(shipped, roles, image),
        success=PROVEN,
    )
    yield Scene(
        title="without its Deny, and a second Allow",
        expected="second-allow",
        play=lambda: judge(weakened(shipped, roles.parent), roles, image),
        success=PROVEN,
    )
    yield Scene(
        title="the policy that AWS gives a new key",
        expected="root-delegation",
        play=lambda: judge(default(roles.account), roles, image),
        success=PROVEN,
    )


def judge(text: str, roles: Roles, image: Sha384) -> str:
    """Return what a proof says.

    Raises:
        OtherVerdict: the first counterexample of Decrypt, or that there is another or no answer.
    """
    question = Question(
        key_policy=parse_policy(text, kind=PolicyKind.KEY),
        approved=ApprovedMeasurements(pcr0=frozenset({image})),
        administrators=frozenset({roles.administrator}),
    )
    proof = prove(question)
    if proof.proven:
        return f"no plaintext but to this image, in {proof.statistics.total_ms:.0f} ms; trusts {roles.administrator}"
    for found in proof.counterexamples:
        if found.request.action == "kms:Decrypt":
            carrying = json.dumps(dict(found.request.context)) if found.request.context else "nothing"
            fact = f"{found.request.principal} calls {found.request.action} carrying {carrying}: {found.statement}"
            raise OtherVerdict(found.hole.value, fact)
    raise OtherVerdict(proof.plaintext.value, proof.unknown_reason or "no counterexample of Decrypt")


def weakened(shipped: str, principal: str) -> str:
    """Return the policy without the Deny on PCR0, and with an Allow that somebody added in a hurry."""
    policy = json.loads(shipped)
    hurried = {
        "Sid": "AllowJustForNow",
        "Effect": "Allow",
        "Principal": {"AWS": principal},
        "Action": "kms:Decrypt",
        "Resource": "*",
    }
    kept = [statement for statement in policy["Statement"] if statement["Sid"] != "DenyReleaseUnlessPCR0"]
    return json.dumps({**policy, "Statement": [*kept, hurried]})


def default(account: str) -> str:
    """Return what AWS attaches to a key that is made without a policy."""
    statement = {
        "Sid": "Enable IAM User Permissions",
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{account}:root"},
        "Action": "kms:*",
        "Resource": "*",
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})
