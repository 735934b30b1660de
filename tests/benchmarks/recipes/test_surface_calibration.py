"""Models of pockets from readings on disk: what a network that knows the ligands would say of toy complexes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from synthetic import make_reading
from toy_complexes import write_complexes

from benchmarks.recipes.surface_calibration import calibration_error, figures, fit_votes, main, read_samples, residue_threshold
from s2p.datasets.labelled import read_ligand
from s2p.errors import S2PError
from s2p.pockets.voting import VoteModel
from s2p.structure.arrays import binding_residues
from s2p.structure.reading import read_structure
from s2p.surface.surroundings import assemblies


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("calibration")
    write_complexes(folder / "complexes")
    (folder / "readings").mkdir()
    rows = ["set,id,split,clusters30"]
    for k in range(12):
        place = folder / "complexes" / "toy" / f"c{k:02d}"
        ligands = [read_ligand(path)[0] for path in sorted(place.glob("ligand_*.pdb"))]
        for number, part in enumerate(assemblies(read_structure(place / "protein.pdb"))):
            r = make_reading(part, ligands, seed=k)
            fields = {name: getattr(r, name) for name in ("ligandability", "centers", "extent", "residues")}
            label = np.zeros(len(r.residues), np.uint8)
            label[binding_residues(part.structure, np.concatenate(ligands))] = 1
            cloud = {"points": r.cloud.coord, "owner": r.cloud.atom, "share": r.cloud.share, "label": label}
            np.savez(folder / "readings" / f"toy~c{k:02d}~{number}.npz", **fields, **cloud)
        rows.append(f"toy,c{k:02d},{'train' if k < 8 else 'validation'},x{k:04d}")
    (folder / "surface.csv").write_text("\n".join(rows) + "\n")
    return folder


def test_a_network_that_knows_the_ligands_finds_them(work: Path) -> None:
    samples = read_samples(work, work / "readings", work / "surface.csv", ["train", "validation"])
    assert [s.key for s in samples] == [f"toy/c{k:02d}" for k in range(12)]
    own, other = samples[::2], samples[1::2]
    found = figures(other, fit_votes(own))
    assert found["dca < 4 Å, top N"] > 0.8 and found["dcc < 4 Å, top N"] > 0.8
    assert found["dca < 4 Å, top N"] <= found["dca < 4 Å, top N+2"] <= found["dca < 4 Å, top all"]
    assert found["PFI"] >= 1 and 0 <= found["calibration error"] < 0.3


def test_calibration_error_by_hand() -> None:
    chances = np.array([0.1] * 20 + [0.9] * 20)  # ten bins of four
    truth = np.array([True, False, False, False] * 5 + [True] * 20)
    assert calibration_error(chances, truth) == pytest.approx((0.15 + 0.1) / 2)
    assert calibration_error(np.repeat([0.0, 1.0], 10), np.repeat([False, True], 10)) == 0


def test_the_command_writes_what_a_checkpoint_reads(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([str(work), str(work / "readings"), "--table", str(work / "surface.csv"), "-o", str(work / "votes.json")])
    assert "fitted on 8 structures, measured on 4" in "".join(capsys.readouterr())
    written = json.loads((work / "votes.json").read_text())
    model = VoteModel.from_dict(written["votes"])
    everything = read_samples(work, work / "readings", work / "surface.csv", ["train", "validation"])
    # In the order of the fit: training first.
    assert model == fit_votes(everything, model.config)
    held = {f"toy/c{k:02d}" for k in range(8, 12)}
    assert (written["threshold"], written["card"]["residues"]["mcc_validation"]) == pytest.approx(
        residue_threshold(work / "readings", held), abs=1e-3
    )


def test_the_threshold_is_where_residues_are_told_apart(tmp_path: Path) -> None:
    label, p = np.array([1, 1, 0, 0, 2], np.uint8), np.array([0.9, 0.5, 0.41, 0.1, 0.9], np.float32)
    np.savez(tmp_path / "toy~a~0.npz", label=label, residues=p)
    np.savez(tmp_path / "toy~b~0.npz", label=1 - np.minimum(label, 1), residues=p)  # not asked for
    threshold, mcc = residue_threshold(tmp_path, {"toy/a"})
    assert 0.41 <= threshold < 0.5 and mcc == 1


def test_no_readings_are_an_error(work: Path) -> None:
    with pytest.raises(S2PError, match="there are no readings of the splits test"):
        read_samples(work, work / "readings", work / "surface.csv", ["test"])
