"""The root of an image: hardware and Amazon's roots only, and one missing part keeps it from starting.

It runs in this process, so what would change the process for good is left out, and the image's fixed places lie in a
folder of the test; the device is a driver with a software NSM behind it.
"""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import enclave.__main__ as root
from enclave.boot import Surroundings
from enclave.configuration import MeasuredConfiguration
from enclave.hardening import require_hardware_randomness
from enclave.listener import VsockListener
from pcrgate.attestation.anchors import AWS_ROOTS
from pcrgate.kms.nsm import NsmDevice
from pcrgate.kms.relay import VsockDialer
from pcrgate.twin.nsm import SoftwareNsm
from pcrgate.twin.pki import DevPki
from pcrgate.units import Sha384
from tests.contract.nsm_driver import MemoryDriver
from tests.unit.enclave.test_parts import VALID


class Image:
    """Hold what an image and its host would give: places, environment, device; and what was run of it.

    Attributes:
        hardened: how often core dumps were forbidden.
        started: configuration, surroundings and listener of every run.
    """

    def __init__(self, folder: Path) -> None:
        self.configuration = folder / "enclave.json"
        self.configuration.write_text(json.dumps(VALID))
        self.randomness = folder / "rng_current"
        self.randomness.write_text("nsm-hwrng\n")
        self.device = folder / "nsm"
        self.device.write_bytes(b"")
        self.environment = {"PATH": "/usr/bin", "LANG": "C.UTF-8"}
        self.hardened = 0
        self.started: list[tuple[Any, ...]] = []
        self.end: Exception | None = None

    def run(self, *parts: Any) -> None:
        self.started.append(parts)
        if self.end is not None:
            raise self.end

    def harden(self) -> None:
        self.hardened += 1

    def open_device(self) -> NsmDevice:
        nsm = SoftwareNsm(pki=DevPki(b"seed of the image's tests"), pcrs={0: Sha384(bytes([1]) * 48)})
        return NsmDevice(self.device, ioctl=MemoryDriver(nsm))


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Image:
    made = Image(tmp_path)
    monkeypatch.setattr(root, "CONFIGURATION", made.configuration)
    monkeypatch.setattr(root, "forbid_core_dumps", made.harden)
    monkeypatch.setattr(root, "require_hardware_randomness", lambda: require_hardware_randomness(made.randomness))
    monkeypatch.setattr(root, "NsmDevice", made.open_device)
    monkeypatch.setattr(root, "run", made.run)
    monkeypatch.setattr(root, "os", SimpleNamespace(environ=made.environment))
    return made


def test_an_image_starts_with_hardware_and_amazons_roots(image: Image) -> None:
    assert root.main() == 0
    assert image.hardened == 1
    ((configuration, surroundings, listener),) = image.started
    assert isinstance(configuration, MeasuredConfiguration)
    assert configuration.development_roots == ()
    assert isinstance(surroundings, Surroundings)
    assert surroundings.roots is AWS_ROOTS
    assert isinstance(surroundings.nsm, NsmDevice)
    assert (surroundings.broker, surroundings.relay) == (VsockDialer(cid=3, port=8001), VsockDialer(cid=3, port=8000))
    assert listener == VsockListener(port=5000)


def a_variable(image: Image) -> None:
    image.environment["LD_PRELOAD"] = "/tmp/x.so"


def randomness_of_the_host(image: Image) -> None:
    image.randomness.write_text("virtio_rng.0\n")


def no_randomness(image: Image) -> None:
    image.randomness.unlink()


def no_configuration(image: Image) -> None:
    image.configuration.unlink()


def a_root_of_a_laptop(image: Image) -> None:
    image.configuration.write_text(json.dumps(VALID | {"development_roots": ["00" * 32]}))


def no_device(image: Image) -> None:
    image.device.unlink()


@pytest.mark.parametrize(
    "missing",
    [a_variable, randomness_of_the_host, no_randomness, no_configuration, a_root_of_a_laptop, no_device],
)
def test_one_missing_part_keeps_an_image_from_starting(
    missing: Callable[[Image], None], image: Image, capfd: pytest.CaptureFixture[str]
) -> None:
    missing(image)
    assert root.main() == 1
    assert image.started == []
    assert image.hardened == 1  # whatever else is wrong: before anything secret is there
    assert capfd.readouterr() == ("", "")


def test_an_address_that_is_taken_ends_the_image_without_a_word(
    image: Image, capfd: pytest.CaptureFixture[str]
) -> None:
    image.end = OSError("address in use")
    assert root.main() == 1
    assert len(image.started) == 1
    assert capfd.readouterr() == ("", "")


def test_an_error_that_nobody_foresaw_is_not_taken_for_a_refusal(image: Image) -> None:
    """It ends the process too, and with it the enclave; nothing is caught that was not meant."""
    image.end = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        root.main()
