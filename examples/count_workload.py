"""A third workload, whole: counts the words of a request, for agents that were granted the action ``count``.

    python examples/count_workload.py "some words"      carry one request out, as the enclave would

To put it into an image: copy this file to ``enclave/workloads/count.py``, add ``count.WORKLOAD`` to ``WORKLOADS`` in
``enclave/workloads/registry.py`` and the file to the COPY lines (``python -m local trusted-code --dockerfile``), name
``count`` in the measured configuration's ``workloads``, and grant the action in the release manifest.
"""

import sys
from collections.abc import Mapping

from enclave.workloads.contract import Invocation, Outcome, ReleasedSecret, Workload
from pcrgate.errors import ErrorCode, PcrgateError
from pcrgate.manifest.grants import ActionRule, Grant
from pcrgate.manifest.public_keys import VerifyingKey
from pcrgate.units import Sha384


class CountWorkload:
    """Carry out requests; threads may call it at once, so it keeps nothing."""

    def carry_out(self, invocation: Invocation) -> Outcome:
        """Return how many words came.

        Raises:
            PcrgateError: ``workload-request`` for what is no text, or the grant's refusal; a refusal has a receipt too.
        """
        invocation.grant.action("count")
        try:
            text = invocation.request.decode("utf-8")
        except UnicodeDecodeError as error:
            raise PcrgateError(ErrorCode.WORKLOAD_REQUEST, "the request is not UTF-8, expected text") from error
        return Outcome(result=str(len(text.split())).encode())


def start(secrets: Mapping[str, ReleasedSecret]) -> CountWorkload:
    """Return the workload; its class is None, so there are no secrets."""
    if secrets:
        raise PcrgateError(ErrorCode.WORKLOAD_UNKNOWN, "a secret was released to count, expected none")
    return CountWorkload()


WORKLOAD = Workload(name="count", secret_class=None, once=False, start=start)


if __name__ == "__main__":
    granted = Grant(agent="one", workload="count", actions=(ActionRule(action="count"),), expires_ms=2_000_000_000_000)
    request = Invocation(
        request=" ".join(sys.argv[1:]).encode(),
        agent="one",
        agent_key=VerifyingKey(bytes(31) + b"\x01"),
        grant=granted,
        rules=None,
        manifest_digest=Sha384(bytes([1]) * 48),
        now_ms=1_900_000_000_000,
    )
    print(WORKLOAD.start({}).carry_out(request).result.decode())
