"""Groups B, F, A and H at the boot: a hostile parent serves the manifest, files, credentials and the way to KMS.

Each attack is played against the real enclave process. Its mutant, with the checks removed that stop it, boots in this
process against the same parent and the same twin, and must go live.
"""

import asyncio
import inspect
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest

from enclave import kms_release
from enclave.workloads import registry
from kms_policies.rendering import Template
from pcrgate.envelope import weights, weights_header
from pcrgate.kms import expectation, relay
from pcrgate.manifest import verification
from pcrgate.manifest.signature import sign_manifest
from pcrgate.twin.server import Twin
from pcrgate.twin.settings import TwinSettings
from pcrgate.units import Sha384
from pcrgate.wire.messages import BlobRequest
from service.broker import Broker
from service.relay import Relay
from tests.attacks.hostile_boot import EVIL, PINS, Removal, boots, play, resealed, without
from tests.attacks.mutants import mutant
from tests.support.enclave_stage import PUBLISHER, EnclaveStage, open_site, open_stage

pytestmark = pytest.mark.network


@pytest.fixture(scope="module")
def stage() -> Iterator[EnclaveStage]:
    with open_stage() as found:
        yield found


def digest_checks() -> tuple[Removal, Removal]:
    """Return the removal of all three digest comparisons, however the formatter broke the line of the last."""
    source = inspect.getsource(weights)
    start = source.index("plaintext_sha384 is not None and not")
    last = source[start : source.index(":\n", start)]
    return (
        (weights_header, (("not hmac.compare_digest(header.sha384.digest, expected.digest)", "False"),)),
        (
            weights,
            (("not hmac.compare_digest(frames_sha384, expectation.frames_sha384.digest)", "False"), (last, "False")),
        ),
    )


def serving(digest: Sha384) -> type[Broker]:
    """Return a broker that serves this file whatever is asked for."""

    class Swapping(Broker):
        async def send_blob(self, request: BlobRequest, writer: asyncio.StreamWriter) -> None:
            await super().send_blob(replace(request, sha384=digest.digest), writer)

    return Swapping


def test_b1_another_sealed_file_under_the_same_key(stage: EnclaveStage) -> None:
    other = stage.seal("other", EVIL, epoch=1)
    broker = serving(other.secret.header_sha384)
    asked = len(stage.twin.audit.records())
    assert play(stage, broker=broker) == "weights-digest"
    # KMS was asked for the policy, and for no release.
    assert {record["eventName"] for record in stage.twin.audit.records()[asked:]} <= {"GetKeyPolicy"}
    with ExitStack() as stack:
        without(
            stack,
            *digest_checks()[1:],
            (
                weights_header,
                (*digest_checks()[0][1], ("opened.encryption_context != dict(encryption_context)", "False")),
            ),
            (expectation, (('parameters.get("EncryptionContext", {}) == dict(self.encryption_context)', "True"),)),
        )
        assert boots(stage, broker=broker)


def test_b2_file_and_context_swapped_together(stage: EnclaveStage) -> None:
    foreign = stage.seal("foreign", EVIL, epoch=1)
    entry = replace(foreign.secret, name="foreign")
    forged = bytearray(sign_manifest(replace(stage.manifest, secrets=(entry,)), PUBLISHER))
    forged[-1] ^= 1  # the parent cannot sign
    assert play(stage, signed=bytes(forged)) == "manifest-signature"
    with mutant(verification, "    key.verify(unverified.signature, unverified.signed_bytes())\n", "    pass\n"):
        assert boots(stage, signed=bytes(forged))


def test_b3_a_file_minted_under_the_right_context(stage: EnclaveStage) -> None:
    minted = stage.seal("adder", EVIL, epoch=3)
    broker = serving(minted.secret.header_sha384)
    assert play(stage, broker=broker) == "weights-digest"
    with ExitStack() as stack:
        without(stack, *digest_checks())
        assert boots(stage, broker=broker)


def test_b5_another_key_of_the_same_account(stage: EnclaveStage) -> None:
    key = stage.make_key(Template.MODEL_WEIGHTS_KEY)
    stage.administrator.put_key_policy(
        KeyId=str(key), PolicyName="default", Policy=stage.policy(Template.MODEL_WEIGHTS_KEY, stage.measured())
    )
    manifest = resealed(stage, key, stage.publisher)
    assert play(stage, manifest=manifest) == "manifest-key-pinned"
    with ExitStack() as stack:
        without(stack, *PINS)
        assert boots(stage, manifest=manifest)


def test_f4_an_older_manifest_with_a_right_signature(stage: EnclaveStage) -> None:
    old = replace(stage.manifest, epoch=4)
    assert play(stage, manifest=old) == "manifest-rollback"
    with mutant(verification, "manifest.epoch < floor_epoch", "False"):
        assert boots(stage, manifest=old)


def test_f5_a_manifest_that_has_expired(stage: EnclaveStage) -> None:
    late = replace(stage.manifest, issued_ms=1_000, expires_ms=2_000)
    assert play(stage, manifest=late) == "manifest-expired"
    with mutant(verification, "now_ms >= manifest.expires_ms", "False"):
        assert boots(stage, manifest=late)


@pytest.mark.filterwarnings("ignore")
def test_b9_a_parent_that_ends_tls_itself(stage: EnclaveStage) -> None:
    with Twin(TwinSettings(https_port=0, http_port=None)) as attacker:
        port = int(attacker.https_url.rpartition(":")[2])

        class Elsewhere(Relay):
            async def dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
                return await asyncio.open_connection("127.0.0.1", port)

        assert play(stage, relay=Elsewhere) in {"weights-header", "enclave-release"}
        assert attacker.audit.records() == ()
        with mutant(
            relay,
            "context.verify_mode = ssl.CERT_REQUIRED\n        context.check_hostname = True",
            "context.check_hostname = False\n        context.verify_mode = ssl.CERT_NONE",
            ('"verify": str(ca_bundle)', '"verify": False'),
        ):
            boots(stage, relay=Elsewhere)
        assert attacker.audit.records() != ()


def test_h20_a_secret_of_another_class_listed_for_a_workload(stage: EnclaveStage) -> None:
    """The publisher slips: weights are listed for ``validate``, which declares no class at all."""
    slipped = replace(stage.model.secret, workloads=("infer", "validate"))
    manifest = replace(stage.manifest, secrets=(slipped,))
    assert play(stage, manifest=manifest) == "workload-unknown"
    seen: list[object] = []

    def curious(secrets: Any) -> Any:
        seen.extend(secrets)
        return object()

    known = tuple(replace(one, start=curious) if one.name == "validate" else one for one in registry.WORKLOADS)
    with open_site(stage, manifest=manifest) as site:
        site.boot(known=known)
        assert seen == []
        with mutant(kms_release, "secret.secret_class is not workload.secret_class", "False"):
            site.boot(known=known)
        assert seen == ["adder"]
