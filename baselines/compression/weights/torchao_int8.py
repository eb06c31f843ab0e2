"""int8 weights as torchao stores and multiplies them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.tasks.compression import nets
from harness.tasks.compression.weights import Compressor, Parts, Predictor, Problem, named, spelled

OF_A_TENSOR = ("qdata", "scale", "zero_point")


class TorchaoInt8(Compressor):
    """torchao's `Int8WeightOnlyConfig`: int8 codes for each row with float32 scales, in memory as in the artifact;
    computed in float32."""

    takes = ("*-fc",)
    requires = ("torchao",)
    extra = "compression-more"
    scale = "full"

    def load(self) -> None:
        from torchao.quantization import Int8WeightOnlyConfig, quantize_

        self.config, self.quantize = Int8WeightOnlyConfig(), quantize_

    def encode(self, weights: Mapping[str, NDArray[np.float32]], problem: Problem) -> Parts:
        import torch

        net = self._net(problem.architecture)
        live = nets.tensors(weights)
        for i, layer in enumerate(layer for layer in net if isinstance(layer, torch.nn.Linear)):
            layer.weight.data = live[f"w{i + 1}"]
        self.quantize(net, self.config)
        parts: dict[str, NDArray[Any]] = {"a": spelled(problem.architecture)}
        for i, layer in enumerate(layer for layer in net if isinstance(layer, torch.nn.Linear)):
            for short, name in enumerate(OF_A_TENSOR):
                tensor = getattr(layer.weight, name)
                if tensor is not None and (name != "zero_point" or tensor.any()):
                    parts[f"{i + 1}{short}"] = tensor.detach().numpy()
        parts["b"] = np.concatenate([w for w in weights.values() if w.ndim < 2]).astype(np.float16)
        return parts

    def decode(self, parts: Parts) -> Predictor:
        import torch

        net = self._net(named(parts["a"]))
        self.quantize(net, self.config)
        biases = torch.tensor(parts["b"].astype(np.float32))
        for i, layer in enumerate(layer for layer in net if isinstance(layer, torch.nn.Linear)):
            layer.bias.data, biases = biases[: len(layer.bias)], biases[len(layer.bias) :]
            for short, name in enumerate(OF_A_TENSOR):
                stored: Any = getattr(layer.weight, name)
                if f"{i + 1}{short}" in parts:
                    stored.copy_(torch.tensor(parts[f"{i + 1}{short}"]))
                elif stored is not None:
                    stored.zero_()

        def predict(inputs: NDArray[Any]) -> NDArray[np.float32]:
            with torch.inference_mode():
                scores: NDArray[np.float32] = net(torch.from_numpy(np.ascontiguousarray(inputs))).numpy()
            return scores

        return predict

    def _net(self, architecture: str) -> Any:
        import torch

        layers: list[torch.nn.Module] = []
        for shape in nets.shapes(architecture).values():
            if len(shape) > 1:
                layers += [torch.nn.Linear(shape[1], shape[0]), torch.nn.ReLU()]
        return torch.nn.Sequential(*layers[:-1]).eval().requires_grad_(False)
