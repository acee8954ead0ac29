"""The options that several policy commands share."""

from typing import Annotated, Final

import typer

SOURCE: Final = "Policy JSON, the answer of get-key-policy, or terraform show -json; - reads standard input."
File = Annotated[str, typer.Argument(metavar="FILE", help=SOURCE)]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Identity = Annotated[
    list[str] | None,
    typer.Option("--identity", metavar="[ARN=]FILE", help="An identity policy, and whose; anybody's without ARN."),
]
Grants = Annotated[str | None, typer.Option("--grants", metavar="FILE", help="The output of kms list-grants.")]
Metadata = Annotated[str | None, typer.Option("--key-metadata", metavar="FILE", help="The output of kms describe-key.")]
Control = Annotated[
    list[str] | None, typer.Option("--resource-control", metavar="FILE", help="A resource control policy in force.")
]
RequestFile = Annotated[str | None, typer.Option("--request", metavar="FILE", help="The request as JSON.")]
PrincipalName = Annotated[
    str | None, typer.Option(metavar="ARN", help="Who asks: user, role, role session, account root or service.")
]
Action = Annotated[str | None, typer.Option(metavar="ACTION", help="For example kms:Decrypt.")]
Key = Annotated[str | None, typer.Option("--key", metavar="ARN", help="The key.")]
Encryption = Annotated[
    list[str] | None, typer.Option("--encryption-context", metavar="NAME=VALUE", help="A pair of the context.")
]
Context = Annotated[list[str] | None, typer.Option("--context", metavar="KEY=VALUE", help="A condition key.")]
Pcr = Annotated[list[str] | None, typer.Option("--pcr", metavar="N=HEX", help="A register that was attested.")]
NitroTpmPcr = Annotated[
    list[str] | None, typer.Option("--nitrotpm-pcr", metavar="N=HEX", help="A NitroTPM register that was attested.")
]
Evidence = Annotated[
    str | None, typer.Option("--evidence", metavar="FILE", help="The attestation document that came along.")
]
Root = Annotated[
    list[str] | None, typer.Option("--root-fingerprint", metavar="HEX", help="Pin this root instead of AWS's.")
]
