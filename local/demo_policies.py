"""Scenes of key policies: the one that KMS holds is proven; two that look alike each let a request through."""

import json
from collections.abc import Iterator

from kms_policies.document import PolicyKind, parse_policy
from kms_policies.prover import ApprovedMeasurements, Question, prove
from local.demo_stage import Stage, pcr0_in
from local.scene import APPROVED, PROVEN, OtherVerdict, Scene
from pcrgate.units import Sha384


def policy_scenes(stage: Stage) -> Iterator[Scene]:
    """Yield the scenes in order; the first asks KMS for the policy that it enforces now."""
    yield Scene(
        title="this checkout's enclave is measured, and its PCR0 approved",
        expected=APPROVED,
        play=lambda: approve(stage),
        success=APPROVED,
        essential=True,
    )
    made, image, live = stage.deployment.provisioned, stage.deployment.measured(), stage.key_policy()
    yield Scene(
        title="the key policy that KMS holds now",
        expected=PROVEN,
        play=lambda: judge(live, made.administrator, image),
        success=PROVEN,
    )
    yield Scene(
        title="the same without its Deny, and a second Allow",
        expected="second-allow",
        play=lambda: judge(weakened(live, made.parent), made.administrator, image),
        success=PROVEN,
    )
    yield Scene(
        title="the policy that AWS gives a new key",
        expected="root-delegation",
        play=lambda: judge(default(made.account), made.administrator, image),
        success=PROVEN,
    )


def approve(stage: Stage) -> str:
    """Approve what this checkout measures, and see that KMS has it; return the fact to show.

    Raises:
        OtherVerdict: when KMS holds another measurement.
    """
    image = stage.deployment.measured()
    stage.deployment.approve(image)
    named = pcr0_in(stage.key_policy())
    if named != {image.hex()}:
        raise OtherVerdict("not-approved", f"KMS's policy names {sorted(named)}, expected {image.hex()}")
    return f"PCR0 {image.hex()} stands in the policies that KMS enforces, by {stage.provisioner.means}"


def judge(text: str, administrator: str, image: Sha384) -> str:
    """Return what a proof says.

    Raises:
        OtherVerdict: the first counterexample of Decrypt, or that there is another or no answer.
    """
    question = Question(
        key_policy=parse_policy(text, kind=PolicyKind.KEY),
        approved=ApprovedMeasurements(pcr0=frozenset({image})),
        administrators=frozenset({administrator}),
    )
    proof = prove(question)
    if proof.proven:
        return f"no plaintext but to this image, in {proof.statistics.total_ms:.0f} ms; trusts {administrator}"
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
