"""``pcrgate seal``: encrypt a secret for release, and say what a manifest has to say of it."""

import logging
import mmap
import sys
from dataclasses import replace
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import boto3
import typer
from botocore.exceptions import BotoCoreError
from typer.core import TyperGroup

from pcrgate.cli.manifest_ciphertext import full_context, opened
from pcrgate.cli.manifest_draft import format_secret, secret_json
from pcrgate.cli.manifest_options import (
    AsJson,
    Days,
    Expires,
    Force,
    Replace,
    Workloads,
    change_draft,
    expiry_ms,
    read_draft,
    require_workloads,
    with_secret,
)
from pcrgate.cli.new_file import cannot_write, new_file, require_free
from pcrgate.cli.output import print_json, progress
from pcrgate.cli.text import printable
from pcrgate.envelope.model_files import ModelFormat, check_model_file
from pcrgate.envelope.sealing import SEALING_FRAME_BYTES, SealedMessage, seal_message
from pcrgate.errors import ErrorCode, ReleaseError, UsageError
from pcrgate.manifest.sealed_secret import SealedSecret, SecretClass, SecretFormat
from pcrgate.units import SHA384_BYTES, KeyArn, Sha384

if TYPE_CHECKING:
    from mypy_boto3_kms import KMSClient


class _Lone(TyperGroup):
    """A group that is one command: its options may stand behind the file."""

    allow_interspersed_args = True

    def __init__(self, **settings: object) -> None:
        super().__init__(**{**settings, "subcommand_metavar": ""})  # type: ignore[arg-type]  # as they came


app = typer.Typer(
    cls=_Lone,
    epilog="Credentials, profile and endpoint come from boto3's environment and files; kms:Encrypt is all it takes. "
    "Model files that can carry code are refused. The entry for a manifest is printed on stdout.",
)

_SUFFIXES = {".onnx": SecretFormat.ONNX, ".safetensors": SecretFormat.SAFETENSORS}


@app.callback(invoke_without_command=True)
def seal(
    file: Annotated[str, typer.Argument(metavar="FILE", help="What to seal.")],
    *,
    key_arn: Annotated[str, typer.Option(metavar="ARN", help="The wrapping key, in full; its Region is called.")],
    name: Annotated[str, typer.Option(metavar="NAME", help="The secret's name in the manifest.")],
    epoch: Annotated[int, typer.Option(metavar="N", help="The secret's epoch, greater than when it last changed.")],
    output: Annotated[str, typer.Option(metavar="FILE", help="Where the sealed message goes.")],
    secret_class: Annotated[SecretClass, typer.Option("--class", help="The class of secret.")] = SecretClass.WEIGHTS,
    file_format: Annotated[
        SecretFormat | None, typer.Option("--format", help="What the file is; else its suffix says.")
    ] = None,
    workload: Workloads = None,
    context: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Further context beside class, name, epoch.")
    ] = None,
    frame_bytes: Annotated[int, typer.Option(metavar="N", help="Frame length, 1 to 4 MiB.")] = SEALING_FRAME_BYTES,
    manifest: Annotated[str | None, typer.Option(metavar="DRAFT", help="Add the entry to this draft, too.")] = None,
    replaces: Replace = False,
    expires: Expires = None,
    days: Days = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Encrypt a file with a data key drawn here, which KMS wraps (kms:Encrypt is all it takes), and print the entry.

    Credentials, profile and endpoint come from boto3's own environment and files. Model files are looked at before
    they are sealed; formats that can carry code are refused. Exit 0 sealed, 1 refused, 2 usage.
    """
    require_free(output, force=force)
    arn = KeyArn.parse(key_arn)
    with opened(file) as stream:
        plaintext_bytes = Path(file).stat().st_size
        planned = SealedSecret(
            secret_class=secret_class,
            name=name,
            epoch=epoch,
            format=_format(file_format, secret_class, file),
            key_arn=arn,
            encryption_context=full_context(secret_class, name, epoch, context),
            header_sha384=_UNKNOWN,
            frames_sha384=_UNKNOWN,
            plaintext_sha384=_UNKNOWN,
            plaintext_bytes=max(plaintext_bytes, 1),
            workloads=require_workloads(workload),
            expires_ms=expiry_ms(expires, days),
        )
        if manifest is not None:  # whatever the draft refuses, before the long work
            with_secret(read_draft(manifest), planned, replaces=replaces)
        _check_model(stream, plaintext_bytes, planned.format)
        sealed = _seal(stream, planned, plaintext_bytes, output, frame_bytes, force=force)
    secret = _measured(planned, sealed)
    if manifest is not None:
        change_draft(manifest, lambda draft: with_secret(draft, secret, replaces=replaces))
    length = sealed.measurement.ciphertext_bytes
    if as_json:
        print_json({"verdict": "sealed", "file": output, "ciphertext_bytes": length, "entry": secret_json(secret)})
    else:
        sys.stdout.write(format_secret(secret))
        added = "" if manifest is None else f", entry added to {printable(manifest)}"
        sys.stderr.write(f"sealed {printable(file)} as {printable(output)}, {length} bytes{added}\n")


_UNKNOWN = Sha384(bytes(SHA384_BYTES))
"""Stands for digests that are not known yet."""


def _format(given: SecretFormat | None, secret_class: SecretClass, file: str) -> SecretFormat:
    if given is not None:
        return given
    if secret_class is SecretClass.CREDENTIALS:
        return SecretFormat.OPAQUE
    found = _SUFFIXES.get(Path(file).suffix.lower())
    if found is None:
        raise UsageError(
            ErrorCode.USAGE_ARGUMENTS, "the suffix tells no format, expected --format onnx or --format safetensors"
        )
    return found


def _check_model(stream: BufferedReader, plaintext_bytes: int, file_format: SecretFormat) -> None:
    """Refuse a file that no loader may see, before it is sealed and signed."""
    if file_format is SecretFormat.OPAQUE:
        return
    if not plaintext_bytes:
        raise ReleaseError(ErrorCode.SEAL_SOURCE, "the plaintext is empty, expected at least one byte")
    with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as view:
        check_model_file(view, ModelFormat(file_format.value))


def _seal(
    stream: BufferedReader, secret: SealedSecret, plaintext_bytes: int, output: str, frame_bytes: int, *, force: bool
) -> SealedMessage:
    client = _kms_client(secret.key_arn)
    with new_file(output, force=force) as sink, progress() as bar:
        task = bar.add_task("sealing", total=plaintext_bytes)

        def write(piece: bytes) -> None:
            try:
                sink.write(piece)
            except OSError as error:
                raise cannot_write(output, error) from error

        return seal_message(
            stream,
            write,
            client=client,
            key_arn=secret.key_arn,
            encryption_context=secret.encryption_context,
            plaintext_bytes=plaintext_bytes,
            frame_bytes=frame_bytes,
            progress=lambda done, _: bar.update(task, completed=done),
        )


def _kms_client(key_arn: KeyArn) -> "KMSClient":
    # The SDK logs what it also raises, with a traceback.
    logging.getLogger("aws_encryption_sdk").addHandler(logging.NullHandler())
    try:
        return boto3.Session().client("kms", region_name=key_arn.region)
    except (BotoCoreError, ValueError) as error:
        raise UsageError(
            ErrorCode.USAGE_ARGUMENTS,
            f"no KMS client: {type(error).__name__}, expected boto3's environment to be right",
        ) from error


def _measured(planned: SealedSecret, sealed: SealedMessage) -> SealedSecret:
    return replace(
        planned,
        header_sha384=sealed.measurement.header_sha384,
        frames_sha384=sealed.measurement.frames_sha384,
        plaintext_sha384=sealed.plaintext_sha384,
        plaintext_bytes=sealed.measurement.plaintext_bytes,
    )
