"""Documents for these tests: signed by the software NSM, so that every check sees a genuine chain."""

import cbor2

from pcrgate.attestation.anchors import Roots
from pcrgate.attestation.cbor import CborValue, encode
from pcrgate.attestation.policy import EnclavePolicy, Expectation, OneOf, ReferenceValue
from pcrgate.twin.nsm import SoftwareNsm
from pcrgate.twin.pki import DevPki
from pcrgate.units import Sha384

NOW_MS = 1_800_000_000_000
PKI = DevPki(b"unit tests of the attestation package")
ROOTS = Roots.pinned(PKI.root_fingerprint)
PCR0 = Sha384(bytes(range(48)))


def nsm(**more: object) -> SoftwareNsm:
    """Return a device with PCR0 set and the clock at NOW_MS."""
    return SoftwareNsm(pki=PKI, **{"pcrs": {0: PCR0}, "clock": lambda: NOW_MS, **more})  # type: ignore[arg-type]


def document(device: SoftwareNsm | None = None, **fields: bytes | None) -> bytes:
    """Return a document with these fields."""
    request: dict[int | str, CborValue] = {"user_data": None, "nonce": None, "public_key": None}
    request.update(fields)
    answer = cbor2.loads((device or nsm()).request(encode({"Attestation": request})))
    made: bytes = answer["Attestation"]["document"]
    return made


def policy(**more: object) -> EnclavePolicy:
    """Return a policy for PCR0 that ignores the rest explicitly."""
    settings: dict[str, object] = {
        "pcr0": OneOf((ReferenceValue(name="release 1", value=PCR0),)),
        "nonce": Expectation.IGNORED,
        "user_data": Expectation.IGNORED,
        "public_key": Expectation.IGNORED,
        **more,
    }
    return EnclavePolicy(**settings)  # type: ignore[arg-type]
