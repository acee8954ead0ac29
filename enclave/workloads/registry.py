"""List the workloads of the image; adding one is a module and a line here."""

from collections.abc import Sequence
from typing import Final

from enclave.workloads import infer, validate
from enclave.workloads.contract import Workload
from pcrgate.errors import ErrorCode, PcrgateError

WORKLOADS: Final = (infer.WORKLOAD, validate.WORKLOAD)
"""Every workload that this image can start."""


def chosen(names: Sequence[str], known: Sequence[Workload] = WORKLOADS) -> tuple[Workload, ...]:
    """Return the workloads of these names.

    Raises:
        PcrgateError: ``workload-unknown`` for a name that the image does not hold.
    """
    found = {workload.name: workload for workload in known}
    for name in names:
        if name not in found:
            raise PcrgateError(ErrorCode.WORKLOAD_UNKNOWN, f"no workload {name[:64]}, expected one of {sorted(found)}")
    return tuple(found[name] for name in names)
