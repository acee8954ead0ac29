"""Run everything until Ctrl-C: twin over TLS, provisioned keys, parent, enclave, a published model, tokens."""

import shlex
import struct
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

from local.deployment import Deployment
from local.interruption import interruptible, without_foreign_settings
from local.onnx_model import adding_model
from local.provision import BotoProvisioner
from local.publishing import AGENT, PAYEE, LaptopPublisher
from pcrgate.cli.output import console, print_json
from pcrgate.twin.server import Twin
from pcrgate.twin.settings import TwinSettings
from service.state_store import Role

MODEL: Final = "adder"
WEIGHTS: Final = (1.0, 2.0, 3.0, 0.125)
"""What the model adds to its input."""

EPOCH: Final = 1
WATCH_S: Final = 0.5
"""How often it is looked whether both processes still run."""

_ACTION: Final = f"""{{
  "tool": "payments.transfer",
  "arguments": {{"to": "{PAYEE}", "amount": {{"currency": "EUR", "minor_units": 2500}}}},
  "purpose": "invoice"
}}
"""


def run(*, port: int, as_json: bool) -> int:
    """Serve until interrupted; return 0.

    Args:
        port: of the service, 0 for any free one.
        as_json: print one JSON object once ready, instead of text.

    Raises:
        PcrgateError: ``usage-port``, ``local-process``.
    """
    began = time.monotonic()
    try:
        with interruptible(), without_foreign_settings(), open_deployment(port) as deployment:
            facts = ready_facts(deployment, ready_s=time.monotonic() - began)
            if as_json:
                print_json(facts)
            else:
                tell(facts)
            sys.stdout.flush()
            while True:
                time.sleep(WATCH_S)
                deployment.require_running()
    except KeyboardInterrupt:
        if not as_json:
            sys.stderr.write("ended; nothing is left behind\n")
    return 0


@contextmanager
def open_deployment(port: int) -> Iterator[Deployment]:
    """Yield a deployment that serves the smallest model."""
    with (
        console(on_stderr=True).status("starting twin, keys, parent and enclave") as status,
        tempfile.TemporaryDirectory(prefix="pcrgate-dev-") as name,
        Twin(TwinSettings(http_port=None, https_port=0)) as twin,
    ):
        publisher = LaptopPublisher()
        provisioner = BotoProvisioner(twin, publisher.verifying_key)
        with closing(Deployment(Path(name), twin, provisioner, publisher)) as deployment:
            deployment.start_parent(port)
            deployment.approve(deployment.measured())
            enclave = deployment.start_enclave()
            deployment.publish(deployment.seal(MODEL, adding_model(WEIGHTS), epoch=EPOCH), epoch=EPOCH)
            enclave.require_live()
            (deployment.folder / "action.json").write_text(_ACTION)
            (deployment.folder / "input.bin").write_bytes(struct.pack(f"<{len(WEIGHTS)}f", *[1.0] * len(WEIGHTS)))
            status.stop()
            yield deployment


def ready_facts(deployment: Deployment, *, ready_s: float) -> dict[str, Any]:
    """Return what scripts and people need in order to use it."""
    return {
        "service_url": deployment.url,
        "twin_url": deployment.twin.url,
        "folder": str(deployment.folder),
        "trust_policy": str(deployment.trust_file),
        "agent": AGENT,
        "agent_key": str(deployment.key_file),
        "token_file": str(deployment.token_file(Role.CALLER)),
        "publisher_token_file": str(deployment.token_file(Role.PUBLISHER)),
        "twin_ca_file": str(deployment.ca_file),
        "pcr0": deployment.measured().hex(),
        "model": MODEL,
        "commands": commands(deployment),
        "ready_s": round(ready_s, 3),
    }


def commands(deployment: Deployment) -> dict[str, str]:
    """Return lines for another shell, wherever it stands."""
    program = Path(sys.executable).parent / "pcrgate"
    begin = [str(program)] if program.is_file() else [sys.executable, "-m", "pcrgate.cli.main"]
    how = ["--url", deployment.url, "--token-file", str(deployment.token_file(Role.CALLER))]
    how += ["--trust", str(deployment.trust_file), "--agent", AGENT, "--key", str(deployment.key_file)]
    infer = ["infer", MODEL, str(deployment.folder / "input.bin"), "--input", "x", "--type", "float32"]
    words = {
        "attest": ["agent", "attest", *how],
        "validate": ["agent", "validate", str(deployment.folder / "action.json"), *how],
        "infer": ["agent", *infer, "--shape", str(len(WEIGHTS)), *how],
        "receipts": ["agent", "receipts", *how],
        "twin environment": ["twin", "env", "--url", deployment.twin.url, "--ca-file", str(deployment.ca_file)],
    }
    return {name: shlex.join([*begin, *rest]) for name, rest in words.items()}


def tell(facts: Mapping[str, Any]) -> None:
    """Say what runs, and how to call it; commands stand on one line each, to be pasted."""
    say = sys.stdout.write
    say(f"ready in {facts['ready_s']:.1f} s; end it with Ctrl-C\n\n")
    for name, key in (
        ("service", "service_url"),
        ("KMS twin", "twin_url"),
        ("PCR0", "pcr0"),
        ("trust policy", "trust_policy"),
        ("agent's key", "agent_key"),
        ("agent's token", "token_file"),
        ("publisher's token", "publisher_token_file"),
        ("twin's CA", "twin_ca_file"),
    ):
        say(f"{name:18}{facts[key]}\n")
    say(f"\nThe model {facts['model']} adds {', '.join(map(str, WEIGHTS))} to its input. From another shell:\n")
    for line in facts["commands"].values():
        say(f"\n{line}\n")
