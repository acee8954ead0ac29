"""The variables that point AWS tools at a twin, and how a shell is told of them."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pcrgate.twin.accounts import BootstrapKey

SERVICES: Final = ("CLOUDTRAIL", "IAM", "KMS", "S3", "STS")
"""Services whose own endpoint variable is set beside the general one, for tools that read only those."""


def exports(
    *, url: str, key: BootstrapKey, region: str, ca_path: Path | None, pki_dir: Path, root_fingerprint: bytes
) -> dict[str, str]:
    """Return the variables by name.

    Args:
        url: the endpoint.
        key: the access key to use.
        region: the Region to use.
        ca_path: PEM of the CA behind an HTTPS endpoint, or None for HTTP.
        pki_dir: where the development PKI is saved.
        root_fingerprint: SHA-256 of its root certificate, 32 bytes.
    """
    variables = {
        "AWS_ACCESS_KEY_ID": key.access_key_id,
        "AWS_SECRET_ACCESS_KEY": key.secret_access_key,
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_ENDPOINT_URL": url,
        **{f"AWS_ENDPOINT_URL_{service}": url for service in SERVICES},
        "PCRGATE_TWIN_URL": url,
        "PCRGATE_TWIN_PKI": str(pki_dir),
        "PCRGATE_TWIN_ROOT_SHA256": root_fingerprint.hex(),
    }
    if ca_path is not None:
        variables["AWS_CA_BUNDLE"] = str(ca_path)
    return variables


def render_exports(variables: Mapping[str, str]) -> str:
    """Return ``export NAME=VALUE`` lines for a POSIX shell, sorted."""
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in sorted(variables.items()))
