"""Callers that every statement, grant and declaration treats alike: the solver sees each difference once.

Spec: IAM User Guide, "AWS JSON policy elements: Principal"; Organizations User Guide, "Resource control policies".
"""

from collections.abc import Mapping
from dataclasses import dataclass

from kms_policies.matching import Reach
from kms_policies.prover_callers import Caller
from kms_policies.prover_comparisons import Comparison, Match
from kms_policies.request import PrincipalKind


@dataclass(slots=True, kw_only=True)
class CallerClass:
    """Hold callers that every statement treats alike.

    Attributes:
        caller: the most telling member.
        reach: how each statement of the key policy and of resource control policies speaks of it, Allows first.
        answers: for each derived key it has and each comparison of it how it compares.
        present: the derived keys it has.
        granted: the grants that name it, by their place.
        attached: the names under which identity policies are attached to it.
        home: whether its account is the key's.
        members: all members.
        iam: whether IAM surely allows everything (True) or nothing (False); None when given policies decide.
        declared: whether it is a declared administrator.
        delegated: whether it is an administrator where IAM decides.
    """

    caller: Caller
    reach: tuple[Reach, ...]
    answers: Mapping[tuple[str, Comparison], Match]
    present: frozenset[str]
    granted: frozenset[int]
    attached: tuple[str, ...]
    home: bool
    members: list[Caller]
    iam: bool | None = True
    declared: bool = False
    delegated: bool = False

    @property
    def is_root(self) -> bool:
        """Whether it is the root user of an account."""
        return self.caller.principal.kind is PrincipalKind.ROOT

    @property
    def is_service(self) -> bool:
        """Whether it is an AWS service calling as itself."""
        return self.caller.principal.kind is PrincipalKind.SERVICE

    @property
    def is_service_linked(self) -> bool:
        """Whether it is a service-linked role, which no resource control policy restricts."""
        return ":role/aws-service-role/" in str(self.caller.principal.role_arn)

    @property
    def signature(self) -> tuple[object, ...]:
        """What tells it apart."""
        opened = Match.OPEN in self.answers.values() and (self.caller.shape, self.caller.principal.kind)
        return (
            self.reach,
            tuple(self.answers.items()),
            self.present,
            self.granted,
            self.attached,
            self.home,
            self.iam,
            self.declared,
            self.delegated,
            self.is_root,
            self.is_service,
            self.is_service_linked,
            opened,
        )
