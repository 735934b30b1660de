"""Which structures, and which truth, a data set gives."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from s2p.errors import S2PError
from s2p.evaluation.cases import Case, find_cases
from s2p.structure.ligands import ligand_labels, relevant_ligands
from s2p.structure.nucleic import nucleic_contacts
from s2p.structure.reading import read_structure

HEADER = "dataset,id,status,flag\n"


def complexes(folder: Path, examples: Path) -> Path:
    """Two complexes with one ligand each, cut out of a bundled structure."""
    text = (examples / "6WQA.cif").read_text()
    import gemmi

    structure = gemmi.make_structure_from_block(gemmi.cif.read_string(text).sole_block())
    structure.setup_entities()
    ligand = structure.clone()
    ligand.remove_waters()
    for chain in ligand[0]:
        for k in reversed(range(len(chain))):
            if chain[k].name != "ZMA":
                del chain[k]
    structure.remove_ligands_and_waters()
    for name in ("one", "two"):
        place = folder / "set" / name
        place.mkdir(parents=True)
        (place / "protein.pdb").write_text(structure.make_pdb_string())
        (place / "ligand_01.pdb").write_text(ligand.make_pdb_string())
    (folder / "index.csv").write_text(HEADER + "set,one,OK,\nset,two,OK,\n")
    (folder / "chain_clusters.csv").write_text("chain,cluster30\nset|one|A,c1\nset|two|A,c2\n")
    (folder / "splits.csv").write_text("dataset,id,split\nset,one,test\nset,two,validation\n")
    return folder


def test_mini_set_of_a_clone_for_an_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, examples: Path) -> None:
    """As in Colab, where notebooks run in a folder of the clone and the package lies elsewhere."""
    (tmp_path / "clone" / "data").mkdir(parents=True)
    (tmp_path / "clone" / "data" / "examples").symlink_to(examples)
    monkeypatch.setattr("s2p.evaluation.cases.__file__", str(tmp_path / "site" / "s2p" / "evaluation" / "cases.py"))
    for folder in ("notebooks", ""):
        (tmp_path / "clone" / folder).mkdir(exist_ok=True)
        monkeypatch.chdir(tmp_path / "clone" / folder)
        assert len(find_cases("mini", limit=1).cases) == 1
    monkeypatch.chdir(tmp_path)
    with pytest.raises(S2PError, match="data/examples is in the repository only"):
        find_cases("mini")


def test_mini_set_has_the_bundled_ligands() -> None:
    cases = find_cases("mini")
    assert (cases.name, cases.split, len(cases.cases)) == ("mini", "", 13)
    assert len({case.cluster for case in cases.cases}) == 12  # two dihydrofolate reductases
    found = {case.id: case.read() for case in cases.cases if case.id in ("6WQA", "1ia1", "1s3v")}
    assert found["6WQA"].names == ("ZMA A:1202",)
    assert found["1s3v"].names == ("1s3v_ligand.sdf",)
    assert len(found["1ia1"].ligands) == 4  # each copy is a site
    for truth in found.values():
        assert truth.structure.ligands == ()
        assert 0 < truth.labels.sum() < len(truth.labels) == len(truth.structure.residues)


def test_a_folder_of_structures(tmp_path: Path, examples: Path) -> None:
    (tmp_path / "a.cif").write_bytes((examples / "6WQA.cif").read_bytes())
    (tmp_path / "b.pdb").write_bytes(gzip.decompress((examples / "1a28.pdb.gz").read_bytes()))
    (tmp_path / "notes.txt").write_text("not a structure")
    cases = find_cases(tmp_path)
    assert [(c.id, c.cluster) for c in cases.cases] == [("a", "a"), ("b", "b")]
    truth = cases.cases[1].read()
    assert len(truth.ligands) == 2
    np.testing.assert_array_equal(truth.labels, ligand_labels(read_structure(tmp_path / "b.pdb")))
    with pytest.raises(S2PError, match="has no splits"):
        find_cases(tmp_path, "test")


def test_complexes_by_split(tmp_path: Path, examples: Path) -> None:
    folder = complexes(tmp_path, examples)
    cases = find_cases(folder, splits=folder / "splits.csv")
    assert (cases.split, [c.id for c in cases.cases], cases.cases[0].cluster) == ("test", ["set/one"], "c1")
    truth = cases.cases[0].read()
    assert truth.names == ("ligand_01",)
    assert len(truth.ligands[0]) == 25  # ZM241385: C16 H15 N7 O2
    assert truth.labels.sum() == 15
    assert [c.id for c in find_cases(folder, "validation", splits=folder / "splits.csv").cases] == ["set/two"]
    with pytest.raises(S2PError, match="there is no split 'tset'; it has test, validation"):
        find_cases(folder, "tset", splits=folder / "splits.csv")


def test_ligysis_labels_follow_the_alignment(tmp_path: Path, examples: Path) -> None:
    (tmp_path / "chains").mkdir()
    (tmp_path / "chains" / "x.cif").write_bytes((examples / "4CUP.cif").read_bytes())
    sequence = read_structure(examples / "4CUP.cif").sequence()
    row = f"validation,P1,x.cif,{sequence[4]}14 {sequence[9]}19,{'M' * 10}{sequence}\n"
    head = "split,uniprot,chain_file,binding_residues_0based_uniprot,uniprot_sequence\n"
    (tmp_path / "chains.csv").write_text(head + row + row.replace("validation,P1", "train,P2"))
    cases = find_cases(tmp_path)
    assert [c.id for c in cases.cases] == ["P1"]
    truth = cases.cases[0].read()
    assert truth.ligands == ()
    assert np.flatnonzero(truth.labels).tolist() == [4, 9]
    assert [c.id for c in find_cases(tmp_path, "train").cases] == ["P2"]


def test_lines_of_a_label_file_are_sites(tmp_path: Path, examples: Path) -> None:
    """Each by itself, but for lines that name one ligand of the file; structures beside the file or elsewhere."""
    structure = read_structure(examples / "1hpv.pdb.gz")
    one, two = structure.sequence("A"), structure.sequence("B")
    (ligand,) = relevant_ligands(structure)
    lines = [f"1hpv;A;{ligand.id};{one[24]}24 {one[26]}26;{one}", f"1HPV;A;site;{one[24]}24 {one[79]}79;{one}"]
    lines += [f"1hpv;B;{ligand.id};{two[24]}24;{two}", f"1hpv;B;;;{two}"]
    table = tmp_path / "labels.txt"
    table.write_text("\n".join(lines).replace("1HPV", "1hpv"))
    (case,) = find_cases(table, structures=examples).cases
    truth = case.read()
    assert truth.names == (ligand.id, "site (line 2)")
    assert [site.tolist() for site in truth.sites or ()] == [[24, 26, len(one) + 24], [24, 79]]
    np.testing.assert_array_equal(truth.ligands[0], ligand.coord)
    assert truth.ligands[1].shape == (0, 3) and truth.structure.ligands == ()
    assert np.flatnonzero(truth.labels).tolist() == [24, 26, 79, len(one) + 24]
    with pytest.raises(S2PError, match="line 1: no structure file of 1hpv in .*--structures"):
        find_cases(tmp_path)
    (tmp_path / "1hpv.pdb.gz").write_bytes((examples / "1hpv.pdb.gz").read_bytes())
    assert find_cases(tmp_path).cases[0].read().names == truth.names
    table.write_text(f">1hpv\n{one}\n{'01' + '0' * (len(one) - 2)}\n")
    with pytest.raises(S2PError, match="line 1: 1hpv has no chain"):
        find_cases(table)
    table.write_text(f"1hpv;A;x;{one[3]}2;{one[1:]}\n")
    with pytest.raises(S2PError, match=r"labels.txt, line 1: the sequence of 1hpv_A \(98 residues\) is not that of the observed"):
        find_cases(table).cases[0].read()


def test_proteins_without_a_site_are_used_skipped_or_refused(tmp_path: Path, examples: Path) -> None:
    for name in ("4CUP.cif", "1ubi.pdb.gz"):
        (tmp_path / name).write_bytes((examples / name).read_bytes())
    (tmp_path / "broken.pdb").write_text("HEADER    NOTHING\n")  # the run says so
    assert [c.id for c in find_cases(tmp_path).cases] == ["1ubi", "4CUP", "broken"]
    assert [c.id for c in find_cases(tmp_path, empty="skip").cases] == ["4CUP", "broken"]
    with pytest.raises(S2PError, match="1ubi.pdb.gz: it has no site"):
        find_cases(tmp_path, empty="refuse")


def test_the_truth_may_be_contacts_with_nucleic_acids(tmp_path: Path, examples: Path) -> None:
    for name in ("3mht.pdb.gz", "7pbl.pdb.gz", "1ubi.pdb.gz"):
        (tmp_path / name).write_bytes((examples / name).read_bytes())
    found = find_cases(tmp_path, contacts="dna")  # ubiquitin has no nucleic acid
    assert [case.id for case in found.cases] == ["3mht", "7pbl"] and found.split == "contacts with DNA"
    for case in found.cases:
        whole, truth = read_structure(case.path), case.read()
        labels = nucleic_contacts(whole, "dna").astype(bool)
        touched = [c for c in whole.chains if labels[whole.residues.chain == c].any()]
        assert truth.structure.chains == touched and not truth.structure.ligands and not truth.names
        assert truth.labels.tolist() == labels[np.isin(whole.residues.chain, touched)].tolist()
    assert len(touched) < len(whole.chains)  # of the motor
    assert [case.id for case in find_cases(tmp_path / "3mht.pdb.gz", contacts="any").cases] == ["3mht"]
    with pytest.raises(S2PError, match="nothing in it has a site to evaluate .rna contacts"):
        find_cases(tmp_path, contacts="rna")
    with pytest.raises(S2PError, match="1ubi.pdb.gz: it has no site"):
        find_cases(tmp_path, contacts="dna", empty="refuse")
    with pytest.raises(S2PError, match="drop --split"):
        find_cases(tmp_path, "test", contacts="dna")


def test_limit_takes_one_of_each_cluster_first() -> None:
    names = [case.id for case in find_cases("mini").cases]
    assert "1s3v" in names and "1ia1" in names
    twelve = [case.id for case in find_cases("mini", limit=12).cases]
    assert len(twelve) == 12 and len({"1s3v", "1ia1"} & set(twelve)) == 1
    assert twelve == [name for name in names if name in twelve]


def test_what_is_missing_is_named(tmp_path: Path, examples: Path) -> None:
    with pytest.raises(S2PError, match="no data set 'nowhere'"):
        find_cases("nowhere")
    with pytest.raises(S2PError, match="it contains nothing to evaluate"):
        find_cases(tmp_path)
    with pytest.raises(S2PError, match="does not contain the ligand 'XYZ A:1'"):
        Case("x", "x", examples / "4CUP.cif", "listed", ("XYZ A:1",)).read()
