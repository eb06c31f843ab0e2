"""Generated cases: the construction is what the paper's files show, and a seed means the same text everywhere."""

from __future__ import annotations

import re
from collections import Counter
from hashlib import sha256
from itertools import combinations, islice
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.tasks.limit.retrieval import words
from harness.tasks.limit.retrieval.corpus import Corpus
from harness.tasks.limit.retrieval.density import density
from harness.tasks.limit.retrieval.generate import PATTERNS, all_pairs, generate
from harness.tasks.limit.retrieval.stream import Stream

WORD = r"[A-Z][A-Za-z]*(['-][A-Za-z]+|s')*"
ATTRIBUTE = re.compile(rf"{WORD}( ({WORD}|of|the|on|de|du))*")


def listed(corpus: Corpus) -> list[list[str]]:
    """What each document says its person likes, read back from the text."""
    out = []
    for name, text in zip(corpus.document_ids, corpus.documents, strict=True):
        assert text.startswith(f"{name} likes ") and text.endswith(".")
        head, _, last = text.removeprefix(f"{name} likes ")[:-1].rpartition(" and ")
        out.append([*(head.split(", ") if head else []), last])
    return out


def asked(corpus: Corpus) -> list[str]:
    assert all(query.startswith("Who likes ") and query.endswith("?") for query in corpus.queries)
    return [query.removeprefix("Who likes ")[:-1] for query in corpus.queries]


def shape(corpus: Corpus) -> list[int]:
    """How many queries each relevant document answers, most first."""
    return sorted(Counter(corpus.relevant_ids.tolist()).values(), reverse=True)


def test_the_word_lists_are_frozen() -> None:
    digests = {f.__name__: sha256("\n".join(f()).encode()).hexdigest()
               for f in (words.attributes, words.first_names, words.last_names)}  # fmt: skip
    assert digests == {
        "attributes": "2a15a4f395f0f5851baeb92f87ca39c7ab8ddc7ebd2c35715cd210be2295ef88",
        "first_names": "b4c72b08fc99e29c9a22507ed9d23730ade333cd30e52f81a51e980c6101fb97",
        "last_names": "1e5297d9a6442605b5a50ffa4d9ccf8537c947a0a75985a1716448ce932a0f86",
    }


def test_there_are_as_many_attributes_as_in_the_published_pool_and_no_two_differ_only_in_case_or_plural() -> None:
    attributes = words.attributes()
    assert len(attributes) == 1850
    assert len({attribute.casefold() for attribute in attributes}) == 1850
    singular = [re.sub(r"(ies|es|y|s)$", "", attribute.casefold()) for attribute in attributes]
    assert [word for word, count in Counter(singular).items() if count > 1] == []


def test_attributes_are_title_case_ascii_without_what_separates_them_in_a_sentence() -> None:
    assert [a for a in words.attributes() if not ATTRIBUTE.fullmatch(a) or " and " in a or len(a.split()) > 5] == []


def test_names_suffice_for_the_largest_case() -> None:
    first, last = words.first_names(), words.last_names()
    assert len(set(first)) == len(first) >= 400
    assert len(set(last)) == len(last) >= 600
    assert all(re.fullmatch("[A-Z][A-Za-z]+", name) for name in (*first, *last))


@pytest.mark.parametrize(
    ("documents", "pattern"), [(46, "dense"), (1000, "random"), (1000, "cycle"), (2000, "disjoint")]
)
def test_every_document_lists_45_different_attributes_and_only_relevant_ones_list_the_query(
    documents: int, pattern: str
) -> None:
    corpus = generate(documents, pattern, 3)
    likes = listed(corpus)
    assert {len(set(items)) for items in likes} == {45} == {len(items) for items in likes}
    having: dict[str, list[int]] = {}
    for document, items in enumerate(likes):
        for item in items:
            having.setdefault(item, []).append(document)
    queries = asked(corpus)
    assert len(set(queries)) == 1000
    for number, attribute in enumerate(queries):
        assert having[attribute] == corpus.relevant(number).tolist()
    assert set(having) <= set(words.attributes())


def test_dense_uses_the_first_pairs_of_46_people_in_lexicographic_order() -> None:
    corpus = generate(46, "dense", 0)
    pairs = [tuple(corpus.relevant(i).tolist()) for i in range(1000)]
    people: list[int] = []  # person number -> position, read off the queries: person p first appears in that order
    first = set(pairs[0]) & set(pairs[1])
    people.append(first.pop())
    people += [next(iter(set(pair) - {people[0]})) for pair in pairs[:45]]
    expected = [tuple(sorted((people[a], people[b]))) for a, b in islice(combinations(range(46), 2), 1000)]
    assert pairs == expected
    assert people != sorted(people)  # sorted by name, positions say nothing about the pattern


def test_dense_leaves_nine_people_short_of_45_queries() -> None:
    assert shape(generate(46, "dense", 0)) == [45] * 37 + [38] * 2 + [37] * 7
    assert shape(generate(5000, "dense", 0)) == [45] * 37 + [38] * 2 + [37] * 7


def test_cycle_is_a_path_when_there_are_more_documents_than_queries_and_a_ring_otherwise() -> None:
    assert shape(generate(1200, "cycle", 0)) == [2] * 999 + [1] * 2
    assert shape(generate(1000, "cycle", 0)) == [2] * 1000


def test_disjoint_queries_share_no_document() -> None:
    assert shape(generate(2000, "disjoint", 0)) == [1] * 2000


def test_random_draws_different_people_for_each_query() -> None:
    corpus = generate(1500, "random", 0, k=3)
    assert all(len(set(corpus.relevant(i).tolist())) == 3 for i in range(1000))
    assert 1200 < len(shape(corpus)) < 1400  # 1500 (1 - e^-2) = 1297 expected


def test_a_person_of_more_queries_than_attributes_lists_them_all() -> None:
    corpus = generate(20, "cycle", 0, queries=100, attributes=5)
    assert {len(items) for items in listed(corpus)} == {10}


@pytest.mark.parametrize(
    ("pattern", "strength", "graph_density"),
    [("dense", 28.465, 0.085481), ("cycle", 0.666, 0.002), ("disjoint", 0.0, 0.0)],
)
def test_density_is_that_of_the_published_patterns(pattern: str, strength: float, graph_density: float) -> None:
    figures = density(generate(2500, pattern, 5))
    assert round(figures.query_strength, 3) == strength
    assert round(figures.graph_density, 6) == graph_density


def test_a_random_pattern_over_many_documents_is_hardly_entangled() -> None:
    assert 0.005 < density(generate(50_000, "random", 0)).query_strength < 0.06  # 4 / 50 / 3 = 0.027 expected


def test_density_weighs_a_pair_by_its_jaccard_similarity() -> None:
    corpus = generate(2, "cycle", 0, queries=3)  # all three queries share both documents
    assert density(corpus) == (1.0, 2.0)
    assert density(all_pairs(3, 0)) == pytest.approx((1.0, 2 / 3))
    assert density(all_pairs(2, 0)) == (0.0, 0.0)


def test_all_pairs_asks_for_every_pair_once() -> None:
    corpus = all_pairs(12, 0)
    assert {tuple(corpus.relevant(i).tolist()) for i in range(66)} == set(combinations(range(12), 2))
    assert {len(items) for items in listed(corpus)} == {45}


def test_all_pairs_reach_61_documents_and_say_so_beyond() -> None:
    assert {len(items) for items in listed(all_pairs(61, 0))} == {60}
    with pytest.raises(ValueError, match=r"1891 queries.*1850 attributes: n can be at most 61"):
        all_pairs(62, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((45, "dense", 0), "needs at least 46 documents, got 45"),
        ((1999, "disjoint", 0), "needs at least 2000 documents, got 1999"),
        ((1, "cycle", 0), "do not fit into 1 documents"),
        ((46, "sparse", 0), "unknown pattern 'sparse': one of dense, random, cycle, disjoint"),
        ((0, "dense", 0), "must be at least 1"),
        ((10**6, "dense", 0), "1000000 documents need as many names"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(arguments: tuple[int, str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        generate(*arguments)


def test_too_many_queries_for_the_attributes_are_refused() -> None:
    with pytest.raises(ValueError, match="1851 queries need as many attributes; there are 1850"):
        generate(100, "dense", 0, queries=1851)
    with pytest.raises(ValueError, match="leave 5 of 1850 attributes"):
        generate(100, "cycle", 0, queries=1845)


@pytest.mark.parametrize(
    ("documents", "pattern", "seed", "digest"),
    [
        (46, "dense", 0, "39646491b86ce9e6d5981b0385ac5d409f586d426a149a984952ee5c49aad04e"),
        (46, "dense", 7, "c17da24ce42689bce1914ad6d7ab319e32f18e538668650ef62d32c774e70f98"),
        (1000, "random", 0, "bf70c2fa91db193ed9fae17c0bac2dfcf0b95dab1c0b9b4334b0f654ae778706"),
        (1000, "cycle", 0, "a6be6f3bbbeb173a9c96ef23c7f7f583f3b4ec172b3116a80746a6984f49dac1"),
        (2000, "disjoint", 0, "7775b0b28845f77b0bbb587d15eceec059c01fe7d79e5722bbf031e8b812130d"),
        (1000, "dense", 2**128 - 1, "70ca6f79a6bfad41cd40a0d8d0a82c6d04b10a71370fe29793f59108918c0cb4"),
    ],
)
def test_a_seed_means_the_same_collection_for_ever(documents: int, pattern: str, seed: int, digest: str) -> None:
    assert generate(documents, pattern, seed).digest() == digest


def test_the_full_size_has_the_published_mean_length() -> None:
    corpus = generate(50_000, "dense", 0)
    assert len(set(corpus.document_ids)) == 50_000 == len(corpus.documents)
    assert corpus.document_ids == sorted(corpus.document_ids)
    assert abs(float(np.mean([len(text) for text in corpus.documents])) - 598) < 5


@pytest.mark.parametrize("pair", [(0, 1), (0, 2**128), (5, -5), (2**64, 2**128)])
def test_different_seeds_give_different_collections(pair: tuple[int, int]) -> None:
    one, other = (generate(46, "dense", seed) for seed in pair)
    assert not set(one.document_ids) & set(other.document_ids)
    assert one.queries != other.queries


def test_patterns_of_one_seed_share_names_and_queries() -> None:
    corpora = [generate(2000, pattern, 11) for pattern in PATTERNS]
    assert all(corpus.document_ids == corpora[0].document_ids for corpus in corpora)
    assert all(corpus.queries == corpora[0].queries for corpus in corpora)


@settings(max_examples=60, deadline=None)
@given(
    pattern=st.sampled_from(sorted(PATTERNS)), documents=st.integers(1, 60), queries=st.integers(1, 60),
    k=st.integers(1, 4), attributes=st.integers(1, 45), seed=st.integers(0, 2**256),
)  # fmt: skip
def test_every_collection_is_consistent_or_refused(
    pattern: str, documents: int, queries: int, k: int, attributes: int, seed: int
) -> None:
    try:
        corpus = generate(documents, pattern, seed, queries=queries, k=k, attributes=attributes)
    except ValueError:
        assert k > documents or pattern in ("dense", "disjoint")
        return
    assert len(corpus.documents) == documents and len(corpus.queries) == queries
    assert len(set(corpus.document_ids)) == documents and corpus.document_ids == sorted(corpus.document_ids)
    likes = listed(corpus)
    assert all(len(items) == len(set(items)) >= attributes for items in likes)
    for number, attribute in enumerate(asked(corpus)):
        assert [i for i, items in enumerate(likes) if attribute in items] == corpus.relevant(number).tolist()
        assert len(corpus.relevant(number)) == k


@settings(max_examples=30, deadline=None)
@given(n=st.integers(2, 20), k=st.integers(1, 3), seed=st.integers(0, 2**64))
def test_all_subsets_are_asked_for_any_k(n: int, k: int, seed: int) -> None:
    if k <= n and comb(n, k) <= 1000:
        corpus = all_pairs(n, seed, k=k)
        subsets = {tuple(corpus.relevant(i).tolist()) for i in range(len(corpus.queries))}
        assert len(corpus.queries) == len(subsets) == comb(n, k)


@given(bound=st.integers(1, 2**63), seed=st.integers(0, 2**130))
def test_integers_stay_below_their_bound(bound: int, seed: int) -> None:
    drawn = Stream("test", seed).below(bound, 50)
    assert int(drawn.min()) >= 0
    assert int(drawn.max()) < bound


def test_integers_are_fair_where_a_plain_remainder_is_not() -> None:
    bound = 3 << 61  # 2^64 = 2 x bound + 2^62: a remainder gives 3 in 4 values below 2^62, not 2 in 3
    drawn = Stream("test", 0).below(bound, 30_000)
    assert abs(float(np.mean(drawn < 1 << 62)) - 2 / 3) < 0.015


def test_each_subset_and_each_arrangement_is_equally_likely() -> None:
    subsets = Counter(tuple(sorted(row)) for row in Stream("test", 0).subsets(6000, 2, 4).tolist())
    assert set(subsets) == set(combinations(range(4), 2))
    assert all(abs(count - 1000) < 150 for count in subsets.values())  # five standard deviations
    arrangements = Counter(map(tuple, Stream("test", 0).arrangements(12_000, 2, 4).tolist()))
    assert len(arrangements) == 12
    stream = Stream("test", 0)
    orders = Counter(tuple(stream.distinct(3, 3).tolist()) for _ in range(6000))
    assert len(orders) == 6
    assert all(abs(count - 1000) < 150 for count in orders.values())
    assert all(abs(count - 1000) < 155 for count in arrangements.values())


def test_a_query_attribute_stands_anywhere_in_its_document() -> None:
    corpus = generate(2000, "disjoint", 0)
    likes = listed(corpus)
    places = [likes[d].index(a) for i, a in enumerate(asked(corpus)) for d in corpus.relevant(i).tolist()]
    assert abs(float(np.mean(places)) - 22) < 1.5
    assert set(places) == set(range(45))
