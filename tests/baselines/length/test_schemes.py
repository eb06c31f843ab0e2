"""Position schemes compute what their papers say, and the decoder that they share generates as it was trained."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.errors import UsageError
from harness.task import Unsupported
from harness.tasks.length.interface import Positions, PositionScheme, Setting
from harness.tasks.length.problems.arithmetic import Addition
from harness.tasks.length.problems.base import FIRST

torch = pytest.importorskip("torch")

from harness.baselines.length.abacus import Abacus  # noqa: E402
from harness.baselines.length.alibi import ALiBi, slopes  # noqa: E402
from harness.baselines.length.fire import Fire  # noqa: E402
from harness.baselines.length.learned import Learned  # noqa: E402
from harness.baselines.length.nope import NoPE  # noqa: E402
from harness.baselines.length.randomised import Randomised  # noqa: E402
from harness.baselines.length.rope import RoPE  # noqa: E402
from harness.baselines.length.sinusoidal import Sinusoidal  # noqa: E402
from harness.baselines.length.t5_relative import T5Relative  # noqa: E402
from harness.tasks.length.decoder import Decoder, Encoder, attention  # noqa: E402
from harness.tasks.length.generation import greedy  # noqa: E402

SCHEMES = [NoPE, Sinusoidal, Learned, T5Relative, ALiBi, RoPE, Randomised, Fire, Abacus]
POSITIONAL = SCHEMES[1:]
SETTING = Setting(longest=8, vocabulary=13, steps=0, batch=8, width=32, layers=2, heads=4)
ADDITION = Addition(base=8)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def decoder(scheme: PositionScheme, setting: Setting = SETTING, kind: type[Any] = Decoder) -> Any:
    """With weights so large that whatever is wrong shows."""
    torch.manual_seed(0)
    module = kind(setting, scheme).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return module


def tokens(rows: int, n: int) -> Any:
    return torch.from_numpy(np.random.default_rng(n).integers(0, SETTING.vocabulary, (rows, n)))


def line(n: int) -> Positions:
    return Positions(torch.arange(n), torch.arange(n))


def bias(scheme: Any, n: int, heads: int = 4) -> Any:
    """What the scheme adds to the logits of attention, (heads, n, n)."""
    q = torch.zeros(1, heads, n, 8)
    with torch.no_grad():
        return scheme.bias_or_rotate(q, q, line(n))[2]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_logits_from_the_cache_are_those_of_one_pass(scheme: type[PositionScheme]) -> None:
    (made := scheme()).__dict__.update(largest=256)
    module, every = decoder(made), tokens(3, 150)
    with torch.inference_mode():
        whole = module(every)
        state, start = None, 0
        for step in (5, *[1] * 55, 7, *[1] * 20, 50, 13):  # past the room that there is at first, twice
            logits, state = module.extend(every[:, start : start + step], state)
            start += step
            torch.testing.assert_close(logits[:, 0], whole[:, start - 1], rtol=1e-4, atol=1e-4)
    assert start == 150


@pytest.mark.parametrize("scheme", SCHEMES)
def test_generation_with_and_without_the_cache_writes_the_same(scheme: type[PositionScheme]) -> None:
    module = decoder(scheme())
    plain = torch.nn.Module()
    plain.forward = module.forward
    x = np.random.default_rng(1).integers(FIRST, SETTING.vocabulary, (16, 9))
    answers = greedy(module, x, 40, "cpu")
    assert len(np.unique(answers)) > 3
    np.testing.assert_array_equal(answers, greedy(plain, x, 40, "cpu"))


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("training", [False, True])
def test_later_tokens_change_no_earlier_logits(scheme: type[PositionScheme], training: bool) -> None:
    module, every = decoder(scheme()).train(training), tokens(4, 20)
    changed = every.clone()
    changed[:, 12:] = (changed[:, 12:] + 1) % SETTING.vocabulary
    with torch.no_grad():
        torch.manual_seed(5)
        before = module(every)
        torch.manual_seed(5)
        after = module(changed)
    assert torch.equal(before[:, :12], after[:, :12])
    assert not torch.equal(before[:, 12:], after[:, 12:])


@pytest.mark.parametrize("scheme", SCHEMES)
def test_all_but_nope_see_an_order_in_one_layer(scheme: type[PositionScheme]) -> None:
    module = decoder(scheme(), Setting(longest=8, vocabulary=13, steps=0, batch=8, width=32, layers=1, heads=4))
    every = torch.tensor([[1, 3, 4, 5, 6, 2], [1, 6, 3, 5, 4, 2]])
    with torch.no_grad():
        one, other = module(every)[:, -1]
    assert torch.allclose(one, other, atol=1e-5) == (scheme is NoPE)


@pytest.mark.parametrize("scheme", [Learned, T5Relative, Fire, Abacus])
def test_what_a_scheme_learns_is_learned(scheme: type[PositionScheme]) -> None:
    module = decoder(scheme()).train()
    module(tokens(2, 10)).square().mean().backward()
    own = dict(module.named_parameters())
    named = [name for name in own if name.startswith("learned.")]
    assert named and all(own[name].grad is not None and own[name].grad.abs().sum() > 0 for name in named)


def test_modules_made_of_one_scheme_have_their_own_parameters() -> None:
    scheme = T5Relative()
    first, second = Decoder(SETTING, scheme), Decoder(SETTING, scheme)
    every = tokens(2, 10)
    before = first(every)
    with torch.no_grad():
        second.learned["table"].add_(1.0 * torch.randn_like(second.learned["table"]))
    assert torch.equal(first(every), before)


def test_a_users_alibi_in_15_lines_gives_the_logits_of_the_built_in_one(tmp_path: Path) -> None:
    source = """\
import torch

from harness.tasks.length.interface import PositionScheme


class Mine(PositionScheme):
    def bias_or_rotate(self, q, k, positions):
        heads = q.shape[1]
        slopes = 2.0 ** (-8 * torch.arange(1, heads + 1, device=q.device) / heads)
        return q, k, slopes[:, None, None] * -positions.distance
"""
    assert len(source.splitlines()) <= 15
    (path := tmp_path / "mine.py").write_text(source)
    spec = importlib.util.spec_from_file_location("mine", path)
    assert spec and spec.loader
    spec.loader.exec_module(loaded := importlib.util.module_from_spec(spec))
    mine, built_in, every = decoder(loaded.Mine()), decoder(ALiBi()), tokens(4, 50)
    with torch.inference_mode():
        assert torch.equal(mine(every), built_in(every))
        assert not torch.equal(mine(every), decoder(NoPE())(every))


def test_alibis_slopes_are_the_published_ones() -> None:
    assert slopes(8) == [2.0**-i for i in range(1, 9)]
    assert slopes(12) == [*slopes(8), 2.0**-0.5, 2.0**-1.5, 2.0**-2.5, 2.0**-3.5]
    assert slopes(1) == [2.0**-8]
    expected = -torch.tensor(slopes(3))[:, None, None] * (torch.arange(6)[:, None] - torch.arange(6)).abs()
    assert torch.equal(bias(ALiBi(), 6, heads=3), expected)


def test_t5_shares_buckets_by_logarithm_from_16_on() -> None:
    scheme = T5Relative()
    scheme.learned = {"table": torch.arange(32.0)[:, None].expand(32, 4)}
    found = bias(scheme, 1001)[0]
    assert found[1000, 1000 - np.arange(16)].tolist() == list(range(16))
    wanted = {16: 16, 20: 17, 32: 21, 64: 26, 127: 31, 128: 31, 1000: 31}
    assert {distance: int(found[1000, 1000 - distance]) for distance in wanted} == wanted


def test_rotary_products_are_those_of_complex_numbers_and_know_distances_only() -> None:
    generator = torch.Generator().manual_seed(0)
    q, k = torch.randn(2, 1, 2, 7, 8, generator=generator)
    turned_q, turned_k, none = RoPE().bias_or_rotate(q, k, line(7))
    assert none is None
    turns = np.exp(1j * np.arange(7)[:, None] * 10000.0 ** (-np.arange(4) / 4))
    by_hand = [(x[..., :4].numpy() + 1j * x[..., 4:].numpy()) * turns for x in (q, k)]
    np.testing.assert_allclose(
        turned_q @ turned_k.mT, (by_hand[0] @ by_hand[1].conj().swapaxes(-1, -2)).real, atol=1e-5
    )
    far = Positions(torch.arange(7) + 1000, torch.arange(7) + 1000)
    later_q, later_k, _ = RoPE().bias_or_rotate(q, k, far)
    torch.testing.assert_close(later_q @ later_k.mT, turned_q @ turned_k.mT, rtol=1e-3, atol=1e-3)


def test_rotary_positions_want_heads_of_even_width() -> None:
    module = decoder(RoPE(), Setting(longest=8, vocabulary=13, steps=0, batch=8, width=12, layers=1, heads=4))
    with pytest.raises(UsageError, match="width 3"):
        module(tokens(1, 4))


def test_sinusoids_are_the_published_ones() -> None:
    scheme = Sinusoidal()
    scheme.parameters(SETTING)
    angles = np.arange(300)[:, None] / 10000 ** (np.arange(0, 32, 2) / 32)
    found = scheme.embed(line(300)).numpy()
    np.testing.assert_allclose(found[:, 0::2], np.sin(angles), atol=1e-4)
    np.testing.assert_allclose(found[:, 1::2], np.cos(angles), atol=1e-4)


def test_fire_is_the_published_function_on_both_sides_of_its_threshold() -> None:
    scheme = Fire()
    scheme.threshold = 5.0
    torch.manual_seed(0)
    scheme.learned = own = scheme.parameters(SETTING)
    found = bias(scheme, 12)
    for i, j in ((3, 0), (3, 3), (11, 2), (7, 6)):
        share = math.log(0.1 * (i - j) + 1) / (math.log(0.1 * max(i, 5.0) + 1) + 1e-6)
        hidden = (share * own["into"] + own["into_bias"]).clamp(min=0)
        torch.testing.assert_close(found[:, i, j], hidden @ own["out"] + own["out_bias"])


def test_randomised_positions_are_drawn_in_training_and_plain_at_test() -> None:
    scheme, every = Randomised(), tokens(2, 30)
    assert scheme.place(every).tolist() == list(range(30))
    first, second, again = (scheme.place(every, torch.Generator().manual_seed(seed)) for seed in (0, 1, 0))
    assert torch.equal(first, again) and not torch.equal(first, second)
    assert (first.diff() > 0).all() and first[0] >= 0 and first[-1] < scheme.largest
    module = decoder(scheme).train()
    torch.manual_seed(0)
    drawn = module(every)
    assert not torch.equal(drawn, module(every))
    torch.manual_seed(0)
    assert torch.equal(drawn, module(every))


def test_abacus_counts_digits_within_each_number() -> None:
    strings = ADDITION.sample("test", 3, 0, 4)
    every = torch.from_numpy(np.pad(strings.x, ((0, 0), (1, 1)), constant_values=((1, 1), (1, 2))))
    every = torch.cat([every, torch.from_numpy(strings.y)], dim=1)
    scheme = Abacus()
    scheme.parameters(Setting(longest=3, vocabulary=ADDITION.vocabulary, steps=0, batch=4))
    wanted = [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 4, 0]
    assert scheme.place(every).tolist() == [wanted] * 4
    generator, seen = torch.Generator().manual_seed(0), set()
    for _ in range(200):
        placed = scheme.place(every, generator)
        offset = int(placed[0, 1]) - 1
        assert placed.tolist() == [[i + offset if i else 0 for i in wanted]] * 4
        seen.add(offset)
    assert seen == set(range(scheme.offset + 1))


@pytest.mark.parametrize(("kind", "limit"), [(Learned, "places"), (Randomised, "largest"), (Abacus, "places")])
def test_a_string_beyond_the_table_is_unsupported_and_said_so(kind: type[Any], limit: str) -> None:
    scheme = kind()
    setattr(scheme, limit, 20)
    module = decoder(scheme)
    fits, beyond = (torch.full((2, n), FIRST) for n in (20, 21))
    assert torch.isfinite(module(fits)).all()
    with pytest.raises(Unsupported, match=rf" 21 .*20 p.*`{limit}`"):
        module(beyond)
    with pytest.raises(Unsupported):
        greedy(decoder(scheme), np.full((2, 21), FIRST), 5, "cpu")


def test_an_encoder_sees_what_comes_after() -> None:
    module, every = decoder(ALiBi(), kind=Encoder), tokens(2, 10)
    changed = every.clone()
    changed[:, -1] = (changed[:, -1] + 1) % SETTING.vocabulary
    with torch.no_grad():
        assert (module(every)[:, 0] != module(changed)[:, 0]).any()


def test_a_width_that_heads_cannot_share_is_refused() -> None:
    with pytest.raises(UsageError, match="width of 30"):
        Decoder(Setting(longest=8, vocabulary=13, steps=0, batch=8, width=30), NoPE())


def test_in_half_precision_a_bias_keeps_neighbouring_far_distances_apart() -> None:
    near, n = torch.zeros(1, 1, 1, 8, dtype=torch.bfloat16), 1200
    keys, values = torch.zeros(1, 1, n, 8).bfloat16(), torch.eye(n)[:, -8:].view(1, 1, n, 8).bfloat16()
    far = -(torch.arange(n).flip(0) + 1000.0).view(1, 1, 1, n)
    weights = attention(near, keys, values, far, causal=False)[0, 0, 0].float()
    torch.testing.assert_close(weights, torch.softmax(torch.arange(8.0), dim=0), rtol=0.02, atol=1e-3)
