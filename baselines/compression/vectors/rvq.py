"""Residual quantisation: each byte names what the bytes before it have left over."""

from harness.baselines.compression.vectors._faiss import CENTROIDS, enough, sub_vectors
from harness.baselines.compression.vectors._residual import Residual
from harness.tasks.compression.vectors import Codec, Float32, State


class Rvq(Residual, Codec):
    """Residual vector quantisation: a code is a sum of one of 256 vectors a byte. Codebooks by faiss; slow to fit.

    They are large, 1 kB of float32 for each dimension and byte, which only many vectors pay back. Coding is greedy and
    search goes by tables, both in NumPy: faiss's own search decodes every code again for every query.
    """

    times: int = 64
    beam: int = 1
    iterations: int = 8
    seed: int = 1234
    scale = "full"
    requires = ("faiss",)
    variants = {"rvq-64x": {}, "rvq-32x": {"times": 32}}

    def load(self) -> None:
        import faiss

        faiss.omp_set_num_threads(self.context.threads)

    def fit(self, sample: Float32) -> State:
        import faiss

        d = sample.shape[1]
        sub_vectors(d, self.times)
        learner = faiss.ResidualQuantizer(d, 4 * d // self.times, 8)
        learner.max_beam_size, learner.cp.niter, learner.cp.seed = self.beam, self.iterations, self.seed
        learner.cp.min_points_per_centroid = 1
        learner.train_type |= faiss.ResidualQuantizer.Skip_codebook_tables  # they speed up what is not used here
        learner.train(enough(sample))
        return {"codebooks": faiss.vector_to_array(learner.codebooks).reshape(learner.M, CENTROIDS, d)}
