"""The same agent with asyncio: one client, a session, several actions at once, a refusal, and the chain of receipts."""

import argparse
import asyncio
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from pcrgate.client.async_client import AsyncClient
from pcrgate.client.outcome import WorkloadRefusalError
from pcrgate.client.trust import TrustPolicy
from pcrgate.client.work import Action


def query(rows: int) -> Action:
    """Return a query for so many orders."""
    return Action(tool="database.query", arguments={"table": "orders", "rows": rows}, purpose="report")


def client_of(given: argparse.Namespace) -> AsyncClient:
    """Return a client that trusts what the file says, and nothing else."""
    key = load_pem_private_key(Path(given.key).read_bytes(), None)
    if not isinstance(key, Ed25519PrivateKey):
        raise SystemExit("the agent's key is of another kind, expected Ed25519")
    return AsyncClient(
        given.url,
        trust=TrustPolicy.read(Path(given.trust)),
        agent_id=given.agent,
        agent_key=key,
        token=Path(given.token_file).read_text().strip(),
    )


async def talk(client: AsyncClient) -> None:
    """Attest, ask, and audit."""
    async with client:
        # Evidence is appraised before the first secret byte is sent; what was compared can be told.
        attested = await client.attest()
        print("enclave", attested.result.evidence.module_id, "matches", dict(attested.result.matched))
        async with await client.session() as session:
            outcomes = await asyncio.gather(*(session.validate(query(rows)) for rows in (10, 20, 30)))
            print("admitted", len(outcomes), "queries")
            try:
                await session.validate(query(1_000_000))
            except WorkloadRefusalError as refusal:
                # A refusal has a receipt too, signed by the same attested key.
                print("refused", refusal.code.code, "receipt", refusal.receipt.claims.observed.sequence)
        # Every receipt of this boot, other agents' included, is one chain without a gap.
        print("chain of", len(await client.receipts()), "receipts, verified")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--url", "--token-file", "--trust", "--agent", "--key"):
        parser.add_argument(name, required=True)
    asyncio.run(talk(client_of(parser.parse_args())))
