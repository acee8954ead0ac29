"""Make the attested KMS client: an ordinary boto3-style client on which the stock Encryption SDK works unchanged."""

import logging
import os
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, cast

import botocore
from botocore.config import Config
from botocore.loaders import Loader
from botocore.session import Session

from pcrgate.kms.configuration import AttestedKmsConfiguration
from pcrgate.kms.credentials import CredentialsSource, credential_resolver
from pcrgate.kms.hooks import AttestedHooks
from pcrgate.kms.key_pool import FreshKeys, RecipientKeys
from pcrgate.kms.nsm_messages import NsmClient
from pcrgate.kms.relay import Dialer, RelaySession

if TYPE_CHECKING:
    from mypy_boto3_kms import KMSClient

_BUNDLED_CAS: Final = Path(botocore.__file__).parent / "cacert.pem"

# The service model that was measured, not one from a home folder; shared, so that it is read once.
_LOADER: Final = Loader(extra_search_paths=[Loader.BUILTIN_DATA_PATH], include_default_search_paths=False)

# What the environment could otherwise tell botocore: name in a file, environment variables, value, conversion.
_NOT_FROM_OUTSIDE: Final = {
    "profile": (None, None, None, None),
    "ca_bundle": (None, None, None, None),
    "data_path": (None, None, None, None),
    "config_file": (None, None, os.devnull, None),
    "credentials_file": (None, None, os.devnull, None),
}


def attested_kms_client(
    configuration: AttestedKmsConfiguration,
    *,
    nsm: NsmClient,
    dialer: Dialer,
    credentials: CredentialsSource,
    recipient_keys: RecipientKeys | None = None,
) -> "KMSClient":
    """Return a KMS client of which every release is attested.

    Each call of an operation that takes a recipient gets a fresh key and document and is sent over TLS that ends here.
    The answer is checked before anything of it is used, and the opened plaintext stands where it stands without a
    recipient. Everything else is refused, except reading a pinned key's description and policy. Threads may share it.

    Args:
        configuration: pinned keys, expectations, CA bundle and timeouts, all measured.
        nsm: makes the documents.
        dialer: opens byte streams to the parent's relay.
        credentials: asked on demand and again before they expire.
        recipient_keys: a pool, or None to make each key when it is needed.

    Raises:
        ReleaseError: from each call; see ``AttestedHooks``.
    """
    _keep_credentials_out_of_logs()
    session = Session(session_vars=_NOT_FROM_OUTSIDE)
    session.register_component("credential_provider", credential_resolver(credentials))
    session.register_component("data_loader", _LOADER)
    ca_bundle = configuration.ca_bundle or _BUNDLED_CAS
    # The stubs lag behind botocore's options.
    options: dict[str, Any] = {
        "signature_version": "v4",
        "connect_timeout": configuration.connect_timeout_s,
        "read_timeout": configuration.read_timeout_s,
        "retries": {"mode": "standard", "total_max_attempts": configuration.attempts},
        "proxies": {},
        "ignore_configured_endpoint_urls": True,
        "disable_request_compression": True,
    }
    client = session.create_client(
        "kms",
        region_name=configuration.region,
        endpoint_url=configuration.endpoint_url,
        verify=str(ca_bundle),
        config=Config(**options),
    )
    sender = RelaySession(
        dialer,
        ca_bundle=ca_bundle,
        connect_timeout_s=configuration.connect_timeout_s,
        read_timeout_s=configuration.read_timeout_s,
    )
    weakref.finalize(client, sender.close)
    hooks = AttestedHooks(configuration, nsm, recipient_keys or FreshKeys(), sender)
    hooks.register(client.meta.events)
    # Whoever takes the hook away that sends gets botocore's own sending: there, too, only what was attested leaves.
    vars(client)["_endpoint"].http_session = SimpleNamespace(send=hooks.send_what_was_attested, close=sender.close)
    return cast("KMSClient", client)


def _keep_credentials_out_of_logs() -> None:
    """Raise botocore's log level to INFO: at DEBUG it writes session tokens and whole bodies."""
    logger = logging.getLogger("botocore")
    logger.setLevel(max(logger.level, logging.INFO))
