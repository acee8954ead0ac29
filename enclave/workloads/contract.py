"""Say what a workload is: one module with ``WORKLOAD``, which names it, its class of secrets, and its one entry point.

A workload sees the request that an agent sealed, who the agent is, what the manifest grants it, and the secrets of its
own class that the manifest lists for it. It sees no key of the enclave, no KMS, no other class, and no parent.
Spec: docs/enclave.md, "Workloads".
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from pcrgate.envelope.weights_buffer import WeightsBuffer
from pcrgate.errors import ErrorCode, PcrgateError, WireError
from pcrgate.manifest.grants import Grant, WorkloadRules
from pcrgate.manifest.public_keys import VerifyingKey
from pcrgate.manifest.sealed_secret import SecretClass, SecretFormat
from pcrgate.units import Sha384


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasedSecret:
    """Hold a secret that KMS released and the manifest's digests confirmed.

    Attributes:
        epoch: as the manifest says.
        format: as the manifest says.
        content: the plaintext; hidden.
    """

    epoch: int
    format: SecretFormat
    content: WeightsBuffer = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """Hold one request to a workload.

    Attributes:
        request: what the agent sealed, as the workload defines it; hidden.
        agent: name of the agent whose session it came in.
        agent_key: the agent's key in the manifest.
        grant: what the agent may do with this workload now.
        rules: what holds for all agents together; None when the manifest has no rules for the workload.
        manifest_digest: of the live manifest.
        now_ms: the enclave's own time.
    """

    request: bytes = field(repr=False)
    agent: str
    agent_key: VerifyingKey
    grant: Grant
    rules: WorkloadRules | None
    manifest_digest: Sha384
    now_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Hold what came of a request.

    Attributes:
        result: for the agent alone; hidden.
        report: a statement that the enclave signs with its receipt key; None when there is nothing to state.
        secrets: names and epochs of the secrets that were used.
    """

    result: bytes = field(repr=False)
    report: bytes | None = None
    secrets: Mapping[str, int] = field(default_factory=dict)


class StartedWorkload(Protocol):
    """Carry out requests; threads may call it at once."""

    def carry_out(self, invocation: Invocation) -> Outcome:
        """Return what came of a request.

        Raises:
            PcrgateError: the refusal; anything else counts as a crash and is told as ``workload-failed``.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Declare a workload.

    Attributes:
        name: as manifests name it.
        secret_class: the one class of secrets it may see; None for none at all.
        once: whether the same request of an agent has one effect and one receipt, however often it comes.
        start: the entry point: takes the released secrets by name, returns what carries out requests.
    """

    name: str
    secret_class: SecretClass | None
    once: bool
    start: Callable[[Mapping[str, ReleasedSecret]], StartedWorkload]


def malformed(fact: str) -> WireError:
    """Return the refusal of a request that is not of its workload's form."""
    return WireError(ErrorCode.WORKLOAD_REQUEST, fact)


def not_admitted(fact: str) -> PcrgateError:
    """Return the refusal of an argument or purpose that grant or rules do not admit."""
    return PcrgateError(ErrorCode.WORKLOAD_ARGUMENT, fact)
