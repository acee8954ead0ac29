"""Read what an operator sets: from the environment (``PCRGATE_SERVICE_...``) or from code; every value is bounded.

Nothing here decides trust; that is measured into the enclave. Nothing here is secret: the key of the tokens lies in a
file of its own.
"""

from pathlib import Path
from typing import Annotated, Final, Self

from annotated_types import Ge, Le
from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from pcrgate.errors import ErrorCode, UsageError

BODY_MAX_BYTES: Final = 1_500_000
"""Longest body but for artifacts: 1 MiB of sealed content in base64, and room for JSON around it."""

_PORT_MAX: Final = 65_535
_DAY_S: Final = 86_400


class ServiceSettings(BaseSettings):
    """Hold an operator's settings.

    Attributes:
        data_directory: where state, tokens' key and, without a bucket, sealed files are kept.
        bucket: S3 bucket for sealed files; None keeps them in the data directory.
        bucket_prefix: what the names of all objects begin with.
        host: address to listen on.
        port: TCP port to listen on.
        tls_certificate: PEM file of the certificate chain; None for plain HTTP behind something that ends TLS.
        tls_key: PEM file of its key.
        enclave_cid: CID of the enclave, 4 and up.
        enclave_port: AF_VSOCK port on which the enclave listens.
        broker_port: AF_VSOCK port on which the enclave asks for manifest, credentials and sealed files.
        relay_port: AF_VSOCK port on which the enclave reaches KMS.
        kms_host: the one host that is relayed to, such as ``kms.eu-central-1.amazonaws.com``; empty for no relay.
        artifact_max_bytes: longest sealed file.
        requests_at_once: most requests in progress, each holding at most ``BODY_MAX_BYTES``.
        requests_waiting: most requests in line for that, each holding at most the 64 KiB that are read ahead.
        requests_wait_s: longest wait in line; whoever waits longer had better ask again than hold a connection.
        invocations_at_once: most invocations that the enclave carries out at the same time.
        invocations_waiting: most invocations that wait for their turn; more are asked to come later.
        rate_per_s: requests a second that one token may send.
        rate_burst: requests that one token may send at once.
        body_timeout_s: longest wait for the next piece of a body.
        wait_max_s: longest ``Prefer: wait``.
        result_keep_s: how long results are kept.
        upload_keep_s: how long an upload that is not complete may pause before what arrived of it is dropped.
        drain_s: how long requests in progress may take after SIGTERM.
    """

    model_config = SettingsConfigDict(env_prefix="PCRGATE_SERVICE_", frozen=True, extra="forbid")

    data_directory: Path
    bucket: str | None = None
    bucket_prefix: str = "pcrgate/"
    host: str = "127.0.0.1"
    port: Annotated[int, Ge(0), Le(_PORT_MAX)] = 8080
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    enclave_cid: Annotated[int, Ge(4)] = 16
    enclave_port: Annotated[int, Ge(1)] = 5000
    broker_port: Annotated[int, Ge(1)] = 8001
    relay_port: Annotated[int, Ge(1)] = 8000
    kms_host: str = ""
    artifact_max_bytes: Annotated[int, Ge(1), Le(78 << 30)] = 64 << 30
    requests_at_once: Annotated[int, Ge(1), Le(1024)] = 64
    requests_waiting: Annotated[int, Ge(0), Le(1024)] = 256
    requests_wait_s: Annotated[float, Ge(0), Le(60)] = 5.0
    invocations_at_once: Annotated[int, Ge(1), Le(256)] = 16
    invocations_waiting: Annotated[int, Ge(1), Le(10_000)] = 256
    rate_per_s: Annotated[float, Ge(0.01), Le(100_000)] = 50.0
    rate_burst: Annotated[int, Ge(1), Le(100_000)] = 100
    body_timeout_s: Annotated[float, Ge(0.01), Le(600)] = 15.0
    wait_max_s: Annotated[int, Ge(0), Le(300)] = 60
    result_keep_s: Annotated[int, Ge(1), Le(30 * _DAY_S)] = _DAY_S
    upload_keep_s: Annotated[int, Ge(3600), Le(90 * _DAY_S)] = 7 * _DAY_S
    drain_s: Annotated[float, Ge(0), Le(600)] = 20.0

    @classmethod
    def read(cls) -> Self:
        """Return the settings of the environment.

        Raises:
            UsageError: ``service-settings``; the message names the settings, never their values.
        """
        try:
            return cls.model_validate({})
        except ValidationError as error:
            names = sorted({".".join(str(part) for part in one["loc"]) for one in error.errors()})
            raise UsageError(
                ErrorCode.SERVICE_SETTINGS,
                f"cannot use {', '.join(names)}, expected what docs/operations.md says of PCRGATE_SERVICE_*",
            ) from error
