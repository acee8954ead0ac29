"""Boot: from measured configuration to a live enclave, one numbered step after the other; failure is the end.

Spec: docs/enclave.md, "Boot".
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from enclave.clock import OwnClock
from enclave.configuration import MeasuredConfiguration
from enclave.counters import Counter, Counters
from enclave.desk import Desk
from enclave.handshakes import Handshakes
from enclave.hardening import mix_randomness
from enclave.identity import Identity
from enclave.invocations import Invocations
from enclave.kms_release import KmsDataKeys, policy_hash, release_weights, secrets_of
from enclave.parent_link import ParentLink
from enclave.phases import Phase, PhaseMachine
from enclave.receipt_book import ReceiptBook
from enclave.sessions import SessionTable
from enclave.workloads.contract import ReleasedSecret, StartedWorkload, Workload
from enclave.workloads.registry import WORKLOADS, chosen
from pcrgate.attestation.anchors import Roots
from pcrgate.envelope.session_enclave import EnclaveHandshake
from pcrgate.envelope.session_identity import BootKeys
from pcrgate.envelope.session_limits import SessionLimits
from pcrgate.errors import ErrorCode, NsmError, PcrgateError, WireError
from pcrgate.kms.client import attested_kms_client
from pcrgate.kms.configuration import AttestedKmsConfiguration
from pcrgate.kms.key_pool import RecipientKeyPool
from pcrgate.kms.nsm import Nsm
from pcrgate.kms.nsm_messages import NsmClient
from pcrgate.kms.relay import Dialer
from pcrgate.manifest.sealed_secret import SealedSecret
from pcrgate.manifest.verification import MANIFEST_PCR, VerifiedManifest, expected_pcr16, verify_manifest
from pcrgate.receipts.claims import Decision
from pcrgate.receipts.signer import Event, ReceiptSigner
from pcrgate.units import PcrIndex

if TYPE_CHECKING:
    from mypy_boto3_kms import KMSClient

PARENT_WAIT_S: Final = 60.0
"""How long the boot waits for a parent that does not answer yet."""

PARENT_RETRY_S: Final = 0.2
"""Pause between two attempts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """Hold what is around the enclave: the one place where production and laptop differ.

    Attributes:
        nsm: the device.
        roots: what its documents must lead to.
        broker: dials the parent's broker.
        relay: dials the parent's relay to KMS.
    """

    nsm: Nsm
    roots: Roots
    broker: Dialer
    relay: Dialer


class Boot:
    """Carry out one boot."""

    def __init__(
        self,
        configuration: MeasuredConfiguration,
        surroundings: Surroundings,
        *,
        phases: PhaseMachine,
        counters: Counters,
        known: Sequence[Workload] = WORKLOADS,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Take what the boot starts from.

        Args:
            configuration: measured.
            surroundings: device, roots and dialers.
            phases: advanced as the boot goes on.
            counters: what is counted.
            known: the workloads of the image.
            sleep: waits so many seconds.
        """
        self._configuration: Final = configuration
        self._phases: Final = phases
        self._counters: Final = counters
        self._known: Final = known
        self._sleep: Final = sleep
        self._relay: Final = surroundings.relay
        self._parent: Final = ParentLink(surroundings.broker)
        self._nsm: Final = NsmClient(surroundings.nsm, roots=surroundings.roots)

    def run(self, desk: Desk) -> None:
        """Boot, and open the desk step by step; an error ends in the failed phase and is told there.

        Args:
            desk: answers requests.
        """
        try:
            self._run(desk)
        except PcrgateError as error:
            self._phases.fail(error.code)
        except Exception:  # noqa: BLE001 - whatever it is, the enclave must not go on
            self._phases.fail(ErrorCode.INTERNAL)

    def _run(self, desk: Desk) -> None:
        # 1. Own time, from the first document; randomness of the module into the kernel's.
        clock = OwnClock(self._nsm.attestation().evidence.timestamp_ms)
        mix_randomness(self._nsm)
        # 2. The manifest: verified, measured into PCR16, which is locked for the rest of the boot.
        workloads = chosen(self._configuration.workloads, self._known)
        manifest = self._verified_manifest(clock)
        self._measure(manifest)
        # 3. The keys of this boot, and what is said of them.
        boot = BootKeys.generate(manifest.digest)
        limits = SessionLimits(lifetime_s=self._configuration.session_lifetime_s)
        handshake = EnclaveHandshake(boot, limits=limits)
        receipts = ReceiptBook(ReceiptSigner(boot))
        identity = Identity(self._nsm, boot, handshake, clock, self._counters)
        desk.attested(identity, receipts, clock)
        self._phases.advance(Phase.ATTESTED)
        # 4. Door 1: what the manifest lists, each workload its own class.
        self._phases.advance(Phase.RELEASING)
        client = self._kms()
        session_key = manifest.manifest.session_key_arn
        observed_key = session_key or next((key_arn for key_arn, _ in manifest.manifest.kms_keys()), None)
        receipts.policy_hash = None if observed_key is None else policy_hash(client, observed_key)
        started = self._start(workloads, manifest, client, clock, receipts)
        # 5. Live.
        sessions = SessionTable()
        desk.live(
            Handshakes(
                handshake=handshake,
                manifest=manifest.manifest,
                data_keys=None if session_key is None else KmsDataKeys(client, session_key),
                limits=limits,
                sessions=sessions,
                receipts=receipts,
                clock=clock,
                counters=self._counters,
            ),
            Invocations(
                boot=boot,
                manifest=manifest,
                workloads=started,
                once=frozenset(workload.name for workload in workloads if workload.once),
                sessions=sessions,
                receipts=receipts,
                clock=clock,
                counters=self._counters,
            ),
        )
        self._phases.advance(Phase.LIVE)

    def _verified_manifest(self, clock: OwnClock) -> VerifiedManifest:
        return verify_manifest(
            self._asked(self._parent.manifest),
            publisher_keys=self._configuration.publisher_keys,
            floor_epoch=self._configuration.manifest_floor_epoch,
            now_ms=clock.now_ms(),
            pinned_keys=self._configuration.pinned_keys,
        )

    def _asked(self, ask: Callable[[], bytes]) -> bytes:
        """Return what the parent answers, waiting for one that is not up yet."""
        attempts = int(PARENT_WAIT_S / PARENT_RETRY_S)
        for _ in range(attempts):
            try:
                return ask()
            except WireError as error:
                if error.code is not ErrorCode.WIRE_LINK:
                    raise
            self._sleep(PARENT_RETRY_S)
        return ask()

    def _measure(self, manifest: VerifiedManifest) -> None:
        """Extend PCR16 by the manifest's digest once, and lock it."""
        index = PcrIndex(MANIFEST_PCR)
        before = self._nsm.describe_pcr(index)
        if before.locked or not before.value.is_zero:
            raise NsmError(ErrorCode.ENCLAVE_MANIFEST_LOCK, "PCR16 is not as at boot, expected zero and open")
        after = self._nsm.extend_pcr(index, manifest.digest.digest)
        self._nsm.lock_pcr(index)
        if after != expected_pcr16(manifest.digest) or self._nsm.describe_pcr(index).value != after:
            raise NsmError(ErrorCode.ENCLAVE_MANIFEST_LOCK, "PCR16 is not what the manifest makes of it")

    def _kms(self) -> "KMSClient":
        return attested_kms_client(
            AttestedKmsConfiguration(
                pinned_keys=self._configuration.pinned_keys,
                ca_bundle=self._configuration.ca_bundle,
                allow_multi_region=self._configuration.allow_multi_region,
                fips=self._configuration.fips,
            ),
            nsm=self._nsm,
            dialer=self._relay,
            credentials=self._parent,
            recipient_keys=RecipientKeyPool(),
        )

    def _start(
        self,
        workloads: Sequence[Workload],
        manifest: VerifiedManifest,
        client: "KMSClient",
        clock: OwnClock,
        receipts: ReceiptBook,
    ) -> dict[str, StartedWorkload]:
        left_bytes = self._configuration.weights_max_bytes
        started: dict[str, StartedWorkload] = {}
        for workload in workloads:
            released: dict[str, ReleasedSecret] = {}
            for secret in secrets_of(workload, manifest.manifest, clock.now_ms()):
                receipt = _ReleaseReceipt(receipts=receipts, clock=clock, workload=workload, secret=secret)
                try:
                    released[secret.name] = release_weights(
                        client, secret, self._parent.sealed(secret.header_sha384), max_bytes=left_bytes
                    )
                except PcrgateError as error:
                    receipt.write(error.code)
                    raise
                receipt.write(None)
                self._counters.add(Counter.RELEASES)
                left_bytes -= secret.plaintext_bytes
            started[workload.name] = workload.start(released)
        return started


@dataclass(frozen=True, slots=True, kw_only=True)
class _ReleaseReceipt:
    """Write down that a secret was released at boot, or why not."""

    receipts: ReceiptBook
    clock: OwnClock
    workload: Workload
    secret: SealedSecret

    def write(self, code: ErrorCode | None) -> None:
        self.receipts.write(
            Event(
                request_digest=self.secret.header_sha384,
                result_digest=self.secret.plaintext_sha384 if code is None else None,
                decision=Decision.ACCEPTED if code is None else Decision.REFUSED,
                code=None if code is None else code.code,
                workload=self.workload.name,
                secret_epochs={self.secret.name: self.secret.epoch},
            ),
            self.clock.now_ms(),
        )
