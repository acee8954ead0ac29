"""An agent in twenty lines: nothing leaves before the enclave's evidence holds against the trust policy."""

import argparse
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from pcrgate.client.client import Client
from pcrgate.client.trust import TrustPolicy
from pcrgate.client.work import Action

parser = argparse.ArgumentParser(description=__doc__)
for name in ("--url", "--token-file", "--trust", "--agent", "--key"):
    parser.add_argument(name, required=True)
given = parser.parse_args()
key = load_pem_private_key(Path(given.key).read_bytes(), None)
if not isinstance(key, Ed25519PrivateKey):
    raise SystemExit("the agent's key is of another kind, expected Ed25519")
token, trust = Path(given.token_file).read_text().strip(), TrustPolicy.read(Path(given.trust))
query = Action(tool="database.query", arguments={"table": "orders", "rows": 10}, purpose="report")
client = Client(given.url, trust=trust, agent_id=given.agent, agent_key=key, token=token)
with client, client.session() as session:  # refused unless fresh evidence holds; then with that enclave alone
    outcome = session.validate(query)  # refused with a code, or a report that the enclave signed
print("admitted, receipt", outcome.receipt.claims.observed.sequence, outcome.receipt.digest.hex()[:16])
