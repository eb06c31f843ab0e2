"""Free embeddings: every vector is a parameter of its own, trained on the answers themselves (Weller et al. 2025).

The protocol is that of the authors' published code, which differs from the paper's footnote in the loss: the code
takes the mean over relevant pairs of -log softmax, the other relevant document staying in the denominator. All
hyper-parameters are theirs. What is ours is the arithmetic, which gives the same numbers up to rounding for less work:

- Unit vectors at temperature 0.1 keep logits within [-10, 10], so exp needs no maximum taken off first.
- The softmax is never written out: its denominators divide the (d, m) sides of the products, not the (n, m) scores,
  and the targets are subtracted at the two places a query where they are not zero.
- Everything lies transposed, (d, m + n) with queries first, so that sums over documents or dimensions run along whole
  rows and one array holds all parameters of Adam. No array is allocated within the loop.
- Gradients are kept times m * temperature; Adam does not depend on that factor but for its epsilon, which is scaled.
"""

import math

import numpy as np
from numpy.typing import NDArray

from harness.tasks.limit.free import TIE, FreeEmbedder, Vectors, all_pairs, smallest_margin

Array = NDArray[np.float32]


class FreeEmbedding(FreeEmbedder):
    """Vectors optimised on the qrels themselves: full-batch InfoNCE, Adam, projected to the sphere after each step."""

    max_threads = 1  # matrices of this size: two threads mostly wait for each other
    learning_rate: float = 0.01
    temperature: float = 0.1
    max_steps: int = 100_000
    check_every: int = 50
    patience: int = 1000
    min_delta: float = 1e-5

    def fit(self, n: int, d: int) -> Vectors:
        objective = InfoNCE(n, d, self.temperature)
        rng = np.random.default_rng([self.context.seed, n, d])
        vectors = rng.standard_normal((d, objective.m + n), dtype=np.float32)
        queries, documents = vectors[:, : objective.m].T, vectors[:, objective.m :].T
        adam = Adam(vectors, self.learning_rate, objective.gradient_scale)
        to_sphere = Projection(vectors)
        to_sphere()
        best_loss, waited = math.inf, 0
        for step in range(self.max_steps):
            loss = objective(vectors)
            adam.step(objective.gradient)
            to_sphere()
            if loss < best_loss - self.min_delta:
                best_loss, waited = loss, 0
            else:
                waited += 1
            if waited >= self.patience:
                break
            if step % self.check_every == 0 and smallest_margin(queries, documents) > TIE:
                break
        return Vectors(np.ascontiguousarray(queries), np.ascontiguousarray(documents))


class InfoNCE:
    """Mean over relevant pairs of -log softmax of the scores over all documents, and its gradient.

    `gradient`, (d, m + n), is that of the last call times `gradient_scale`.
    """

    def __init__(self, n: int, d: int, temperature: float) -> None:
        first, second = all_pairs(n)
        self.m = m = len(first)
        self.temperature = temperature
        self.gradient_scale = m * temperature
        self.gradient = np.empty((d, m + n), np.float32)
        self._places = np.stack([first, second]) * m + np.arange(m)  # of the relevant ones in the flattened scores
        self._exp = np.empty((n, m), np.float32)
        self._total, self._inverse = np.empty(m, np.float32), np.empty(m, np.float32)
        self._relevant, self._share = np.empty((2, m), np.float32), np.empty((2, m), np.float32)
        self._queries, self._documents = np.empty((d, m), np.float32), np.empty((d, n), np.float32)

    def __call__(self, vectors: Array) -> float:
        m, exp, total, inverse, relevant = self.m, self._exp, self._total, self._inverse, self._relevant
        queries, documents = vectors[:, :m], vectors[:, m:]
        np.multiply(documents, np.float32(1 / self.temperature), out=self._documents)
        np.matmul(self._documents.T, queries, out=exp)
        np.exp(exp, out=exp)
        np.add.reduce(exp, axis=0, out=total)

        scores = exp.reshape(-1)
        np.take(scores, self._places, out=relevant, mode="clip")
        np.divide(np.float32(1), total, out=inverse)
        np.multiply(relevant, inverse, out=self._share)
        np.log(self._share, out=self._share)
        loss = -float(self._share.sum()) / (2 * m)

        # From here on `exp` holds total * (softmax - target), the target being 1/2 for each relevant document.
        total *= np.float32(0.5)
        relevant -= total
        scores[self._places] = relevant
        np.matmul(documents, exp, out=self._queries)
        np.multiply(self._queries, inverse, out=self.gradient[:, :m])
        np.multiply(queries, inverse, out=self._queries)
        np.matmul(self._queries, exp.T, out=self.gradient[:, m:])
        return loss


class Adam:
    """Adam (Kingma & Ba 2015) in place, with its usual constants; takes gradients that are `scale` times the true ones.

    Moments are kept as plain decayed sums; the factors (1 - beta) and the bias corrections are in the step's size.
    """

    def __init__(self, parameters: Array, learning_rate: float, scale: float = 1.0) -> None:
        self.parameters = parameters
        self.learning_rate = learning_rate
        self.beta1, self.beta2, self.epsilon = 0.9, 0.999, 1e-8 * scale
        self._first, self._second = np.zeros_like(parameters), np.zeros_like(parameters)
        self._scratch = np.empty_like(parameters)
        self._power1 = self._power2 = 1.0

    def step(self, gradient: Array) -> None:
        """Move the parameters. Overwrites `gradient`."""
        self._power1 *= self.beta1
        self._power2 *= self.beta2
        self._first *= np.float32(self.beta1)
        self._first += gradient
        gradient *= gradient
        self._second *= np.float32(self.beta2)
        self._second += gradient
        mean = (1 - self.beta1) / (1 - self._power1)
        root = math.sqrt((1 - self.beta2) / (1 - self._power2))
        np.sqrt(self._second, out=self._scratch)
        self._scratch += np.float32(self.epsilon / root)
        np.divide(self._first, self._scratch, out=self._scratch)
        self._scratch *= np.float32(self.learning_rate * mean / root)
        self.parameters -= self._scratch


class Projection:
    """Scales every column of (d, count) vectors to length 1, in place."""

    def __init__(self, vectors: Array) -> None:
        self._vectors = vectors
        self._squares, self._lengths = np.empty_like(vectors), np.empty(vectors.shape[1], np.float32)

    def __call__(self) -> None:
        np.multiply(self._vectors, self._vectors, out=self._squares)
        np.add.reduce(self._squares, axis=0, out=self._lengths)
        np.sqrt(self._lengths, out=self._lengths)
        self._vectors /= self._lengths
