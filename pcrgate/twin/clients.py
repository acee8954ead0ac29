"""Clients that talk to a twin: stock boto3 ones, and the attested one that an enclave uses."""

import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import boto3
import botocore.session
from botocore.config import Config
from botocore.loaders import Loader

from pcrgate.attestation.anchors import Roots
from pcrgate.kms.client import attested_kms_client
from pcrgate.kms.configuration import AttestedKmsConfiguration
from pcrgate.kms.credentials import TemporaryCredentials
from pcrgate.kms.expectation import ReleaseExpectation
from pcrgate.kms.nsm import Nsm
from pcrgate.kms.nsm_messages import NsmClient
from pcrgate.twin.server import Twin

if TYPE_CHECKING:
    from mypy_boto3_kms import KMSClient

STATIC_LIFETIME_S: Final = 12 * 3600
"""For how long long-term credentials are told to be good: they do not expire, and no test lasts that long."""

_LOADER: Final = Loader()


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticCredentials:
    """Give the same credentials each time they are asked for.

    Attributes:
        credentials: those.
    """

    credentials: TemporaryCredentials

    def fetch(self) -> TemporaryCredentials:
        """Return them."""
        return self.credentials


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopbackDialer:
    """Dial the twin's HTTPS listener: a stand-in for the parent's relay.

    Attributes:
        host: address the twin listens on.
        port: its HTTPS port.
    """

    host: str
    port: int

    def dial(self, timeout_s: float | None) -> socket.socket:
        """Return a connected stream socket, or raise OSError."""
        return socket.create_connection((self.host, self.port), timeout=timeout_s)


def root_credentials(twin: Twin, account: str | None = None) -> TemporaryCredentials:
    """Return the bootstrap credentials of an account: its root user."""
    variables = twin.environment(account)
    return TemporaryCredentials(
        access_key_id=variables["AWS_ACCESS_KEY_ID"],
        secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
        session_token=None,
        expires_at_s=int(time.time()) + STATIC_LIFETIME_S,
    )


def session_credentials(answer: Mapping[str, Any]) -> TemporaryCredentials:
    """Return the credentials that ``AssumeRole`` answered with.

    Args:
        answer: what boto3 returned.
    """
    credentials = answer["Credentials"]
    return TemporaryCredentials(
        access_key_id=credentials["AccessKeyId"],
        secret_access_key=credentials["SecretAccessKey"],
        session_token=credentials["SessionToken"],
        expires_at_s=int(credentials["Expiration"].timestamp()),
    )


def boto_client(
    twin: Twin,
    service: str,
    *,
    credentials: TemporaryCredentials | None = None,
    region: str | None = None,
    config: Config | None = None,
) -> Any:
    """Return a stock boto3 client of a service, pointed at the twin.

    Args:
        twin: a running twin.
        service: for example ``kms`` or ``iam``.
        credentials: whose requests it makes; the root user of the owning account by default.
        region: the Region to talk to; the twin's by default.
        config: further options of botocore.
    """
    used = credentials or root_credentials(twin)
    # A session of its own: boto3's default one is not safe between threads and remembers what others set. The loader
    # keeps parsed service models, which take far longer than everything else here.
    session = boto3.Session(
        botocore_session=_session(),
        aws_access_key_id=used.access_key_id,
        aws_secret_access_key=used.secret_access_key,
        aws_session_token=used.session_token,
        region_name=region or twin.settings.region,
    )
    make: Any = session.client  # the stubs want a literal service name
    return make(service, endpoint_url=twin.url, verify=str(twin.ca_path), config=config)


def _session() -> botocore.session.Session:
    session = botocore.session.Session()
    session.register_component("data_loader", _LOADER)
    return session


def attested_client(
    twin: Twin, nsm: Nsm, *expectations: ReleaseExpectation, credentials: TemporaryCredentials | None = None
) -> "KMSClient":
    """Return the attested client of ``pcrgate.kms``, pointed at the twin's HTTPS listener.

    Args:
        twin: a running twin with an HTTPS listener.
        nsm: makes the documents.
        expectations: the releases it may ask for; their keys are the pinned ones.
        credentials: whose requests it makes; the root user of the owning account by default.

    Raises:
        UsageError: ``twin-settings`` when the twin has no HTTPS listener.
    """
    address = urlsplit(twin.https_url)
    return attested_kms_client(
        AttestedKmsConfiguration(
            pinned_keys=frozenset(expectation.key_arn for expectation in expectations),
            expectations=expectations,
            ca_bundle=twin.ca_path,
        ),
        nsm=NsmClient(nsm, roots=Roots.pinned(twin.pki.root_fingerprint)),
        dialer=LoopbackDialer(host=address.hostname or "", port=address.port or 0),
        credentials=StaticCredentials(credentials=credentials or root_credentials(twin)),
    )
