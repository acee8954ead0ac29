"""``pcrgate policy prove``: is there any request that gets plaintext without an approved attestation?"""

from dataclasses import replace
from typing import Annotated

import typer

from kms_policies.prover import Question, prove
from kms_policies.prover_universe import Universe
from kms_policies.request import KeyMetadata
from pcrgate.cli.main import EXIT_REFUSED
from pcrgate.cli.output import print_json
from pcrgate.cli.policy_files import (
    invalid_is_usage,
    parse_approved,
    read_controls,
    read_grants,
    read_identities,
    read_metadata,
    read_sources,
)
from pcrgate.cli.policy_options import SOURCE, AsJson, Control, Grants, Identity, Metadata
from pcrgate.cli.policy_proofs import describe_proof, overall, show_proof
from pcrgate.units import KeyArn


def prove_command(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help=SOURCE)],
    *,
    pcr0: Annotated[list[str] | None, typer.Option("--pcr0", metavar="HEX", help="An approved PCR0.")] = None,
    pcr: Annotated[
        list[str] | None, typer.Option("--pcr", metavar="N=HEX", help="A further register that must match as well.")
    ] = None,
    nitrotpm_pcr: Annotated[
        list[str] | None,
        typer.Option("--nitrotpm-pcr", metavar="N=HEX", help="An approved NitroTPM register: 4, 7 and 12."),
    ] = None,
    administrator: Annotated[
        list[str] | None, typer.Option("--administrator", metavar="ARN", help="A declared trust anchor.")
    ] = None,
    identity: Identity = None,
    identity_complete: Annotated[
        list[str] | None,
        typer.Option("--identity-complete", metavar="ACCOUNT", help="All identity policies of this account are given."),
    ] = None,
    grants: Grants = None,
    key_metadata: Metadata = None,
    resource_control: Control = None,
    availability: Annotated[
        bool, typer.Option("--availability", help="Fail also when someone can make the key unusable.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Prove that no plaintext leaves but to an approved measurement. Exit 0 proven, 1 not proven, 2 no valid policy."""
    with invalid_is_usage(as_json=as_json):
        approved = parse_approved(pcr0, pcr, nitrotpm_pcr)
        identities, listed, metadata = read_identities(identity), read_grants(grants), read_metadata(key_metadata)
        controls = read_controls(resource_control)
        proofs, digests = {}, {}
        for one in read_sources(files):
            question = Question(
                key_policy=one.policy,
                approved=approved,
                identity_policies=identities,
                identity_complete=frozenset(identity_complete or []),
                grants=(*listed, *one.grants),
                key=metadata,
                administrators=frozenset(administrator or []),
                resource_control_policies=controls,
                availability_matters=availability,
            )
            usual = (False, "AWS_KMS", "SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
            if metadata is None and (one.multi_region, one.origin, one.key_spec, one.key_usage) != usual:
                question = _with_key(question, one.multi_region, one.origin, one.key_spec, one.key_usage)
            proofs[one.address] = prove(question)
            digests[one.address] = one.policy_sha384
    verdict = overall(proofs)
    if as_json:
        policies = [
            {**describe_proof(name, proof), "policy_sha384": digests[name].hex()} for name, proof in proofs.items()
        ]
        print_json({"verdict": verdict, "policies": policies})
    else:
        for name, proof in proofs.items():
            show_proof(name, proof)
            typer.echo(f"  policy SHA-384 {digests[name].hex()}")
    if verdict != "proven":
        raise typer.Exit(EXIT_REFUSED)


def _with_key(question: Question, multi_region: bool, origin: str, key_spec: str, key_usage: str) -> Question:
    """Return the question about a key as a plan describes it; its ARN is not known yet and made up."""
    key_id = "mrk-" + 32 * "0" if multi_region else "00000000-0000-0000-0000-000000000000"
    arn = KeyArn(partition="aws", region="us-east-1", account=Universe(question).account, key_id=key_id)
    metadata = KeyMetadata(arn=arn, multi_region=multi_region, origin=origin, key_spec=key_spec, key_usage=key_usage)
    return replace(question, key=metadata)
