"""Splits that keep homologues together: clusters of chains, held-out sets, and a search for leaks.

Sequences are compared by mmseqs2 where it is installed, otherwise by :mod:`s2p.datasets.homology`.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from s2p.datasets.homology import greedy_set_cover, search
from s2p.datasets.labelled import Complex
from s2p.errors import S2PError
from s2p.io.files import read_csv

__all__ = ["COVERAGE", "IDENTITY", "cluster", "drawn", "homologous", "read_splits", "search_method", "split_complexes"]

IDENTITY, COVERAGE = 0.3, 0.5
"""Chains that share this much of their sequence are relatives: they are never on both sides of a split."""


def search_method() -> Literal["mmseqs2", "kmer"]:
    """The program that compares sequences. Record it with a split: the two agree well, but not fully."""
    return "mmseqs2" if shutil.which("mmseqs") else "kmer"


def drawn(text: str) -> float:
    """A number in [0, 1) that depends on the text only; it decides to which split a cluster belongs."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64


def homologous(
    queries: Mapping[str, str], targets: Mapping[str, str], *, identity: float = IDENTITY, coverage: float = COVERAGE
) -> dict[str, set[str]]:
    """Targets that are similar to a query, by mmseqs2 at its highest sensitivity or by the k-mer search.

    A hit has at least the share ``identity`` of identical residues over an alignment that covers at least the share ``coverage``
    of the shorter sequence. Queries and targets are given as id -> sequence; returned is target id -> ids of the queries it hits
    (targets without hits are absent). :class:`S2PError` if mmseqs2 fails.
    """
    if search_method() == "kmer":
        hits = search(list(queries.values()), list(targets.values()))
        pairs = [(hit.query, hit.target, hit.length) for hit in hits if hit.identity >= identity]
    else:
        command = ["easy-search", "query", "target", "hits", "tmp", "-s", "7.5", "--max-seqs", "5000", "-e", "1e-3", "-v", "1"]
        command += ["--min-seq-id", str(identity), "--format-output", "query,target,alnlen"]
        rows = _mmseqs(command, {"query": queries, "target": targets}, "hits")
        pairs = [(int(query), int(target), int(length)) for query, target, length in rows]
    query_names, target_names = list(queries), list(targets)
    found: dict[str, set[str]] = {}
    for k, j, length in pairs:
        query, target = query_names[k], target_names[j]
        if length >= coverage * min(len(queries[query]), len(targets[target])):
            found.setdefault(target, set()).add(query)
    return found


def read_splits(path: Path) -> dict[str, str]:
    """``dataset/id`` -> split, of a table with the columns ``dataset``, ``id`` and ``split`` (:func:`s2p.io.files.read_csv`)."""
    return {f"{row['dataset']}/{row['id']}": row["split"] for row in read_csv(path, ("dataset", "id", "split"))}


def split_complexes(complexes: Sequence[Complex], *, always_test: Iterable[str] = ()) -> dict[str, str]:
    """Split by whole clusters: ``train``, ``validation`` (15 % of the clusters) or ``test`` (25 %) for every complex.

    A cluster's split follows from a hash of its name, so it does not change when other data are added. A complex whose
    chains fall in several splits goes to the most protected one (test, then validation), and its other clusters leave
    the training set with it. Clusters in ``always_test`` are held out whatever their hash says.

    Returned is ``Complex.key`` -> split; complexes that share a cluster with a more protected split are ``unused``.
    """
    forced = set(always_test)

    def place(cluster: str) -> str:
        if cluster in forced:
            return "test"
        draw = drawn(f"s2p-1:{cluster}")
        return "test" if draw < 0.25 else "validation" if draw < 0.4 else "train"

    names = ("train", "validation", "test")
    level = {x.key: max(names.index(place(c)) for c in x.clusters) for x in complexes}
    reserved: dict[str, int] = {}
    for x in complexes:
        for c in x.clusters:
            reserved[c] = max(reserved.get(c, 0), level[x.key])
    return {x.key: "unused" if max(reserved[c] for c in x.clusters) > level[x.key] else names[level[x.key]] for x in complexes}


def cluster(sequences: Mapping[str, str], *, identity: float = 0.95, coverage: float = 0.8) -> list[list[str]]:
    """Groups of ids, the representative first: similar enough to it over enough of both sequences."""
    names, texts = list(sequences), list(sequences.values())
    if search_method() == "kmer":
        pairs = [
            (hit.query, hit.target)
            for hit in search(texts)
            if hit.identity >= identity
            and min(hit.query_span / len(texts[hit.query]), hit.target_span / len(texts[hit.target])) >= coverage
        ]
        groups = greedy_set_cover(len(names), pairs)
    else:
        command = ["easy-cluster", "all", "out", "tmp", "--min-seq-id", str(identity), "-c", str(coverage), "-v", "1"]
        members: dict[str, list[int]] = {}
        for representative, member in _mmseqs(command, {"all": sequences}, "out_cluster.tsv"):
            group = members.setdefault(representative, [int(representative)])
            if member != representative:
                group.append(int(member))
        groups = list(members.values())
    return [[names[k] for k in group] for group in groups]


def _mmseqs(arguments: list[str], inputs: Mapping[str, Mapping[str, str]], output: str) -> list[list[str]]:
    """Run mmseqs2 over FASTA files, in which sequences are named by their number; the rows of the table it writes."""
    with tempfile.TemporaryDirectory() as folder:
        for name, table in inputs.items():
            (Path(folder) / name).write_text("".join(f">{k}\n{sequence}\n" for k, sequence in enumerate(table.values())))
        done = subprocess.run(
            [shutil.which("mmseqs") or "mmseqs", *arguments], cwd=folder, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise S2PError(f"mmseqs2 failed: {done.stderr.strip()[-300:]}")
        return [line.split("\t") for line in (Path(folder) / output).read_text().splitlines()]
