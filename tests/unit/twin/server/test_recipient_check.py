"""What makes a recipient, each step broken once."""

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from kms_policies.request import IMAGE_KEY
from pcrgate.attestation.anchors import AWS_ROOTS, Roots
from pcrgate.attestation.evidence import NitroTpmEvidence
from pcrgate.twin.clock import TwinClock
from pcrgate.twin.faults import FaultCode, FrontDoorError
from pcrgate.twin.nsm import SoftwareNsm
from pcrgate.twin.pki import DevPki
from pcrgate.twin.recipient_check import DOCUMENT_MAX_BYTES, RecipientChecker
from pcrgate.twin.settings import MAX_DOCUMENT_AGE_S
from pcrgate.units import Sha384
from tests.support.recordings import load_index
from tests.support.twin_stage import document, rsa_key, spki_der

PKI = DevPki(b"recipient check" + bytes(16))
NOW_MS = 1_800_000_000_000
PCR0 = Sha384(b"\x0a" * 48)


class Stage:
    def __init__(self, **nsm: object) -> None:
        self.now_ms = NOW_MS
        options: dict[str, object] = {"pcrs": {0: PCR0}, **nsm}
        self.nsm = SoftwareNsm(pki=PKI, clock=lambda: NOW_MS, **options)  # type: ignore[arg-type]
        self.checker = RecipientChecker(
            Roots.pinned(PKI.root_fingerprint), clock_ms=lambda: self.now_ms, max_age_s=MAX_DOCUMENT_AGE_S
        )

    def refused(self, document: bytes) -> str:
        with pytest.raises(FrontDoorError) as caught:
            self.checker.check(document)
        assert caught.value.code is FaultCode.VALIDATION
        return caught.value.message


def test_a_good_document_makes_a_recipient_and_fills_the_condition_keys() -> None:
    stage = Stage()
    sent = document(stage.nsm, spki_der())
    recipient = stage.checker.check(sent)
    assert (recipient.spki_der, recipient.document) == (spki_der(), sent)
    assert recipient.context[IMAGE_KEY] == recipient.context["kms:RecipientAttestation:PCR0"] == PCR0.hex()
    assert "kms:RecipientAttestation:PCR15" in recipient.context
    assert not any("NitroTPM" in name for name in recipient.context)


def test_a_nitrotpm_document_fills_its_own_condition_keys() -> None:
    stage = Stage(kind="nitrotpm", pcrs={4: PCR0})
    recipient = stage.checker.check(document(stage.nsm, spki_der()))
    assert isinstance(recipient.evidence, NitroTpmEvidence)
    assert recipient.context["kms:RecipientAttestation:NitroTPMPCR4"] == PCR0.hex()
    assert not any("Attestation:PCR" in name or name == IMAGE_KEY for name in recipient.context)


@pytest.mark.parametrize(("age_s", "fine"), [(MAX_DOCUMENT_AGE_S, True), (MAX_DOCUMENT_AGE_S + 1, False)])
def test_a_document_is_five_minutes_old_at_most(age_s: int, fine: bool) -> None:
    stage = Stage()
    sent = document(stage.nsm, spki_der())
    stage.now_ms += age_s * 1000
    if fine:
        stage.checker.check(sent)
    else:
        assert "evidence-too-old" in stage.refused(sent)


def test_a_foreign_root_is_refused() -> None:
    foreign = SoftwareNsm(pki=DevPki(b"another" + bytes(16)), clock=lambda: NOW_MS, pcrs={0: PCR0})
    assert "root-unpinned" in Stage().refused(document(foreign, spki_der()))


def test_a_debug_enclave_is_refused() -> None:
    stage = Stage(debug=True)
    assert "debug mode" in stage.refused(document(stage.nsm, spki_der()))


@pytest.mark.parametrize("index", [0, 1, 2])
def test_one_zero_register_is_debug_enough(index: int) -> None:
    registers = {0: PCR0, 1: PCR0, 2: PCR0, index: Sha384(bytes(48))}
    stage = Stage(pcrs=registers)
    assert "debug mode" in stage.refused(document(stage.nsm, spki_der()))


def test_without_public_key_it_is_refused() -> None:
    stage = Stage()
    assert "holds no public key" in stage.refused(document(stage.nsm, None))


def test_another_kind_of_key_is_refused() -> None:
    stage = Stage()
    point = ec.generate_private_key(ec.SECP384R1()).public_key()
    der = point.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert "not RSA" in stage.refused(document(stage.nsm, der))


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (b"no key at all", "not a DER SubjectPublicKeyInfo"),
        (spki_der() + b"\x00", "SubjectPublicKeyInfo"),
        (spki_der(rsa_key(1024)), "1024 bits"),
        (spki_der(rsa_key(2048, 3)), "exponent"),
    ],
    ids=["garbage", "trailing", "small", "exponent"],
)
def test_an_unusable_key_is_refused(key: bytes, said: str) -> None:
    stage = Stage()
    assert said in stage.refused(document(stage.nsm, key))


def without_parameters(der: bytes) -> bytes:
    """Return a SubjectPublicKeyInfo of RSA, of 256 to 65535 bytes, without the NULL of its algorithm."""
    algorithm = der[4:19]
    assert algorithm == bytes.fromhex("300d06092a864886f70d0101010500")
    body = bytes.fromhex("300b06092a864886f70d010101") + der[19:]
    return b"\x30\x82" + len(body).to_bytes(2, "big") + body


def test_a_key_in_another_encoding_is_refused() -> None:
    stage = Stage()
    der = spki_der()
    assert der[:2] == b"\x30\x82"
    longer = b"\x30\x83\x00" + der[2:]
    assert "SubjectPublicKeyInfo" in stage.refused(document(stage.nsm, longer))
    # Readable, since parameters may be absent, and yet not the bytes that the recipient id is the hash of.
    assert "exact DER" in stage.refused(document(stage.nsm, without_parameters(der)))


@pytest.mark.parametrize("size", [0, DOCUMENT_MAX_BYTES + 1])
def test_the_size_is_checked_before_anything_is_parsed(size: int) -> None:
    assert f"has {size} bytes" in Stage().refused(bytes(size))


def test_the_largest_size_is_parsed() -> None:
    assert "refused (" in Stage().refused(bytes(DOCUMENT_MAX_BYTES))


def _expected(entry: dict[str, Any]) -> str:
    if entry["verdict"] != "accept":
        return "was refused"
    if entry["debug"]:
        return "debug mode"
    if not entry["public_key_hex"]:
        return "holds no public key"
    return "" if entry["public_key_hex"].startswith("30820122300d06092a864886f70d010101") else "the public key is not"


def test_real_documents_are_judged_on_their_day_under_the_real_roots() -> None:
    entries = load_index("attestations")
    if not entries:
        pytest.skip("no recordings beside this checkout")
    for entry in entries:
        clock = TwinClock.frozen(entry["timestamp_ms"] or NOW_MS)
        checker = RecipientChecker(AWS_ROOTS, clock_ms=clock, max_age_s=MAX_DOCUMENT_AGE_S)
        if expected := _expected(entry):
            with pytest.raises(FrontDoorError) as caught:
                checker.check(entry["bytes"])
            assert expected in caught.value.message, entry["file"]
        else:
            assert checker.check(entry["bytes"]).spki_der.hex() == entry["public_key_hex"]
