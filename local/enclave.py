"""Run the enclave on a laptop: Unix sockets, a software NSM whose PCR0 is measured from the enclave's own files."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from enclave.boot import Surroundings
from enclave.configuration import load_configuration
from enclave.hardening import forbid_core_dumps, require_environment
from enclave.listener import UnixListener
from enclave.process import run
from local.measurement import measure
from pcrgate.attestation.anchors import Roots
from pcrgate.kms.relay import UnixDialer
from pcrgate.twin.nsm import SoftwareNsm
from pcrgate.twin.pki import DevPki

ALSO_ALLOWED: Final = frozenset({"COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START"})
"""Variables of a coverage run, which an image would refuse."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaptopEnclave:
    """Say what an enclave on a laptop is made of.

    Attributes:
        configuration: the measured configuration's file.
        pki_dir: where the twin keeps its development PKI.
        socket: where the enclave listens.
        broker: where the parent's broker listens.
        relay: where the parent's relay to KMS listens.
    """

    configuration: Path
    pki_dir: Path
    socket: Path
    broker: Path
    relay: Path

    def run(self) -> None:
        """Boot and serve until the process ends.

        Raises:
            PcrgateError: when it cannot begin.
            OSError: when the socket is not to be had.
        """
        forbid_core_dumps()
        require_environment(os.environ, also_allowed=ALSO_ALLOWED)
        configuration = load_configuration(self.configuration, production=False)
        surroundings = Surroundings(
            nsm=SoftwareNsm(
                pki=DevPki.load(self.pki_dir), pcrs={0: measure(self.configuration, configuration.ca_bundle)}
            ),
            roots=Roots.pinned(*configuration.development_roots),
            broker=UnixDialer(path=self.broker),
            relay=UnixDialer(path=self.relay),
        )
        run(configuration, surroundings, UnixListener(path=self.socket))
