"""Publish as a publisher does: seal a model, sign the manifest that names it and what agents may do."""

import io
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from local.provision import Provisioned
from pcrgate.envelope.sealing import seal_message
from pcrgate.manifest.constraints import Equals, IntegerRange, MaxAmount, OneOf
from pcrgate.manifest.grants import ActionRule, Argument, Grant
from pcrgate.manifest.public_keys import VerifyingKey
from pcrgate.manifest.release import Agent, Manifest
from pcrgate.manifest.sealed_secret import SealedSecret, SecretClass, SecretFormat, secret_context
from pcrgate.manifest.signature import sign_manifest
from pcrgate.units import KeyArn

AGENT: Final = "laptop"
"""The agent's name in the manifest."""

PAYEE: Final = "DE02120300000000202051"
"""Whom the agent may pay; an example of an IBAN, nobody's account."""

PAYMENT_MAX_MINOR_UNITS: Final = 10_000
"""Most that the agent may pay at once: 100.00 EUR."""

PAYMENTS_MAX_MINOR_UNITS: Final = 25_000
"""Most that it may pay altogether in one boot."""

LIFETIME_MS: Final = 30 * 24 * 3600 * 1000
"""How long the manifest is good: longer than anybody leaves a laptop's deployment running."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """Hold a sealed model.

    Attributes:
        secret: what the manifest says of it.
        message: the file, for the parent to keep.
    """

    secret: SealedSecret
    message: bytes = field(repr=False)


def seal_model(
    kms: Any,
    key_arn: KeyArn,
    name: str,
    plaintext: bytes,
    *,
    epoch: int,
    expires_ms: int,
    workloads: tuple[str, ...] = ("infer",),
    progress: Callable[[int, int], None] | None = None,
) -> Sealed:
    """Seal an ONNX model, and say what a manifest has to say of it.

    Args:
        kms: a stock client of the publisher's role.
        key_arn: the weights' key.
        name: of the model.
        plaintext: the model.
        epoch: of it; greater whenever it changes.
        expires_ms: when it is good no more, milliseconds since the epoch.
        workloads: what may use it.
        progress: told sealed and total bytes.

    Raises:
        ReleaseError: when KMS does not wrap the data key.
    """
    context = secret_context(SecretClass.WEIGHTS, name, epoch)
    out = io.BytesIO()
    sealed = seal_message(
        io.BytesIO(plaintext),
        out.write,
        client=kms,
        key_arn=key_arn,
        encryption_context=context,
        plaintext_bytes=len(plaintext),
        progress=progress,
    )
    secret = SealedSecret(
        secret_class=SecretClass.WEIGHTS,
        name=name,
        epoch=epoch,
        format=SecretFormat.ONNX,
        key_arn=key_arn,
        encryption_context=context,
        header_sha384=sealed.measurement.header_sha384,
        frames_sha384=sealed.measurement.frames_sha384,
        plaintext_sha384=sealed.plaintext_sha384,
        plaintext_bytes=len(plaintext),
        workloads=workloads,
        expires_ms=expires_ms,
    )
    return Sealed(secret=secret, message=out.getvalue())


@dataclass(frozen=True, slots=True, kw_only=True)
class LaptopPublisher:
    """Hold who publishes, and for whom.

    Attributes:
        key: signs manifests.
        agent_key: of the one agent.
        made_ms: when; manifests count from then on.
    """

    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate, repr=False)
    agent_key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate, repr=False)
    made_ms: int = field(default_factory=lambda: time.time_ns() // 1_000_000)

    @property
    def verifying_key(self) -> VerifyingKey:
        """The public half, which enclave and agents know."""
        return VerifyingKey(self.key.public_key().public_bytes_raw())

    def seal(
        self,
        kms: Any,
        provisioned: Provisioned,
        name: str,
        plaintext: bytes,
        *,
        epoch: int,
        progress: Callable[[int, int], None] | None = None,
    ) -> Sealed:
        """Seal a model under the weights' key, as :func:`seal_model` does, for the time of the manifest."""
        return seal_model(
            kms, provisioned.weights_key, name, plaintext, epoch=epoch, expires_ms=self.made_ms + LIFETIME_MS,
            progress=progress,
        )  # fmt: skip

    def manifest(self, provisioned: Provisioned, sealed: Sealed, *, epoch: int) -> bytes:
        """Return the signed manifest that names one model, one agent, and what it may do."""
        expires_ms = self.made_ms + LIFETIME_MS
        public_key = VerifyingKey(self.agent_key.public_key().public_bytes_raw())
        manifest = Manifest(
            epoch=epoch,
            issued_ms=self.made_ms - 1000,
            expires_ms=expires_ms,
            secrets=(sealed.secret,),
            session_key_arn=provisioned.session_key,
            agents=(Agent(name=AGENT, public_key=public_key),),
            grants=(
                Grant(agent=AGENT, workload="validate", actions=_actions(), expires_ms=expires_ms),
                Grant(
                    agent=AGENT,
                    workload="infer",
                    actions=(ActionRule(action=sealed.secret.name),),
                    expires_ms=expires_ms,
                ),
            ),
        )
        return sign_manifest(manifest, self.key)


def _actions() -> tuple[ActionRule, ...]:
    amount = MaxAmount(
        currency="EUR",
        max_minor_units=PAYMENT_MAX_MINOR_UNITS,
        total_minor_units_per_boot=PAYMENTS_MAX_MINOR_UNITS,
    )
    return (
        ActionRule(
            action="payments.transfer",
            arguments={"to": Argument(constraint=OneOf(values=(PAYEE,))), "amount": Argument(constraint=amount)},
            purposes=("invoice",),
        ),
        ActionRule(
            action="database.query",
            arguments={
                "table": Argument(constraint=Equals(value="orders")),
                "rows": Argument(constraint=IntegerRange(minimum=1, maximum=100)),
            },
            purposes=("report",),
        ),
    )
