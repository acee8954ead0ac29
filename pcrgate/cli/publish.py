"""``pcrgate publish``: put sealed files and the signed manifest where enclaves find them."""

from pathlib import Path
from typing import Annotated

import typer

from pcrgate.cli.agent import Ca, Json, TokenFile, Url, read_token
from pcrgate.cli.output import console, print_json, progress, read_input
from pcrgate.cli.text import printable
from pcrgate.client.publisher import Publisher
from pcrgate.errors import ErrorCode, UsageError
from pcrgate.manifest.signature import SIGNED_MAX_BYTES

app = typer.Typer(no_args_is_help=True)


@app.command("artifact")
def artifact_command(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A sealed file.")],
    *,
    url: Url,
    token_file: TokenFile,
    ca_file: Ca = None,
    as_json: Json = False,
) -> None:
    """Upload a sealed file; after a break it goes on where it stood. Publish the manifest last."""
    token = read_token(token_file)
    path = Path(file)
    try:
        stream = path.open("rb")
    except OSError as error:
        raise UsageError(ErrorCode.USAGE_FILE, f"cannot read {printable(file)}, expected a file") from error
    with stream, Publisher(url, token=token, verify=ca_file or True) as publisher, progress() as bar:
        task = bar.add_task("uploading", total=path.stat().st_size)
        digest = publisher.put_artifact(stream, progress=lambda received: bar.update(task, completed=received))
    if as_json:
        print_json({"digest": digest, "size_bytes": path.stat().st_size})
    else:
        console().print(f"published {digest}")


@app.command("manifest")
def manifest_command(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A signed manifest; - reads standard input.")],
    *,
    url: Url,
    token_file: TokenFile,
    ca_file: Ca = None,
    as_json: Json = False,
) -> None:
    """Put the signed manifest of its epoch. Enclaves take it up when they boot."""
    signed = read_input(file, SIGNED_MAX_BYTES)
    with Publisher(url, token=read_token(token_file), verify=ca_file or True) as publisher:
        epoch = publisher.put_manifest(signed)
    if as_json:
        print_json({"epoch": epoch})
    else:
        console().print(f"published epoch {epoch}")
