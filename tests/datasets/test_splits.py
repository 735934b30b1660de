"""Splits by whole clusters, mmseqs2 and what stands in for it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmarks.recipes.data import read_chains
from s2p.datasets import splits
from s2p.datasets.labelled import Complex
from s2p.datasets.splits import cluster, homologous, search_method, split_complexes
from s2p.errors import S2PError

needs_mmseqs = pytest.mark.skipif(shutil.which("mmseqs") is None, reason="mmseqs2 is not installed")
SEQUENCES = Path(os.environ.get("S2P_DATA", "data/public")) / "sequences" / "small"


def entry(name: str, *clusters: str) -> Complex:
    return Complex("s", name, Path("p"), (Path("l"),), clusters)


def test_split_never_shares_a_cluster() -> None:
    draw = np.random.default_rng(0)
    complexes = [entry(str(k), *{f"c{draw.integers(80)}", f"c{draw.integers(80)}"}) for k in range(300)]
    split = split_complexes(complexes, always_test=["c7"])
    groups = {
        name: {c for x in complexes if split[x.key] == name for c in x.clusters} for name in ("train", "validation", "test")
    }
    assert all(groups.values())
    assert not groups["train"] & groups["test"]
    assert not groups["train"] & groups["validation"]
    assert not groups["validation"] & groups["test"]
    assert all(split[x.key] == "test" for x in complexes if "c7" in x.clusters)


def test_split_does_not_change_when_data_are_added() -> None:
    first = [entry(str(k), f"c{k}") for k in range(50)]
    more = first + [entry(f"n{k}", f"d{k}") for k in range(50)]
    a, b = split_complexes(first), split_complexes(more)
    assert all(a[key] == b[key] for key in a)


@pytest.mark.parametrize("method", [pytest.param("mmseqs2", marks=needs_mmseqs), "kmer"])
def test_homologues_are_found_and_strangers_not(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splits, "search_method", lambda: method)
    draw = np.random.default_rng(0)
    letters = list("ACDEFGHIKLMNPQRSTVWY")
    a = "".join(draw.choice(letters, 150))
    mutated = "".join(draw.choice(letters) if draw.random() < 0.4 else x for x in a)
    stranger = "".join(draw.choice(letters, 150))
    assert homologous({"q": a}, {"near": mutated, "far": stranger}) == {"near": {"q"}}
    groups = cluster({"a": a, "copy": a[:-5], "far": stranger})
    assert sorted(sorted(g) for g in groups) == [["a", "copy"], ["far"]]


def test_identity_and_coverage_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splits, "search_method", lambda: "kmer")
    draw = np.random.default_rng(0)
    letters = list("ACDEFGHIKLMNPQRSTVWY")
    a = "".join(draw.choice(letters, 200))
    near = "".join(draw.choice(letters) if draw.random() < 0.02 else c for c in a)
    half = a[:100]
    table = {"a": a, "near": near, "half": half}
    assert [sorted(g) for g in cluster(table, identity=0.95, coverage=0.8)] == [["a", "near"], ["half"]]
    assert [sorted(g) for g in cluster(table, identity=0.9, coverage=0.4)] == [["a", "half", "near"]]
    assert homologous({"h": half}, {"a": a}) == {"a": {"h"}}
    assert homologous({"n": near}, {"a": a}, identity=0.999) == {}


def test_what_mmseqs2_answers_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program of that name that knows its answers: hits whose coverage is judged here, and clusters."""
    program = tmp_path / "mmseqs"
    program.write_text(
        "#!/bin/sh\n"
        "case $1 in easy-search) grep -q ACDEF query && printf '0\\t0\\t5\\n0\\t1\\t2\\n' > hits;;\n"
        "easy-cluster) printf '1\\t1\\n1\\t0\\n2\\t2\\n' > out_cluster.tsv;;\nesac\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert homologous({"q": "ACDEF"}, {"a": "ACDEF", "b": "DEFGH"}) == {"a": {"q"}}
    assert cluster({"a": "ACDEF", "b": "ACDEF", "c": "WWWWW"}) == [["b", "a"], ["c"]]
    program.write_text("#!/bin/sh\necho no memory >&2; exit 3\n")
    with pytest.raises(S2PError, match="mmseqs2 failed: no memory"):
        cluster({"a": "ACDEF"})


def test_without_mmseqs_the_search_of_our_own_takes_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert search_method() == "kmer"
    letters = np.random.default_rng(1).choice(list("ACDEFGHIKLMNPQRSTVWY"), 120)
    assert homologous({"a": "".join(letters)}, {"b": "".join(letters[5:])}) == {"b": {"a"}}


def _pairs(found: dict[str, set[str]]) -> set[tuple[str, str]]:
    return {(min(q, t), max(q, t)) for t, queries in found.items() for q in queries if q != t}


def _together(groups: list[list[str]]) -> set[tuple[str, str]]:
    return {(min(a, b), max(a, b)) for group in groups for k, a in enumerate(group) for b in group[:k]}


@needs_mmseqs
@pytest.mark.slow
@pytest.mark.skipif(not SEQUENCES.is_dir(), reason="the archive of labelled sequences is not unpacked here")
def test_both_searches_agree_on_real_chains(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measured on all 621 chains: search 121 of 122 pairs of mmseqs2, and 1 pair of its own; clusters 97 of 98, and 3."""
    chains = {c.sequence for c in read_chains(SEQUENCES / "chen11.txt")}
    chains |= {c.sequence for c in read_chains(SEQUENCES / "coach420.txt")[:200]}
    table = {str(k): sequence for k, sequence in enumerate(sorted(chains)) if len(sequence) >= 30}
    assert len(table) > 300
    pairs, groups = [], []
    for method in ("mmseqs2", "kmer"):
        monkeypatch.setattr(splits, "search_method", lambda method=method: method)
        pairs.append(_pairs(homologous(table, table)))
        groups.append(_together(cluster(table, identity=0.3)))
    assert len(pairs[0]) > 15
    for (theirs, ours), share in ((pairs, 0.95), (groups, 0.9)):
        assert len(theirs & ours) >= share * max(len(theirs), len(ours)), (len(theirs), len(ours), len(theirs & ours))
