"""Key files of publishers and agents: PEM for the private half, 64 hex digits for the public one."""

import stat
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from pcrgate.cli.new_file import require_free, write_file
from pcrgate.cli.output import read_input
from pcrgate.cli.text import printable
from pcrgate.errors import ErrorCode, ManifestError, UsageError
from pcrgate.manifest.public_keys import PUBLIC_KEY_BYTES, VerifyingKey
from pcrgate.units import parse_hex

KEY_FILE_MAX_BYTES: Final = 8192
"""Longest key file: an encrypted Ed25519 key has some hundred bytes."""

PASSPHRASE_MAX_BYTES: Final = 1024
"""Longest passphrase, and so file of one."""

_PRIVATE_MODE: Final = 0o600
_OTHERS: Final = 0o077


def make_key(name: str, passphrase: bytes | None) -> VerifyingKey:
    """Write a new private key to a file that only its owner reads, and its public half beside it, as ``NAME.pub``.

    Raises:
        UsageError: ``usage-file`` when either exists: a key is never replaced.
    """
    public_name = f"{name}.pub"
    require_free(public_name, force=False)
    key = Ed25519PrivateKey.generate()
    protection: KeySerializationEncryption = (
        NoEncryption() if passphrase is None else BestAvailableEncryption(passphrase)
    )
    write_file(name, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection), mode=_PRIVATE_MODE)
    public = verifying_key(key)
    write_file(public_name, public.public_bytes.hex().encode() + b"\n")
    return public


def verifying_key(key: Ed25519PrivateKey) -> VerifyingKey:
    """Return the public half."""
    return VerifyingKey(key.public_key().public_bytes_raw())


def read_private_key(name: str, passphrase: bytes | None) -> Ed25519PrivateKey:
    """Return the key of a file that nobody else can read.

    Raises:
        UsageError: ``usage-file`` for a file that others can read, or that holds no such key.
    """
    data = read_input(name, KEY_FILE_MAX_BYTES)
    if Path(name).exists() and stat.S_IMODE(Path(name).stat().st_mode) & _OTHERS:
        raise UsageError(
            ErrorCode.USAGE_FILE, f"others can read {printable(name)}, expected: chmod 600 {printable(name)}"
        )
    try:
        key = load_pem_private_key(data, passphrase)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UsageError(
            ErrorCode.USAGE_FILE, f"{printable(name)} holds no private key in PEM, or its passphrase is another"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError(ErrorCode.USAGE_FILE, f"{printable(name)} holds another kind of key, expected Ed25519")
    return key


def read_passphrase(name: str | None) -> bytes | None:
    """Return the passphrase of a file, without its line end; None without a file.

    Raises:
        UsageError: ``usage-file`` when it is empty.
    """
    if name is None:
        return None
    passphrase = read_input(name, PASSPHRASE_MAX_BYTES).rstrip(b"\r\n")
    if not passphrase:
        raise UsageError(ErrorCode.USAGE_FILE, f"{printable(name)} is empty, expected a passphrase")
    return passphrase


def read_public_key(word: str) -> VerifyingKey:
    """Return the public key that a word gives: 64 hex digits, or a file that holds them or a public key in PEM.

    Raises:
        UsageError: ``usage-file``.
        ManifestError: ``manifest-public-key``.
    """
    if len(word) == 2 * PUBLIC_KEY_BYTES and not Path(word).exists():
        return VerifyingKey(parse_hex(word, "the public key"))
    data = read_input(word, KEY_FILE_MAX_BYTES)
    if data.lstrip().startswith(b"-----BEGIN"):
        return _from_pem(data, word)
    try:
        return VerifyingKey(bytes.fromhex(data.decode("ascii").strip()))
    except ValueError as error:
        raise UsageError(
            ErrorCode.USAGE_FILE, f"{printable(word)} holds no public key, expected 64 hex digits or PEM"
        ) from error


def _from_pem(data: bytes, name: str) -> VerifyingKey:
    try:
        key = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UsageError(
            ErrorCode.USAGE_FILE, f"{printable(name)} holds no public key in PEM, expected the public half"
        ) from error
    if not isinstance(key, Ed25519PublicKey):
        raise ManifestError(ErrorCode.MANIFEST_PUBLIC_KEY, "the public key is of another kind, expected Ed25519")
    return VerifyingKey(key.public_bytes_raw())
