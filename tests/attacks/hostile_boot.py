"""Boot an enclave at a hostile parent: the real one as a process, its mutants in this process, and tell how it ended."""

from contextlib import ExitStack
from dataclasses import replace
from types import ModuleType
from typing import Any

from enclave.phases import Phase
from pcrgate.kms import hooks
from pcrgate.manifest import verification
from pcrgate.manifest.release import Manifest
from pcrgate.units import KeyArn
from tests.attacks.mutants import mutant
from tests.support.enclave_stage import EnclaveStage, open_site, running
from tests.support.onnx_model import adding_model

Removal = tuple[ModuleType, tuple[tuple[str, str], ...]]
EVIL = adding_model((6.0, 6.0, 6.0, 6.0))
PINS: tuple[Removal, ...] = (
    (verification, (("pinned_keys is not None and key_arn not in pinned_keys", "False"),)),
    (hooks, (("type(key_id) is not str or key_id not in self._pinned", "False"),)),
)


def without(stack: ExitStack, *checks: Removal) -> None:
    """Remove checks for the rest of the stack."""
    for module, ((old, new), *more) in checks:
        stack.enter_context(mutant(module, old, new, *more))


def play(stage: EnclaveStage, **site: Any) -> str | None:
    """Boot a process at a hostile parent, and return the code it failed with; None when it went live."""
    with open_site(stage, **site) as found, running(found) as process:
        return process.wait("live").failure


def boots(stage: EnclaveStage, *, nsm: Any = None, configuration: Any = None, **site: Any) -> bool:
    """Boot in this process at a hostile parent, and return whether it went live."""
    with open_site(stage, **site) as found:
        phases, _ = found.boot(nsm=nsm, configuration=configuration)
        return phases.phase is Phase.LIVE


def resealed(stage: EnclaveStage, key: KeyArn, client: Any) -> Manifest:
    """Return a manifest whose model is sealed under another key."""
    kept = stage.weights_key, stage.publisher
    stage.weights_key, stage.publisher = key, client
    try:
        sealed = stage.seal("adder", EVIL, epoch=4)
    finally:
        stage.weights_key, stage.publisher = kept
    return replace(stage.manifest, secrets=(sealed.secret,))
