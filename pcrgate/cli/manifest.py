"""``pcrgate manifest``: make, sign and check release manifests."""

import sys
from typing import Annotated

import typer

from pcrgate.cli.manifest_add import app as add_app
from pcrgate.cli.manifest_draft import format_draft, manifest_json, parse_draft
from pcrgate.cli.manifest_keys import make_key, read_passphrase, read_private_key, read_public_key, verifying_key
from pcrgate.cli.manifest_options import (
    AsJson,
    Days,
    Draft,
    Expires,
    Force,
    Passphrase,
    Pinned,
    at_ms,
    expiry_ms,
    now_ms,
    pinned_keys,
    read_draft,
)
from pcrgate.cli.manifest_tables import show_manifest
from pcrgate.cli.new_file import require_free, write_file
from pcrgate.cli.output import print_json, read_input
from pcrgate.cli.text import printable
from pcrgate.errors import ErrorCode, ManifestError, UsageError
from pcrgate.manifest.public_keys import VerifyingKey
from pcrgate.manifest.release import Manifest
from pcrgate.manifest.signature import SIGNED_MAX_BYTES, parse_manifest, sign_manifest
from pcrgate.manifest.succession import require_successor
from pcrgate.manifest.verification import VerifiedManifest, expected_pcr16, verify_manifest
from pcrgate.units import KeyArn

app = typer.Typer(no_args_is_help=True)
app.add_typer(add_app, name="add", help="Add an entry to a draft.")

_TAG_18 = 0xD2

_Signed = Annotated[str, typer.Argument(metavar="FILE", help="A signed manifest; - reads standard input.")]
_Publishers = Annotated[
    list[str] | None,
    typer.Option("--publisher-key", metavar="HEX|FILE", help="Trust this publisher's public key. Repeatable."),
]


@app.command()
def keygen(
    *,
    output: Annotated[str, typer.Option(metavar="FILE", help="Where the private key goes; FILE.pub gets the other.")],
    passphrase_file: Passphrase = None,
    as_json: AsJson = False,
) -> None:
    """Make an Ed25519 key: PEM, readable by its owner alone, and FILE.pub with 64 hex digits.

    An existing key is never replaced. Exit 0 made, 2 usage.
    """
    public = make_key(output, read_passphrase(passphrase_file))
    facts = {"public_key": public.public_bytes.hex(), "key_id": public.key_id.hex(), "private_key_file": output}
    if as_json:
        print_json(facts)
    else:
        sys.stdout.write(f"public key {facts['public_key']}\nkey id     {facts['key_id']}\n")


@app.command()
def new(
    draft: Draft,
    *,
    epoch: Annotated[
        int | None, typer.Option(metavar="N", help="The epoch; with --previous one more than that.")
    ] = None,
    previous: Annotated[
        str | None, typer.Option(metavar="FILE", help="Begin with the entries of this signed manifest or draft.")
    ] = None,
    session_key: Annotated[str | None, typer.Option(metavar="ARN", help="The KMS key of session keys.")] = None,
    expires: Expires = None,
    days: Days = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Make a draft: a JSON file to edit, or to add entries to.

    Exit 0 made, 1 refused, 2 usage.
    """
    before = None if previous is None else _read_any(previous)
    if epoch is None and before is None:
        raise UsageError(ErrorCode.USAGE_ARGUMENTS, "no epoch, expected --epoch N or --previous FILE")
    session_arn = None if session_key is None else KeyArn.parse(session_key)
    made = Manifest(
        epoch=epoch if epoch is not None else before.epoch + 1 if before is not None else 1,
        issued_ms=now_ms(),
        expires_ms=expiry_ms(expires, days),
        secrets=() if before is None else before.secrets,
        session_key_arn=session_arn or (None if before is None else before.session_key_arn),
        agents=() if before is None else before.agents,
        grants=() if before is None else before.grants,
        rules=() if before is None else before.rules,
        images=() if before is None else before.images,
    )
    if before is not None:
        require_successor(made, before)
    write_file(draft, format_draft(made).encode(), force=force)
    if as_json:
        print_json({"verdict": "made", "draft": draft, "manifest": manifest_json(made)})
    else:
        sys.stdout.write(f"made {printable(draft)}: epoch {made.epoch}; add entries, then pcrgate manifest sign\n")


@app.command()
def sign(
    draft: Draft,
    *,
    key: Annotated[str, typer.Option(metavar="FILE", help="The publisher's private key.")],
    output: Annotated[str, typer.Option(metavar="FILE", help="Where the signed manifest goes.")],
    passphrase_file: Passphrase = None,
    previous: Annotated[
        str | None, typer.Option(metavar="FILE", help="The signed manifest that this one follows: epochs must go up.")
    ] = None,
    publisher_key: _Publishers = None,
    pinned_key: Pinned = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Sign a draft, after every check that an enclave will make, and write the signed manifest.

    --publisher-key names who else may have signed the previous one. Exit 0 signed, 1 refused, 2 usage.
    """
    manifest = read_draft(draft)
    private = read_private_key(key, read_passphrase(passphrase_file))
    publishers = [verifying_key(private), *_publishers(publisher_key)]
    require_free(output, force=force)
    if previous is not None:
        require_successor(manifest, _read_signed(previous, publishers))
    signed = sign_manifest(manifest, private)
    verified = verify_manifest(
        signed, publisher_keys=publishers[:1], floor_epoch=1, now_ms=now_ms(), pinned_keys=pinned_keys(pinned_key)
    )
    write_file(output, signed, force=force)
    if previous is None and manifest.epoch > 1:
        sys.stderr.write(f"note: epoch {manifest.epoch} was compared with nothing, expected --previous FILE\n")
    if as_json:
        print_json({"verdict": "signed", "file": output, **_facts(verified)})
    else:
        show_manifest(verified.manifest, f"signed as {output}", _rows(verified))


@app.command()
def verify(
    file: _Signed,
    *,
    publisher_key: _Publishers = None,
    floor_epoch: Annotated[int, typer.Option(metavar="N", help="Least epoch accepted.")] = 1,
    at: Annotated[str | None, typer.Option(metavar="TIME", help="Judge at this RFC 3339 time, not now.")] = None,
    pinned_key: Pinned = None,
    as_json: AsJson = False,
) -> None:
    """Verify a signed manifest as an enclave does, and print it with its digest and PCR16.

    Exit 0 verified, 1 refused (the first line on stderr names the code and the fact), 2 usage.
    """
    publishers = _publishers(publisher_key)
    if not publishers:
        raise UsageError(ErrorCode.USAGE_ARGUMENTS, "no publisher is trusted, expected --publisher-key HEX|FILE")
    moment, pins = at_ms(at), pinned_keys(pinned_key)
    verified = verify_manifest(
        read_input(file, SIGNED_MAX_BYTES),
        publisher_keys=publishers,
        floor_epoch=floor_epoch,
        now_ms=moment,
        pinned_keys=pins,
    )
    if as_json:
        print_json({"verdict": "verified", **_facts(verified)})
    else:
        show_manifest(verified.manifest, "verified", _rows(verified))


@app.command()
def show(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A signed manifest or a draft; - reads standard input.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Print what a signed manifest or a draft says. Nothing is verified: anybody may have written it.

    Exit 0 readable, 1 refused, 2 usage.
    """
    manifest = _read_any(file)
    if as_json:
        print_json({"verdict": "unverified", "manifest": manifest_json(manifest)})
    else:
        show_manifest(manifest, "unverified, anybody may have written it", [])


def _publishers(words: list[str] | None) -> list[VerifyingKey]:
    return [read_public_key(word) for word in words or []]


def _read_any(name: str) -> Manifest:
    data = read_input(name, SIGNED_MAX_BYTES * 4)
    return parse_manifest(data).claims() if data[:1] == bytes((_TAG_18,)) else parse_draft(data)


def _read_signed(name: str, publishers: list[VerifyingKey]) -> Manifest:
    """Return what one of the publishers signed, whenever that was."""
    unverified = parse_manifest(read_input(name, SIGNED_MAX_BYTES))
    for key in publishers:
        if key.key_id == unverified.key_id:
            key.verify(unverified.signature, unverified.signed_bytes())
            return unverified.claims()
    raise ManifestError(
        ErrorCode.MANIFEST_SIGNER,
        f"{printable(name)} is signed by key {unverified.key_id.hex()}, expected this one or a --publisher-key",
    )


def _facts(verified: VerifiedManifest) -> dict[str, object]:
    return {**dict(_named(verified)), "manifest": manifest_json(verified.manifest)}


def _rows(verified: VerifiedManifest) -> list[tuple[str, str]]:
    return [(name.replace("_", " "), value) for name, value in _named(verified)]


def _named(verified: VerifiedManifest) -> list[tuple[str, str]]:
    return [
        ("digest_sha384", verified.digest.hex()),
        ("pcr16", expected_pcr16(verified.digest).hex()),
        ("publisher_key_id", verified.key_id.hex()),
    ]
