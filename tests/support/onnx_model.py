"""The smallest model, which the laptop's deployment serves too."""

from local.onnx_model import adding_model

__all__ = ["adding_model"]
