"""Hold a manifest to the one it follows: epochs go up, and nothing changes under an epoch that stays."""

from pcrgate.errors import ErrorCode, ManifestError
from pcrgate.manifest.release import Manifest
from pcrgate.manifest.sealed_secret import SealedSecret


def require_successor(manifest: Manifest, previous: Manifest) -> None:
    """Refuse a manifest that may not follow another.

    Args:
        manifest: the one to be signed.
        previous: the one signed before it.

    Raises:
        ManifestError: ``manifest-rollback``.
    """
    if manifest.epoch <= previous.epoch:
        raise ManifestError(
            ErrorCode.MANIFEST_ROLLBACK, f"the manifest has epoch {manifest.epoch}, expected more than {previous.epoch}"
        )
    before = {secret.name: secret for secret in previous.secrets}
    for secret in manifest.secrets:
        earlier = before.get(secret.name)
        if earlier is None or secret.epoch > earlier.epoch:
            continue
        if secret.epoch < earlier.epoch:
            raise ManifestError(
                ErrorCode.MANIFEST_ROLLBACK,
                f"{secret.name} has epoch {secret.epoch}, expected at least {earlier.epoch}",
            )
        if _sealed(secret) != _sealed(earlier):
            raise ManifestError(
                ErrorCode.MANIFEST_ROLLBACK,
                f"{secret.name} changed under epoch {secret.epoch}, expected a greater one for another content or key",
            )


def _sealed(secret: SealedSecret) -> tuple[object, ...]:
    return (secret.secret_class, secret.format, secret.key_arn, secret.expectation())
