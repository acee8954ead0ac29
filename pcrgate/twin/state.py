"""What belongs to one twin beside its keys: dev PKI, bootstrap keys, TLS files; kept in its folder or thrown away."""

import hmac
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pcrgate.errors import ErrorCode, UsageError
from pcrgate.twin.accounts import BootstrapKey
from pcrgate.twin.pki import ROOT_FILE, DevPki
from pcrgate.twin.private_files import write_whole
from pcrgate.twin.settings import TwinSettings
from pcrgate.twin.tls import TlsFiles

SEED_BYTES: Final = 32
"""Length of the twin's seed: 256 bits, the strength of everything derived from it."""

_SEED_FILE: Final = "twin-seed.private"
_STARTS_FILE: Final = "twin-starts"


@dataclass(frozen=True, slots=True, kw_only=True)
class TwinIdentity:
    """Hold what makes this twin this one.

    Attributes:
        seed: what everything below and, for a seeded twin, the keys are derived from.
        pki: the development PKI whose documents the twin accepts.
        pki_dir: where it is saved, so that another process can run a software NSM under it.
        bootstrap: one root access key an account, the owning account's first.
        tls: CA and server certificate.
        starts: how often it was started before. Randomness of a seeded twin depends on it, as the same keys and nonces
            must not come again after a restart.
    """

    seed: bytes
    pki: DevPki
    pki_dir: Path
    bootstrap: tuple[BootstrapKey, ...]
    tls: TlsFiles
    starts: int


def open_identity(settings: TwinSettings, folder: Path) -> TwinIdentity:
    """Return the identity kept in ``folder``, made on first use.

    Raises:
        UsageError: ``usage-file``, or ``twin-settings`` when the folder belongs to a twin of another seed.
    """
    seed = _open_seed(settings.seed, folder / _SEED_FILE)
    pki_dir = folder / "pki"
    if (pki_dir / ROOT_FILE).is_file():
        pki = DevPki.load(pki_dir)
    else:
        pki = DevPki(derive(seed, "pki"))
        pki.save(pki_dir)
    return TwinIdentity(
        seed=seed,
        pki=pki,
        pki_dir=pki_dir,
        bootstrap=tuple(BootstrapKey.derive(seed, account) for account in (settings.account, *settings.other_accounts)),
        tls=TlsFiles.ensure(folder / "tls"),
        starts=_count_start(folder / _STARTS_FILE),
    )


def derive(seed: bytes, purpose: str) -> bytes:
    """Return 32 bytes for one purpose of a seed."""
    return hmac.digest(seed, b"pcrgate twin 1: " + purpose.encode(), "sha256")


def _open_seed(told: bytes | None, path: Path) -> bytes:
    wanted = None if told is None else derive(told, "seed")
    try:
        if path.is_file():
            kept = bytes.fromhex(path.read_text(encoding="ascii"))
        else:
            kept = wanted or secrets.token_bytes(SEED_BYTES)
            write_whole(path, kept.hex().encode())
    except (OSError, ValueError) as error:
        raise UsageError(ErrorCode.USAGE_FILE, "the twin's seed cannot be read or written in its folder") from error
    if wanted is not None and kept != wanted:
        raise UsageError(ErrorCode.TWIN_SETTINGS, "the state directory belongs to a twin of another seed")
    return kept


def _count_start(path: Path) -> int:
    try:
        before = int(path.read_text(encoding="ascii")) if path.is_file() else 0
        write_whole(path, str(before + 1).encode())
    except (OSError, ValueError) as error:
        raise UsageError(ErrorCode.USAGE_FILE, "the twin's count of starts cannot be read or written") from error
    return before
