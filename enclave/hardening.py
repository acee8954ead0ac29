"""Make the process a safe place before anything secret is in it: environment, core dumps, randomness."""

import ctypes
import os
import resource
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

from pcrgate.errors import ErrorCode, NsmError, UsageError
from pcrgate.kms.nsm_messages import NsmClient

ENVIRONMENT_ALLOWED: Final = frozenset(
    {"PATH", "HOME", "PWD", "SHLVL", "_", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "HOSTNAME", "TERM"}
)
"""Variables that may be set: none of them changes what code runs or whom it trusts. All others are refused, so those
of loaders (LD_PRELOAD, PYTHONPATH), of TLS libraries and of AWS's tools are too."""

RNG_CURRENT: Final = Path("/sys/class/misc/hw_random/rng_current")
"""Where the kernel says which hardware feeds its randomness."""

RNG_EXPECTED: Final = "nsm-hwrng"
"""The Nitro Secure Module. Spec: linux drivers/misc/nsm.c."""

SEED_BYTES: Final = 256
"""How much of the module's randomness is mixed into the kernel's: one answer of the module."""

_PR_SET_DUMPABLE: Final = 4
_URANDOM: Final = Path("/dev/urandom")


def require_environment(environment: Mapping[str, str], *, also_allowed: Collection[str] = ()) -> None:
    """Refuse an environment with any variable that is not on the list.

    Args:
        environment: the process's.
        also_allowed: further names, for composition roots that are not in an image.

    Raises:
        UsageError: ``enclave-environment`` naming the first.
    """
    for name in sorted(environment):
        if name not in ENVIRONMENT_ALLOWED and name not in also_allowed:
            shown = "".join(mark if mark.isascii() and mark.isprintable() else "?" for mark in name[:64])
            raise UsageError(ErrorCode.ENCLAVE_ENVIRONMENT, f"{shown} is set, expected only what the image sets")


def forbid_core_dumps() -> None:
    """Have no core file written and no other process read this one's memory."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def require_hardware_randomness(rng_current: Path = RNG_CURRENT) -> None:
    """Refuse a kernel whose randomness does not come from the module.

    Raises:
        NsmError: ``enclave-randomness``.
    """
    try:
        found = rng_current.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        found = "nothing"
    if found != RNG_EXPECTED:
        raise NsmError(
            ErrorCode.ENCLAVE_RANDOMNESS, f"the kernel's randomness is not the module's, expected {RNG_EXPECTED}"
        )


def mix_randomness(nsm: NsmClient) -> None:
    """Add the module's randomness to the kernel's; what either alone gives stays good.

    Raises:
        NsmError: ``enclave-randomness`` when the kernel does not take it, or what the module refused with.
    """
    seed = nsm.get_random(SEED_BYTES)
    try:
        descriptor = os.open(_URANDOM, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, seed)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise NsmError(ErrorCode.ENCLAVE_RANDOMNESS, "the kernel did not take randomness, expected it to") from error
