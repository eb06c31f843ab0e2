"""Greedy generation of the decoder against Hugging Face's GPT-2 with its cache, and teacher forcing against
generation.

    python tests/benchmarks/bench_generation.py --width 64 --threads 1

The same weights, drawn at random, are put into both; the end token's column of the head is zero, so that it is
hardly ever the likeliest and all rows run to the end. Runs take turns, and the ratio is the median of those of
neighbours; CPU time is beside it, since other work on the machine stretches wall time. Tokens must be the same, or
the script stops. Needs `transformers`. Nothing here is asserted about time.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np


def timed(call: Callable[[], Any]) -> tuple[Any, float, float]:
    """What it returns, wall seconds, CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = call()
    return result, time.perf_counter() - wall, time.process_time() - cpu


def against(name: str, ours: Callable[[], Any], theirs: Callable[[], Any], rounds: int) -> None:
    """Run both in turn, check that results are equal, and print medians."""
    walls, cpus, ours_s, theirs_s = [], [], [], []
    for _ in range(rounds):
        a, wall_a, cpu_a = timed(ours)
        b, wall_b, cpu_b = timed(theirs)
        assert np.array_equal(a, b), f"{name}: results differ in {np.mean(a != b):.2%} of places"
        walls.append(wall_b / wall_a)
        cpus.append(cpu_b / cpu_a)
        ours_s.append(wall_a)
        theirs_s.append(wall_b)
    middle = statistics.median
    print(
        f"{name}: {middle(ours_s):.2f} s against {middle(theirs_s):.2f} s, {middle(walls):.2f}x faster "
        f"(from {min(walls):.2f} to {max(walls):.2f}; in CPU time {middle(cpus):.2f}x)",
        flush=True,
    )


def gpt2(decoder: Any, places: int, device: str) -> Any:
    """Hugging Face's GPT-2 with the weights of our decoder."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    width, vocabulary = decoder.embedding.embedding_dim, decoder.embedding.num_embeddings
    config = GPT2Config(
        vocab_size=vocabulary, n_positions=places, n_embd=width, n_layer=len(decoder.blocks), n_head=decoder.heads,
        activation_function="gelu", tie_word_embeddings=False, bos_token_id=1, eos_token_id=0, pad_token_id=0,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
    )  # fmt: skip
    model = GPT2LMHeadModel(config).to(device).eval()
    pairs = [(model.transformer.wte, decoder.embedding), (model.transformer.ln_f, decoder.norm)]
    linear = []
    for theirs, ours in zip(model.transformer.h, decoder.blocks, strict=True):
        pairs += [(theirs.ln_1, ours.norm_attention), (theirs.ln_2, ours.norm_mlp)]
        linear += [(theirs.attn.c_attn, ours.qkv), (theirs.attn.c_proj, ours.out)]
        linear += [(theirs.mlp.c_fc, ours.mlp[0]), (theirs.mlp.c_proj, ours.mlp[2])]
    with torch.no_grad():
        for theirs, ours in pairs:
            theirs.load_state_dict(ours.state_dict())
        for theirs, ours in linear:  # their linear maps are kept transposed
            theirs.weight.copy_(ours.weight.T)
            theirs.bias.copy_(ours.bias)
        model.transformer.wpe.weight.copy_(decoder.learned["table"])
        model.lm_head.weight.copy_(decoder.head.weight)
    return model


def generation(asked: argparse.Namespace) -> None:
    """Our decoder against theirs."""
    import torch

    from harness.baselines.length.learned import Learned
    from harness.tasks.length.decoder import Decoder
    from harness.tasks.length.generation import greedy
    from harness.tasks.length.interface import Setting
    from harness.tasks.length.problems.base import END, FIRST, SEP, START

    torch.manual_seed(asked.seed)
    setting = Setting(
        longest=asked.tokens, vocabulary=asked.vocabulary, steps=0, batch=asked.rows, width=asked.width,
        layers=asked.layers, heads=4,
    )  # fmt: skip
    scheme = Learned()
    decoder = Decoder(setting, scheme).to(asked.device).eval()
    with torch.no_grad():
        for parameter in decoder.parameters():  # every bias and gain counts
            parameter.add_(0.1 * torch.randn_like(parameter))
        decoder.head.weight[END] = 0
    model = gpt2(decoder, scheme.places, asked.device)
    x = np.random.default_rng(asked.seed).integers(FIRST, asked.vocabulary, (asked.rows, asked.prompt))
    edge = np.ones((asked.rows, 1), np.int64)
    prompt = torch.from_numpy(np.concatenate([START * edge, x, SEP * edge], axis=1)).to(asked.device)

    def theirs() -> Any:
        made = model.generate(
            prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=asked.tokens, do_sample=False, use_cache=True
        )
        return made[:, prompt.shape[1] :].cpu().numpy()

    def ours() -> Any:
        return greedy(decoder, x, asked.tokens, asked.device)

    name = f"{asked.rows} rows of {asked.tokens} tokens, {asked.layers} layers of width {asked.width}, "
    against(f"{name}{torch.get_num_threads()} threads, decoder against GPT-2", ours, theirs, asked.rounds)


def forcing(asked: argparse.Namespace) -> None:
    """Teacher forcing against greedy generation with and without the cache: the standard model, answers of its own,
    every second one spoilt."""
    import torch

    from harness.baselines.length.nope import NoPE
    from harness.tasks.length.decoder import Decoder
    from harness.tasks.length.generation import greedy, teacher_forced
    from harness.tasks.length.interface import Setting
    from harness.tasks.length.problems.base import FIRST, Strings, same

    torch.manual_seed(asked.seed)
    decoder = Decoder(Setting(longest=10, vocabulary=68, steps=0, batch=32), NoPE()).to(asked.device).eval()
    uncached = torch.nn.Module()
    uncached.forward = decoder.forward
    for n in (10, 20, 50):
        x = np.random.default_rng(n).integers(FIRST, 67, (512, n))
        y = greedy(decoder, x, n + 1, asked.device)
        y[::2, n // 2] = FIRST
        for model, cache in ((decoder, "with"), (uncached, "without")):
            against(
                f"512 rows of {n} + {n + 1} tokens, teacher forcing against generation {cache} cache",
                lambda x=x, y=y: teacher_forced(decoder, Strings(x, y), asked.device),  # type: ignore[misc]
                lambda x=x, y=y, n=n, model=model: same(y, greedy(model, x, n + 1, asked.device)),  # type: ignore[misc]
                asked.rounds,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=64, help="of the model (default: %(default)s)")
    parser.add_argument("--layers", type=int, default=6, help="(default: %(default)s)")
    parser.add_argument("--rows", type=int, default=64, help="strings at a time (default: %(default)s)")
    parser.add_argument("--prompt", type=int, default=8, help="tokens of a question (default: %(default)s)")
    parser.add_argument("--tokens", type=int, default=500, help="generated for each row (default: %(default)s)")
    parser.add_argument("--vocabulary", type=int, default=512, help="(default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="of torch (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="turns (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    parser.add_argument("--only", choices=("generation", "forcing"), help="one of the two parts")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: %(default)s)")
    asked = parser.parse_args()

    import torch

    torch.set_num_threads(asked.threads)
    if asked.only != "forcing":
        generation(asked)
    if asked.only != "generation":
        forcing(asked)


if __name__ == "__main__":
    main()
