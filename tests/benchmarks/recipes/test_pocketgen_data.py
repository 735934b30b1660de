"""Masked residues that PocketGen's heads learn from: where they are, what is kept of them, and folds of clusters."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import gemmi
import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist

from benchmarks.recipes import pocketgen_data as pocketgen_places
from benchmarks.recipes.pocketgen_data import (
    SITE_WIDTH,
    Protein,
    chains_of,
    clustered,
    decoy,
    few_of_each,
    pockets_of,
    prepare_places,
    read_chains,
    related,
    sites_of,
    trace_rows,
)
from benchmarks.recipes.pocketgen_heads import KINDS, Places, TraceRows
from benchmarks.studies import pocketgen as pocketgen_folds
from benchmarks.studies.pocketgen import cross_validate, fit_traces, fold_of, summary, unlike
from s2p.errors import S2PError
from s2p.models.encoder import start_encoder
from s2p.models.pocketgen.config import PocketConfig
from s2p.models.pocketgen.data import LigandAtoms, make_pocket, masked_features
from s2p.models.pocketgen.surroundings.counts import N_ENVIRONMENT
from s2p.models.pocketgen.surroundings.trace import TraceNet
from s2p.structure.reading import Structure, read_structure

LIGANDS = {"1hpv.pdb.gz": "478", "6WQA.cif": "ZMA", "1GBT.cif.gz": "GBS", "1pwc.pdb.gz": "PNM"}


def protein(examples: Path, file: str, cluster: str = "c") -> Protein:
    structure = read_structure(examples / file)
    ligand = next(x for x in structure.ligands if x.name == LIGANDS[file])
    return Protein(f"set/{file}", cluster, structure, [LigandAtoms(ligand.coord.astype(np.float32), ligand.element)])


def on_line(_: Protein) -> None:
    """No network: CA atoms are on the line between their neighbours."""


@pytest.fixture(scope="module")
def backbone() -> torch.nn.Module:
    return start_encoder()


@pytest.fixture(scope="module")
def bromodomain(examples: Path) -> Structure:
    return read_structure(examples / "4CUP.cif")


def test_sites_are_groups_of_binding_residues_that_lie_together(bromodomain: Structure) -> None:
    rng = np.random.default_rng(0)
    binding = rng.random(len(bromodomain.residues)) < 0.3
    sites = sites_of(bromodomain, binding)
    assert len(sites) > 1
    together = np.concatenate(sites)
    assert len(set(together.tolist())) == len(together) and binding[together].all()
    for site in sites:
        assert len(site) >= 3 and (np.diff(site) > 0).all()
        assert pdist(bromodomain.residues.ca_coord[site]).max() <= SITE_WIDTH
    assert sites_of(bromodomain, np.zeros(len(binding), bool)) == []
    assert sites_of(bromodomain, np.arange(len(binding)) < 2) == []


def test_chains_come_with_their_sites(tmp_path: Path, examples: Path) -> None:
    assert read_chains(tmp_path) == []
    folder = tmp_path / "ligysis"
    (folder / "chains").mkdir(parents=True)
    gemmi.read_structure(str(examples / "4CUP.cif")).write_pdb(str(folder / "chains" / "x.pdb"))
    sequence = read_structure(examples / "4CUP.cif").sequence()
    with open(folder / "chains.csv", "w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["split", "uniprot", "chain_file", "binding_residues_0based_uniprot", "uniprot_sequence"])
        writer.writerow(["train", "P1", "x.pdb", " ".join(f"{sequence[k]}{k}" for k in (20, 21, 22, 24)), sequence])
    (found,) = read_chains(tmp_path)
    assert found.key == "ligysis/P1" and found.ligands == []
    assert [site.tolist() for site in found.sites] == [[20, 21, 22, 24]]


def test_relatives_are_found_from_either_side(examples: Path) -> None:
    one, other = protein(examples, "1GBT.cif.gz"), protein(examples, "1hpv.pdb.gz")
    same = replace(one, key="again/trypsin")
    found = related(chains_of([one, other]), chains_of([same]))
    assert found == {one.key: {"again/trypsin"}}


def test_a_cluster_gives_so_many_complexes_with_one_ligand_each(examples: Path) -> None:
    one = protein(examples, "1GBT.cif.gz")
    many = [replace(one, key=str(k), cluster="ab"[k % 2], ligands=one.ligands * 2) for k in range(5)]
    found = few_of_each(many, 2)
    assert [x.key for x in found] == ["0", "1", "2", "3"]
    assert all(len(x.ligands) == 1 for x in found)


def test_places_are_masked_residues_with_what_is_told_of_them(examples: Path, backbone: torch.nn.Module) -> None:
    config = PocketConfig()
    one = protein(examples, "1GBT.cif.gz")
    one = replace(one, sites=[np.array([10, 11, 12, 14])])
    places, pockets, decoys = prepare_places([one], backbone, config, on_line, 5, 2)
    assert len(pockets) == 1 and len(decoys) == 2
    counts = np.bincount(places.kind, minlength=3)
    assert counts[KINDS.index("pockets")] == len(pockets[0].pocket)
    assert counts[KINDS.index("sites")] == 4
    assert counts[KINDS.index("decoys")] >= sum(len(p.pocket) for p in decoys)
    real = places.of(places.kind == KINDS.index("pockets"))
    assert np.array_equal(real.types, pockets[0].types[pockets[0].pocket])
    np.testing.assert_allclose(real.environment, pockets[0].environment, rtol=1e-3, atol=2e-3)
    site = places.of(places.kind == KINDS.index("sites"))
    expected = masked_features(backbone, one.structure, one.sites[0])
    np.testing.assert_allclose(site.language, expected, atol=0.01)
    assert site.environment.shape == (4, N_ENVIRONMENT)
    assert np.isfinite(places.environment).all()
    assert set(places.owner.tolist()) == {0}
    assert sorted(set(places.place.tolist())) == list(range(7))  # a pocket, five decoys, a site
    assert (places.place[places.kind == KINDS.index("sites")] == 6).all()


def test_what_the_language_model_says_is_kept(
    examples: Path, backbone: torch.nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = protein(examples, "1GBT.cif.gz")
    first, _, _ = prepare_places([one], backbone, PocketConfig(), on_line, 3, 0, tmp_path)
    pocket = pockets_of([one], backbone, PocketConfig(), on_line, tmp_path)[0]
    assert len(list(tmp_path.iterdir())) == 2 and not list(tmp_path.glob("*.part*"))

    def never(*_: object) -> None:
        raise AssertionError("it was said already")

    monkeypatch.setattr(pocketgen_places, "masked_features", never)
    again, _, _ = prepare_places([one], backbone, PocketConfig(), on_line, 3, 0, tmp_path)
    assert np.array_equal(first.language, again.language)
    assert np.array_equal(pockets_of([one], backbone, PocketConfig(), on_line, tmp_path)[0].language, pocket.language)
    with pytest.raises(AssertionError, match="said already"):
        prepare_places([one], backbone, PocketConfig(), on_line, 4, 0, tmp_path)
    changed = start_encoder()
    with torch.no_grad():
        changed.emb_layer_norm_after.bias.add_(1)  # type: ignore[union-attr, operator]
    with pytest.raises(AssertionError, match="said already"):
        prepare_places([one], changed, PocketConfig(), on_line, 3, 0, tmp_path)


def test_a_fold_is_named_by_heads_that_saw_nothing_like_it(
    examples: Path, backbone: torch.nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = list(LIGANDS)
    clusters = {file: next(f"{file}{k}" for k in range(99) if fold_of(f"{file}{k}", 2) == n % 2) for n, file in enumerate(files)}
    complexes = [protein(examples, file, clusters[file]) for file in files]
    # A chain that is one of the complexes under another name, in another fold: neither may be learned from for the other.
    name = next(str(k) for k in range(99) if fold_of(str(k), 2) == 1)
    twin = Protein("ligysis/twin", name, complexes[0].structure, sites=[np.array([5, 6, 7]), np.array([30, 32, 33, 34])])
    places, pockets, _ = prepare_places([*complexes, twin], backbone, PocketConfig(), on_line, 2, 0)
    seen: list[set[int]] = []

    def fit(_: object, part: Places, seed: int) -> None:
        seen.append(set(part.owner.tolist()))

    monkeypatch.setattr(pocketgen_folds, "fit_heads", fit)
    learned = unlike([*complexes, twin], 2)
    rows = cross_validate({"train": complexes[:2], "test": complexes[2:]}, [twin], places, pockets, learned)
    assert seen == [{1, 3}, {2}]
    found = {row.name.split("|")[0]: (row.fold, row.split) for row in rows if row.split != "sites"}
    assert found == {x.key: (n % 2, "train" if n < 2 else "test") for n, x in enumerate(complexes)}
    assert [(row.cluster, row.fold, row.residues) for row in rows if row.split == "sites"] == [(name, 1, 3), (name, 1, 4)]
    fewer = cross_validate({"train": complexes[:2], "test": complexes[2:]}, [twin], places, pockets, learned, per_cluster=1)
    assert sum(row.split == "sites" for row in fewer) == 1


def test_ca_atoms_of_a_fold_are_placed_by_what_saw_nothing_like_it(examples: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = list(LIGANDS)
    clusters = {file: next(f"{file}{k}" for k in range(99) if fold_of(f"{file}{k}", 2) == n % 2) for n, file in enumerate(files)}
    proteins = [protein(examples, file, clusters[file]) for file in files]
    rows = trace_rows(proteins, PocketConfig(), 3)
    seen: list[set[int]] = []

    def fit(part: TraceRows, **_: object) -> TraceNet:
        seen.append(set(part.owner.tolist()))
        return TraceNet(8)

    monkeypatch.setattr(pocketgen_folds, "fit_trace", fit)
    trace = fit_traces(proteins, rows, unlike(proteins, 2))
    assert seen == [{1, 3}, {0, 2}]
    assert trace(proteins[0]) is trace(proteins[2]) is not trace(proteins[1])
    with pytest.raises(S2PError, match="nothing is left"):
        fit_traces(proteins, rows, [np.zeros(4, bool)] * 2)


def test_chains_are_clustered_by_what_they_share(examples: Path) -> None:
    one, other = protein(examples, "1GBT.cif.gz"), protein(examples, "1pwc.pdb.gz")
    found = clustered([replace(one, key="b"), replace(one, key="a"), replace(other, key="c")])
    assert [x.cluster for x in found] == ["a", "a", "c"]


def test_the_summary_is_of_pockets_and_pairs() -> None:
    def row(cluster: str, recovery: float, language: float) -> pocketgen_folds.Row:
        return pocketgen_folds.Row("x", cluster, "test", 0, 5, recovery, language, 0.1, 2.0, 2.5)

    found = summary([row("a", 0.5, 0.3), row("b", 0.9, 0.7), row("b", 0.4, 0.2)])
    assert (found["pockets"], found["clusters"], found["residues"]) == (3, 2, 15)
    assert found["recovery"] == [0.6, 0.5, 0.65]
    assert found["gain over the language model"][:3] == [0.2, 0.2, 0.2]


def test_a_decoy_is_a_stretch_that_is_not_seen(examples: Path) -> None:
    structure = read_structure(examples / "1a28.pdb.gz")
    made = decoy(structure, PocketConfig(), np.random.default_rng(0))
    assert made is not None
    ligand, pocket, stretch = made
    own = np.isin(structure.atoms.residue_index, stretch)
    assert np.array_equal(ligand.coord, structure.atoms.coord[own])
    assert len(set(structure.residues.chain[stretch].tolist())) == 1
    assert 1 <= len(stretch) <= 4
    assert np.abs(pocket[:, None] - stretch).min() > 3
    seen = make_pocket(structure, ligand, pocket, without=stretch)
    assert not np.isin(seen.residues, stretch).any()
    assert np.isin(pocket, seen.residues).all()
