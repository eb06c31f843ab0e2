"""int8 that is also computed in int8."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.baselines.compression.weights._bits import round_to_bits
from harness.tasks.compression import nets
from harness.tasks.compression.weights import Compressor, Parts, Predictor, Problem, named, spelled

TOP = 127


class Int8Dynamic(Compressor):
    """int8 with a scale for each row, as `int8`; the linear layers then run in int8 with inputs quantised as they come
    (`torch.ao.quantization.quantize_dynamic`), so that weights stay at one byte in memory and are used as such."""

    takes = ("*-fc",)

    def encode(self, weights: Mapping[str, NDArray[np.float32]], problem: Problem) -> Parts:
        parts: dict[str, NDArray[Any]] = {"a": spelled(problem.architecture)}
        for name, weight in weights.items():
            if weight.ndim > 1:
                codes, scales = round_to_bits(weight, 8)
                parts |= {name: (codes.astype(np.int16) - TOP).astype(np.int8), name + "s": scales.ravel()}
        parts["b"] = np.concatenate([w for w in weights.values() if w.ndim < 2]).astype(np.float16)
        return parts

    def decode(self, parts: Parts) -> Predictor:
        import torch
        from torch import nn
        from torch.ao import quantization

        shapes = nets.shapes(named(parts["a"]))
        layers: list[nn.Module] = []
        biases = parts["b"].astype(np.float32)
        for name, shape in shapes.items():
            if len(shape) > 1:
                layer = nn.Linear(shape[1], shape[0])
                scales = parts[name + "s"].astype(np.float32)[:, None]
                layer.weight.data = torch.tensor(parts[name].astype(np.float32) * scales)
                layer.bias.data = torch.tensor(biases[: shape[0]])
                biases = biases[shape[0] :]
                layers += [layer, nn.ReLU()]
        net = quantization.quantize_dynamic(  # type: ignore[no-untyped-call]
            nn.Sequential(*layers[:-1]).eval(), {nn.Linear: quantization.per_channel_dynamic_qconfig}
        )

        def predict(inputs: NDArray[Any]) -> NDArray[np.float32]:
            with torch.inference_mode():
                scores: NDArray[np.float32] = net(torch.from_numpy(np.ascontiguousarray(inputs))).numpy()
            return scores

        return predict
