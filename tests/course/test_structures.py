"""The course's structures have the sites of the label table, and the labels of all copies of a chain."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from course.structures import binding_flags, course_structures, find, labelled_chains, moved, path_of, superposed, truth_of
from s2p.errors import StructureError
from s2p.evaluation.cases import find_cases
from s2p.structure.ligands import ligand_sites
from s2p.structure.transforms import random_rotation


def test_sites_are_those_of_the_label_table(examples: Path) -> None:
    with open(examples / "labels.csv", newline="") as handle:
        rows = [row for row in csv.DictReader(handle) if row["structure"] in ("1uou", "1ia1", "1hpv")]
    for item in course_structures(["1uou", "1ia1", "1hpv"], examples):
        ids = item.structure.residues.ids()
        found = {" ".join(ids[i] for i in site) for site in item.sites}
        assert found == {row["residues"] for row in rows if row["structure"] == item.key}


def test_binding_flags_are_the_union(examples: Path) -> None:
    (item,) = course_structures(["1ia1"], examples)
    assert set(np.flatnonzero(binding_flags(item)).tolist()) == {int(i) for site in item.sites for i in site}
    assert sum(map(len, item.sites)) > binding_flags(item).sum()  # the two sites of a chain share residues


def test_one_chain_of_many(examples: Path) -> None:
    (item,) = course_structures(["7CFN:R"], examples)
    assert item.key == "7CFN" and item.structure.chains == ["R"] and len(item.sites) == 4


def test_a_file_of_the_reader(examples: Path) -> None:
    (item,) = course_structures([f"{examples / '4CUP.cif'}:A"], examples)
    (same,) = course_structures(["4CUP:A"], examples)
    assert item.key.lower() == "4cup" and [s.tolist() for s in item.sites] == [s.tolist() for s in same.sites]


def test_copies_become_one_chain_with_all_labels(examples: Path) -> None:
    items = course_structures(["1ia1", "1hpv", "1a28"], examples)
    chains = labelled_chains(items)
    assert [c.id for c in chains] == ["1ia1_A", "1hpv_A", "1a28_A", "1a28_B"]  # 1a28's chains miss different residues
    flags, of = binding_flags(items[0]), items[0].structure.residues.chain
    assert np.array_equal(chains[0].labels.astype(bool), flags[of == "A"] | flags[of == "B"])
    assert chains[0].labels.sum() > flags[of == "A"].sum()


def test_chains_that_bind_nothing_are_left_out(examples: Path) -> None:
    assert labelled_chains(course_structures(["1ubi"], examples)) == []


def test_a_missing_chain_is_an_error(examples: Path) -> None:
    with pytest.raises(StructureError, match="Z"):
        course_structures(["1uou:Z"], examples)


def test_one_name_with_and_without_a_chain(examples: Path) -> None:
    both, one = find("1AKE"), find("1ake:A")
    assert both.key == one.key == "1ake" and both.structure.chains == ["A", "B"] and one.structure.chains == ["A"]
    assert len(both.sites) == 2 and one.sites[0].tolist() == both.sites[0].tolist()
    assert find(str(examples / "1ake.cif.gz")).structure.chains == ["A", "B"]


def test_a_colon_in_a_path_is_no_chain(examples: Path, tmp_path: Path) -> None:
    own = tmp_path / "a:b.cif"
    own.write_bytes((examples / "4CUP.cif").read_bytes())
    assert find(str(own)).structure.chains == find(f"{own}:A").structure.chains == ["A"]


def test_the_ligand_beside_a_structure_is_put_into_it() -> None:
    item = find("1uou")
    (site,) = ligand_sites(item.structure).sites
    assert site.residues.tolist() == item.sites[0].tolist() and site.ligand.id == "LIG A:9999"
    assert find("1ia1:A").structure.ligands[-1].name != "LIG"  # that file's ligand belongs to chain B


def test_without_a_ligand_another_is_shown_with_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert find("3enl").key == "3enl" and capsys.readouterr().out == ""
    assert find("3enl", instead="1ake:A").key == "1ake"
    assert capsys.readouterr().out.startswith("3enl contains no ligand of interest, and what follows needs one.")
    assert find("1ake", instead="3mht", what="nucleic").key == "3mht"
    assert "1ake contains no DNA or RNA" in capsys.readouterr().out


def test_what_is_no_structure_is_an_error() -> None:
    with pytest.raises(StructureError, match="nor a bundled structure, which are 1GBT, 1a28"):
        find("adenylate kinase")


def test_the_file_of_a_name(examples: Path) -> None:
    assert path_of("1AKE:A") == examples / "1ake.cif.gz" and path_of(str(examples / "4CUP.cif")) == examples / "4CUP.cif"


def test_what_keeps_its_place_is_fitted() -> None:
    opened, closed = find("4ake").structure, find("1ake:A").structure
    turned = moved(opened, random_rotation(np.random.default_rng(0)), np.array([5.0, -3.0, 8.0]), None)
    for start in (opened, turned):
        over, core = superposed(start, closed)
        gap = np.linalg.norm(over.residues.ca_coord - closed.residues.ca_coord, axis=1)
        far = set(over.residues.number[gap > 5].tolist())
        assert core.sum() == 112 and gap[core].max() <= 2.0 and gap.max() == pytest.approx(24.7, abs=0.1)
        assert far == {*range(35, 61), 63, *range(121, 161), 162}  # the domain of AMP, and the lid


def test_other_residues_cannot_be_laid_over() -> None:
    with pytest.raises(StructureError, match="same residues"):
        superposed(find("1ubi").structure, find("1ake:A").structure)


def test_the_truth_is_that_of_the_benchmark() -> None:
    cases = {case.id: case for case in find_cases("mini").cases}
    for name in ("1ake", "7CFN", "1uou"):
        ours, theirs = truth_of(find(name)), cases[name].read()
        assert ours.structure.ligands == () and np.array_equal(ours.labels, theirs.labels)
        assert all(np.array_equal(a, b) for a, b in zip(ours.ligands, theirs.ligands, strict=True))
