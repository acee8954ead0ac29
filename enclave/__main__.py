"""Run inside a Nitro Enclave: hardware only. There is no argument, and no other device or address is known here."""

import os
import sys
from pathlib import Path
from typing import Final

from enclave.boot import Surroundings
from enclave.configuration import load_configuration
from enclave.hardening import forbid_core_dumps, require_environment, require_hardware_randomness
from enclave.listener import VsockListener
from enclave.process import run
from pcrgate.attestation.anchors import AWS_ROOTS
from pcrgate.errors import PcrgateError
from pcrgate.kms.nsm import NsmDevice
from pcrgate.kms.relay import VsockDialer

CONFIGURATION: Final = Path("/app/configuration/enclave.json")
"""Where the image holds its measured configuration."""

BROKER_PORT: Final = 8001
"""Port of the parent's broker."""


def main() -> int:
    """Boot and serve; return 1 when the image cannot even begin. A production enclave has no console to print to."""
    try:
        forbid_core_dumps()
        require_environment(os.environ)
        require_hardware_randomness()
        configuration = load_configuration(CONFIGURATION, production=True)
        surroundings = Surroundings(
            nsm=NsmDevice(), roots=AWS_ROOTS, broker=VsockDialer(port=BROKER_PORT), relay=VsockDialer()
        )
        run(configuration, surroundings, VsockListener())
    except (PcrgateError, OSError):
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
