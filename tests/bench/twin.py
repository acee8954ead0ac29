"""Bench group ``twin``: attested Decrypt over HTTP, beside Decrypt of plain moto and of the twin without recipient.

Client and server share this process, as they do in a test suite. The same document and recipient key serve every call:
what an enclave does before the call is not the twin's cost.
"""

from contextlib import ExitStack
from typing import Any

import boto3

from pcrgate.twin.clients import root_credentials
from pcrgate.twin.nsm import SoftwareNsm
from pcrgate.twin.server import Twin
from pcrgate.twin.settings import TwinSettings
from pcrgate.units import Sha384
from tests.bench.figure import Figure, interleaved
from tests.support.plain_moto import plain_moto
from tests.support.twin_stage import CONTEXT, PLAINTEXT, document, recipient, spki_der

LEAST_PER_S = 80


def figures() -> list[Figure]:
    """Return calls a second, and the overhead over moto's Decrypt as a ratio."""
    with ExitStack() as stack:
        twin = stack.enter_context(Twin(TwinSettings(http_port=0)))
        moto = stack.enter_context(plain_moto())
        credentials = root_credentials(twin)
        nsm = SoftwareNsm(pki=twin.pki, pcrs={0: Sha384(b"\x01" * 48)}, clock=twin.clock)
        sent = recipient(document(nsm, spki_der()))

        def client(url: str) -> Any:
            return boto3.client(
                "kms",
                endpoint_url=url,
                region_name="eu-central-1",
                aws_access_key_id=credentials.access_key_id,
                aws_secret_access_key=credentials.secret_access_key,
            )

        ours, plain = client(twin.http_url), client(moto.url)
        blobs = {}
        for name, kms in (("twin", ours), ("moto", plain)):
            key = kms.create_key()["KeyMetadata"]["Arn"]
            blobs[name] = kms.encrypt(KeyId=key, Plaintext=PLAINTEXT, EncryptionContext=CONTEXT)["CiphertextBlob"]
        attested = ours.decrypt(CiphertextBlob=blobs["twin"], EncryptionContext=CONTEXT, Recipient=sent)
        if "Plaintext" in attested:
            raise RuntimeError("the twin answered with a plaintext, so nothing here was attested")
        seconds = interleaved(
            {
                "attested": lambda: ours.decrypt(
                    CiphertextBlob=blobs["twin"], EncryptionContext=CONTEXT, Recipient=sent
                ),
                "unattested": lambda: ours.decrypt(CiphertextBlob=blobs["twin"], EncryptionContext=CONTEXT),
                "moto": lambda: plain.decrypt(CiphertextBlob=blobs["moto"], EncryptionContext=CONTEXT),
            },
            repetitions=15,
            min_time_s=0.05,
        )
    return [
        Figure.at_least("attested Decrypt over HTTP", 1 / seconds["attested"], "/s", LEAST_PER_S),
        Figure.plain("Decrypt without recipient over HTTP", 1 / seconds["unattested"], "/s"),
        Figure.plain("attested Decrypt against plain moto's Decrypt", seconds["attested"] / seconds["moto"], "x"),
        Figure.plain("Decrypt without recipient against moto's", seconds["unattested"] / seconds["moto"], "x"),
    ]
