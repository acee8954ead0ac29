"""Infer: run an ONNX model whose weights were released.

A request is CBOR ``{"model": text, "inputs": {name: tensor}}``, a tensor ``{"type": text, "shape": [int], "data":
bytes}`` in row-major order, little endian. The result is CBOR ``{"outputs": {name: tensor}}``. Grants name the model as
the action.
Spec: docs/enclave.md, "infer".
"""

import math
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from enclave.workloads.admission import Action, UseCounts
from enclave.workloads.contract import Invocation, Outcome, ReleasedSecret, Workload, malformed
from pcrgate.attestation.cbor import CborValue, decode, encode
from pcrgate.envelope.model_files import ModelFormat, check_model_file
from pcrgate.errors import CborError, ErrorCode, ReleaseError
from pcrgate.manifest.sealed_secret import SecretClass, SecretFormat

if TYPE_CHECKING:
    import numpy as np

TENSORS_MAX: Final = 16
"""Most inputs or outputs of a model."""

RANK_MAX: Final = 8
"""Most dimensions of a tensor."""

TENSOR_MAX_BYTES: Final = 900 << 10
"""Most bytes of all inputs, or of all outputs: what one sealed record holds, with room."""

TYPES: Final = {"float32": 4, "float64": 8, "int32": 4, "int64": 8, "uint8": 1}
"""Element types, with their size in bytes."""


class InferWorkload:
    """Hold one ONNX Runtime session a model; threads may share it."""

    def __init__(self, secrets: Mapping[str, ReleasedSecret]) -> None:
        """Load the models; their buffers are wiped once the runtime has its own copy.

        Raises:
            ReleaseError: ``model-file`` when one is no model that may be loaded.
        """
        self._counts: Final = UseCounts()
        self._epochs: Final = {name: secret.epoch for name, secret in secrets.items()}
        self._models: Final = {name: _load(secret) for name, secret in secrets.items()}

    def carry_out(self, invocation: Invocation) -> Outcome:
        """Return the outputs of a model that the agent may use.

        Raises:
            PcrgateError: ``workload-request``, ``workload-limit``, ``manifest-no-grant``.
        """
        # 1. Form, with every length bounded, before anything is reserved.
        name, tensors = _parse_request(invocation.request)
        # 2. Grant and rules: the model is the action.
        if name not in self._models:
            raise malformed("no such model in this enclave")
        self._counts.admit(Action(name=name), invocation.grant, invocation.rules)
        # 3. The model.
        model = self._models[name]
        expected = {entry.name for entry in model.get_inputs()}
        if tensors.keys() != expected or len(model.get_outputs()) > TENSORS_MAX:
            raise malformed(f"the inputs are not those of the model, expected {len(expected)}")
        outputs = model.run(None, {key: _array(tensor) for key, tensor in tensors.items()})
        names = [entry.name for entry in model.get_outputs()]
        if sum(output.nbytes for output in outputs) > TENSOR_MAX_BYTES:
            raise malformed(f"the outputs have more than {TENSOR_MAX_BYTES} bytes, expected smaller inputs")
        result: CborValue = {key: _tensor(output) for key, output in zip(names, outputs, strict=True)}
        return Outcome(result=encode({"outputs": result}), secrets={name: self._epochs[name]})


def runtime() -> Any:
    """Return ONNX Runtime, told before it is loaded to report nothing to anybody.

    Loaded otherwise it begins a session of telemetry, and writes its number into a temporary file.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime  # noqa: PLC0415 - only images that infer hold it

    return onnxruntime


def _load(secret: ReleasedSecret) -> Any:
    onnxruntime = runtime()
    if secret.format is not SecretFormat.ONNX:
        raise ReleaseError(ErrorCode.MODEL_FILE, "weights are not ONNX, expected it for this workload")
    with secret.content as content, content.view() as view:
        check_model_file(view, ModelFormat.ONNX)
        model = bytes(view)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception:  # noqa: BLE001 - whatever the runtime raises on a model; its text may quote the file
        raise ReleaseError(ErrorCode.MODEL_FILE, "the runtime refused the model, expected one it can run") from None


def _parse_request(request: bytes) -> tuple[str, dict[str, tuple[str, tuple[int, ...], bytes]]]:
    try:
        value = decode(request)
    except CborError as error:
        raise malformed(f"the request is not CBOR ({error.code.code})") from error
    if type(value) is not dict or value.keys() != {"model", "inputs"}:
        raise malformed("the request is not a map of model and inputs")
    name, inputs = value["model"], value["inputs"]
    if type(name) is not str or type(inputs) is not dict or not 1 <= len(inputs) <= TENSORS_MAX:
        raise malformed(f"model is not text, or inputs not a map of 1 to {TENSORS_MAX} tensors")
    if len(request) > TENSOR_MAX_BYTES:
        raise malformed(f"the request is longer than {TENSOR_MAX_BYTES} bytes")
    if not all(type(key) is str for key in inputs):
        raise malformed("inputs is not a map by name")
    return name, {str(key): _parse_tensor(tensor) for key, tensor in inputs.items()}


def _parse_tensor(value: CborValue) -> tuple[str, tuple[int, ...], bytes]:
    if type(value) is not dict or value.keys() != {"type", "shape", "data"}:
        raise malformed("a tensor is not a map of type, shape and data")
    kind, shape, data = value["type"], value["shape"], value["data"]
    if type(kind) is not str or kind not in TYPES or type(data) is not bytes:
        raise malformed(f"a tensor's type is not one of {sorted(TYPES)}, or its data no bytes")
    if type(shape) is not list or len(shape) > RANK_MAX:
        raise malformed(f"a tensor's shape is not a list of at most {RANK_MAX} numbers")
    sizes = tuple(size for size in shape if type(size) is int and 0 <= size <= TENSOR_MAX_BYTES)
    if len(sizes) != len(shape) or math.prod(sizes) * TYPES[kind] != len(data):
        raise malformed("a tensor's data has another length than its shape says")
    return kind, sizes, data


def _array(tensor: tuple[str, tuple[int, ...], bytes]) -> "np.ndarray[Any, Any]":
    import numpy as np  # noqa: PLC0415 - only images that infer hold it

    kind, shape, data = tensor
    return np.frombuffer(data, dtype=np.dtype(kind).newbyteorder("<")).reshape(shape)


def _tensor(array: "np.ndarray[Any, Any]") -> CborValue:
    kind = array.dtype.name
    if kind not in TYPES:
        raise malformed("an output's type has no form here")
    if sys.byteorder == "big":
        array = array.byteswap()
    return {"type": kind, "shape": list(array.shape), "data": array.tobytes()}


WORKLOAD: Final = Workload(name="infer", secret_class=SecretClass.WEIGHTS, once=False, start=InferWorkload)
"""The entry point."""
