"""Write requests to workloads and read their results: signed actions for ``validate``, tensors for ``infer``.

Spec: docs/enclave.md, "validate" and "infer".
"""

import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from pcrgate.attestation.cbor import CborValue, decode, encode
from pcrgate.envelope.session_agent import GrantKey
from pcrgate.envelope.session_fields import pack
from pcrgate.errors import CborError, ClientError, ErrorCode

ACTION_LABEL: Final = b"pcrgate/action/v1"
"""Domain of the agent's signature over an action."""

ACTION_LIFE_MS: Final = 60_000
"""How long an action counts: time to carry it there, and no more."""

ACTION_NONCE_BYTES: Final = 16

TYPES: Final = {"float32": 4, "float64": 8, "int32": 4, "int64": 8, "uint8": 1}
"""Element types, with their size in bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """Hold what an agent is about to do.

    Attributes:
        tool: as grants name it.
        arguments: text, whole numbers, or ``{"currency": text, "minor_units": int}``, by name.
        purpose: as grants list them; None where they list none.
    """

    tool: str
    arguments: Mapping[str, CborValue] = field(default_factory=dict)
    purpose: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """Hold an array.

    Attributes:
        type: one of ``TYPES``.
        shape: its dimensions.
        data: elements in row-major order, little endian; hidden.
    """

    type: str
    shape: tuple[int, ...]
    data: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if self.type not in TYPES or math.prod(self.shape) * TYPES[self.type] != len(self.data):
            raise ClientError(ErrorCode.CLIENT_ANSWER, "a tensor's data has another length than its type and shape say")


def action_request(action: Action, *, agent: str, key: GrantKey, now_ms: int) -> bytes:
    """Return the request to ``validate``: the action with a fresh nonce, signed.

    Args:
        action: what is to be done.
        agent: the agent's name in the manifest.
        key: its Ed25519 key.
        now_ms: the agent's clock, milliseconds since the epoch.
    """
    arguments: dict[int | str, CborValue] = dict(action.arguments.items())
    raw = encode(
        {
            "agent": agent,
            "tool": action.tool,
            "arguments": arguments,
            "purpose": action.purpose,
            "nonce": secrets.token_bytes(ACTION_NONCE_BYTES),
            "expires_ms": now_ms + ACTION_LIFE_MS,
        }
    )
    return encode({"action": raw, "signature": key.sign(pack(ACTION_LABEL, raw))})


def inference_request(model: str, inputs: Mapping[str, Tensor]) -> bytes:
    """Return the request to ``infer``."""
    tensors: dict[int | str, CborValue] = {
        name: {"type": tensor.type, "shape": list(tensor.shape), "data": tensor.data} for name, tensor in inputs.items()
    }
    return encode({"model": model, "inputs": tensors})


def read_outputs(result: bytes) -> dict[str, Tensor]:
    """Return the outputs in a result of ``infer``.

    Raises:
        ClientError: ``client-answer``.
    """
    value = read_map(result, {"outputs"})["outputs"]
    if not isinstance(value, dict):
        raise _unreadable("outputs is not a map")
    return {str(name): _tensor(entry) for name, entry in value.items()}


def _tensor(value: CborValue) -> Tensor:
    if not isinstance(value, dict) or value.keys() != {"type", "shape", "data"}:
        raise _unreadable("a tensor is not a map of type, shape and data")
    kind, shape, data = value["type"], value["shape"], value["data"]
    if not isinstance(kind, str) or not isinstance(shape, list) or not isinstance(data, bytes):
        raise _unreadable("type, shape or data of a tensor is of another kind")
    sizes = tuple(size for size in shape if type(size) is int and size >= 0)
    if len(sizes) != len(shape):
        raise _unreadable("a shape is not a list of sizes")
    return Tensor(type=kind, shape=sizes, data=data)


def read_map(data: bytes, names: set[str]) -> dict[str, CborValue]:
    """Return a CBOR map of exactly these keys.

    Raises:
        ClientError: ``client-answer``.
    """
    try:
        value = decode(data)
    except CborError as error:
        raise _unreadable("it is not CBOR") from error
    if not isinstance(value, dict) or value.keys() != names:
        raise _unreadable(f"it is not a map of {', '.join(sorted(names))}")
    return {str(name): entry for name, entry in value.items()}


def _unreadable(fact: str) -> ClientError:
    return ClientError(ErrorCode.CLIENT_ANSWER, f"a result cannot be read: {fact}")
