"""A boot without a parent: it waits, then fails; what the desk answers before and after."""

import json
from pathlib import Path
from typing import Any

import pytest

from enclave.boot import Boot, Surroundings
from enclave.configuration import parse_configuration
from enclave.counters import Counters
from enclave.desk import Desk
from enclave.phases import Phase, PhaseMachine
from pcrgate.attestation.anchors import Roots
from pcrgate.errors import ErrorCode, PcrgateError
from pcrgate.kms.relay import UnixDialer
from pcrgate.twin.nsm import SoftwareNsm
from pcrgate.twin.pki import DevPki
from pcrgate.units import Sha384
from pcrgate.wire import messages as wire
from tests.unit.enclave.test_parts import VALID


def booted(tmp_path: Path, nsm: Any, pki: DevPki) -> tuple[PhaseMachine, Desk, list[float]]:
    phases, counters, slept = PhaseMachine(), Counters(), list[float]()
    desk = Desk(phases, counters)
    dialer = UnixDialer(path=tmp_path / "absent.sock")
    surroundings = Surroundings(nsm=nsm, roots=Roots.pinned(pki.root_fingerprint), broker=dialer, relay=dialer)
    configuration = parse_configuration(json.dumps(VALID).encode(), folder=tmp_path, production=True)
    Boot(configuration, surroundings, phases=phases, counters=counters, sleep=slept.append).run(desk)
    return phases, desk, slept


def test_a_boot_waits_for_its_parent_and_then_fails(tmp_path: Path) -> None:
    pki = DevPki.ephemeral()
    nsm = SoftwareNsm(pki=pki, pcrs={0: Sha384(bytes([1]) * 48)})
    phases, desk, slept = booted(tmp_path, nsm, pki)
    assert (phases.phase, phases.failure) == (Phase.FAILED, ErrorCode.WIRE_LINK)
    assert 59 <= sum(slept) <= 61
    status = desk.answer(wire.StatusRequest())
    assert isinstance(status, wire.StatusAnswer)
    assert (status.phase, status.failure) == ("failed", "wire-link")
    for message in (wire.EvidenceRequest(nonce=bytes(16)), wire.Invoke(record=b"x"), wire.ReceiptsRequest(first=1)):
        with pytest.raises(PcrgateError) as refused:
            desk.answer(message)
        assert refused.value.code is ErrorCode.ENCLAVE_PHASE


def test_what_nobody_foresaw_fails_the_boot_too(tmp_path: Path) -> None:
    class Broken:
        def request(self, data: bytes) -> bytes:
            raise ZeroDivisionError(data)

    phases, _, _ = booted(tmp_path, Broken(), DevPki.ephemeral())
    assert (phases.phase, phases.failure) == (Phase.FAILED, ErrorCode.INTERNAL)
