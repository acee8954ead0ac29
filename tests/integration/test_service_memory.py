"""The parent never holds a plaintext: all memory of its process is searched for canaries, under load and after it."""

import base64
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import pytest

from pcrgate.client.outcome import WorkloadRefusalError
from pcrgate.client.work import Action, Tensor
from service.state_store import Role
from tests.attacks.test_enclave_leaks import forms
from tests.integration.test_service_client import QUERY
from tests.support.commands import wait_until
from tests.support.onnx_model import adding_model
from tests.support.process_memory import found_in
from tests.support.process_stage import ProcessStage, agent_key, open_process_stage

pytestmark = pytest.mark.network

CANARY_BYTES = 24
HOLDER = """
import base64, sys
secret = bytes.fromhex(sys.stdin.readline())
held = {"raw": bytearray(secret), "hex": secret.hex(), "base64": base64.b64encode(b"x" + secret)}[sys.argv[1]]
del secret
print("held", flush=True)
sys.stdin.readline()
"""


@contextmanager
def holding(secret: bytes, form: str) -> Iterator[int]:
    """Run a process that holds a secret in one form, and yield its id."""
    command = [sys.executable, "-I", "-c", HOLDER, form]
    with subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(secret.hex() + "\n")
        process.stdin.flush()
        assert process.stdout.readline() == "held\n"
        yield process.pid
        process.stdin.write("\n")


@pytest.mark.parametrize("form", ["raw", "hex", "base64"])
def test_the_search_finds_what_a_process_holds(form: str) -> None:
    secret, other = os.urandom(CANARY_BYTES), os.urandom(CANARY_BYTES)
    with holding(secret, form) as pid:
        found, searched = found_in(pid, {"held": forms(secret), "not held": forms(other)})
    assert found == {"held"}
    assert searched > 1 << 20


def numbers(count: int) -> tuple[float, ...]:
    """Return floats that nobody else has, small enough to be added without a rest."""
    return tuple(float(int.from_bytes(os.urandom(2), "big") + 1) for _ in range(count))


def packed(values: Iterable[float]) -> bytes:
    several = tuple(values)
    return struct.pack(f"<{len(several)}f", *several)


class Load:
    """Send canaries in two sessions until told to stop."""

    def __init__(self, stage: ProcessStage, weights: tuple[float, ...]) -> None:
        self.inputs, self.table = numbers(len(weights)), "canary-" + os.urandom(CANARY_BYTES).hex()
        self.outputs = packed(one + two for one, two in zip(self.inputs, weights, strict=True))
        self.clients = [stage.client(f"load-{number}", agent_key(number)) for number in range(2)]
        self.sessions = [client.session() for client in self.clients]
        self.rounds = [0, 0]
        self.failed: list[Exception] = []
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=work) for work in (self.infer, self.validate)]

    def infer(self) -> None:
        tensor = Tensor(type="float32", shape=(len(self.inputs),), data=packed(self.inputs))
        self.repeat(0, lambda: self.check(self.sessions[0].infer("adder", {"x": tensor})))

    def check(self, outputs: dict[str, Tensor]) -> None:
        assert {output.data for output in outputs.values()} == {self.outputs}

    def validate(self) -> None:
        refused = Action(tool="database.query", arguments={"table": self.table, "rows": 1}, purpose="report")

        def both() -> None:
            self.sessions[1].validate(QUERY)
            with pytest.raises(WorkloadRefusalError):
                self.sessions[1].validate(refused)

        self.repeat(1, both)

    def repeat(self, number: int, work: object) -> None:
        assert callable(work)
        try:
            while not self.stopping.is_set():
                work()
                self.rounds[number] += 1
        except Exception as error:
            self.failed.append(error)

    def keys(self) -> dict[str, bytes]:
        """Return the keys of both sessions as the agents have them."""
        found = {}
        for number, session in enumerate(self.sessions):
            keys = session._conversation._established.session._keys
            found[f"{number} requests"] = keys.agent_to_enclave.secret.reveal()
            found[f"{number} results"] = keys.enclave_to_agent.secret.reveal()
            found[f"{number} digests"] = keys.digest.reveal()
        return found

    def stop(self) -> None:
        self.stopping.set()
        for thread in self.threads:
            thread.join(60)
        for client in self.clients:
            client.close()


def test_the_parent_holds_no_plaintext() -> None:
    weights = numbers(CANARY_BYTES // 4)
    with open_process_stage(model=adding_model(weights)) as stage:
        assert stage.service is not None
        assert stage.enclave is not None
        load = Load(stage, weights)
        secrets = {
            "weights": packed(weights),
            "inputs": packed(load.inputs),
            "outputs": load.outputs,
            "request": load.table.removeprefix("canary-").encode(),
            "request, its bytes": bytes.fromhex(load.table.removeprefix("canary-")),
            **load.keys(),
        }
        token = stage.tokens[Role.CALLER]
        sealed = stage.site.stage.blobs  # the sealed model's file, which the parent hands out
        ciphertext = max((path.read_bytes() for path in sealed.iterdir()), key=len)[-64:-16]
        sought: dict[str, Iterable[bytes]] = {name: list(forms(secret)) for name, secret in secrets.items()}
        for thread in load.threads:
            thread.start()
        try:
            wait_until(lambda: min(load.rounds) >= 3)
            before = list(load.rounds)
            found, searched = found_in(stage.service.pid, {**sought, "token": [token.encode()]})
            assert found == {"token"}  # what it may hold is found, and nothing else
            assert searched > 32 << 20
            assert all(was < now for was, now in zip(before, load.rounds, strict=True))
            # the same search sees the weights where they are used
            inside, _ = found_in(stage.enclave.process.pid, {"weights": sought["weights"]})
            assert inside == {"weights"}
        finally:
            load.stop()
        assert load.failed == []
        found, _ = found_in(stage.service.pid, sought)
        assert found == set()
        stored = b"".join(path.read_bytes() for path in stage.folder.rglob("*") if path.is_file())
        assert ciphertext in stored
        assert base64.b64encode(ciphertext) not in stored
        assert not any(form in stored for every in sought.values() for form in every)
