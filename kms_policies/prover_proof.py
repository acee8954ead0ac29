"""What the prover answers: a verdict for each tier, the counterexamples, the trust anchors, and what was assumed.

Spec: IAM User Guide, "Policy evaluation logic"; KMS Developer Guide, "Condition keys for AWS Nitro Enclaves".
"""

from dataclasses import dataclass
from enum import Enum

from kms_policies.prover_holes import Hole
from kms_policies.prover_solver import SolverStatistics
from kms_policies.prover_tiers import Tier
from kms_policies.request import Request


class Verdict(Enum):
    """Name what is known of a tier."""

    PROVEN = "proven"
    COUNTEREXAMPLE = "counterexample"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Counterexample:
    """Hold one request that gets through and must not.

    Attributes:
        tier: what it leads to.
        hole: the kind of mistake that lets it through.
        request: the request: principal, action, key and context.
        source: where the statement stands, or ``grant``.
        statement: the statement or grant that lets it through, as messages name it.
        statement_index: the statement's place in the key policy from 0, or the grant's place; never both.
        via: how it lets the principal through.
        actions_alike: other actions that get through in the same way.
        principals_alike: other principals that do.
        replayed: whether the evaluator allows this very request; if not, it is still a failure, and ``note`` says why.
        note: one sentence for a person.
    """

    tier: Tier
    hole: Hole
    request: Request
    source: str
    statement: str
    statement_index: int
    via: str
    actions_alike: tuple[str, ...]
    principals_alike: tuple[str, ...]
    replayed: bool
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustAnchor:
    """Hold a principal whose word the proof rests on: it may change the policy, or hand the key on.

    Attributes:
        principal: its ARN or name; for an unnamed one, what it stands for.
        actions: what it may do.
        declared: whether it was declared as an administrator.
        statement: the statement or grant that lets it.
    """

    principal: str
    actions: tuple[str, ...]
    declared: bool
    statement: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Minter:
    """Hold a principal that can make new ciphertexts under the key, for information.

    Attributes:
        principal: its ARN or name; for an unnamed one, what it stands for.
        actions: what it may do.
        statement: the statement or grant that lets it.
    """

    principal: str
    actions: tuple[str, ...]
    statement: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """Hold the answer to one question.

    Attributes:
        plaintext: whether plaintext can come out without an approved attestation.
        escalation: whether someone who is no declared administrator can make it come out later.
        availability: whether anyone can disable or delete the key.
        availability_matters: whether the question asked for that.
        counterexamples: requests that get through, at least one for each tier with that verdict.
        incomplete: whether more counterexamples were left out at the limit.
        trust_anchors: who may change the policy or hand the key on, declared or not.
        can_mint: who can make new ciphertexts; this does not fail a proof.
        assumptions: what was taken as given.
        approximations: where more was let through than may be real.
        ruled_out: actions that the key's nature rules out.
        unknown_reason: the solver's own words for an unknown verdict, or empty.
        statistics: what the proof took.
    """

    plaintext: Verdict
    escalation: Verdict
    availability: Verdict
    availability_matters: bool
    counterexamples: tuple[Counterexample, ...]
    incomplete: bool
    trust_anchors: tuple[TrustAnchor, ...]
    can_mint: tuple[Minter, ...]
    assumptions: tuple[str, ...]
    approximations: tuple[str, ...]
    ruled_out: tuple[str, ...]
    unknown_reason: str
    statistics: SolverStatistics

    @property
    def proven(self) -> bool:
        """Whether no request gets through in any tier that was asked about; unknown is not proven."""
        asked = [self.plaintext, self.escalation, *([self.availability] if self.availability_matters else [])]
        return all(verdict is Verdict.PROVEN for verdict in asked)

    def verdict(self, tier: Tier) -> Verdict:
        """Return the verdict of a tier that has one.

        Raises:
            KeyError: for ``MINTING``, which is information only.
        """
        return {
            Tier.PLAINTEXT: self.plaintext,
            Tier.ESCALATION: self.escalation,
            Tier.AVAILABILITY: self.availability,
        }[tier]

    @property
    def holes(self) -> frozenset[Hole]:
        """The kinds of mistakes found."""
        return frozenset(one.hole for one in self.counterexamples)
