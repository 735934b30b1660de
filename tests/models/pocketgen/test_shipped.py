"""The PocketGen that is shipped: what its card says, that it turns with its input, and that its designs are molecules."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.recipes.pocketgen_data import Protein, trace_rows
from benchmarks.recipes.pocketgen_heads import trace_error
from s2p.models.pocketgen.checkpoint import PocketGenCheckpoint, load_pocketgen
from s2p.models.pocketgen.config import DesignConfig
from s2p.models.pocketgen.data import Pocket
from s2p.models.pocketgen.design import Starts, backbone_rmsd, cleaned, design_pocket, draw_starts, measure, prepare_pocket
from s2p.models.pocketgen.output import find_ligand
from s2p.models.pocketgen.surroundings.counts import environment
from s2p.structure.reading import read_structure
from s2p.structure.transforms import random_rotation


@pytest.fixture(scope="module")
def shipped() -> PocketGenCheckpoint:
    return load_pocketgen()


@pytest.fixture(scope="module")
def pocket(shipped: PocketGenCheckpoint, examples: Path) -> Pocket:
    """Of a bundled complex: no relative of it was learned from."""
    structure = read_structure(examples / "1ake.cif.gz")
    return prepare_pocket(structure, find_ligand(structure, "AP5")[0], shipped.backbone, trace=shipped.model.trace)


def test_the_card_tells_data_choices_and_figures_beside_baselines(shipped: PocketGenCheckpoint) -> None:
    card = shipped.card
    counts = card["counts"]
    assert counts["residues of decoys"] > counts["residues of sites"] > counts["residues of pockets"] > 1000
    tried = card["shares of the structure network: cross-entropy, recovery on validation"]
    assert float(min(tried, key=lambda share: tried[share][0])) == shipped.model.config.structure_share
    for split in ("validation", "test", "fresh"):
        figures = card[split]["figures"]
        assert card[split]["clusters"] > 30
        assert figures["recovery, likeliest types less language model alone"][1] > 0
        assert figures["recovery, likeliest types"][1] > figures["recovery, most frequent residue"][2]
        assert figures["backbone RMSD (Å)"][0] < figures["backbone RMSD of the start after the clean-up (Å)"][1]
        assert figures["bonds more than 0.1 Å from ideal"][2] < 0.05
        assert figures["peptides twisted by more than 30°"][2] < 0.02


def test_ca_atoms_are_placed_nearer_than_the_line(shipped: PocketGenCheckpoint, examples: Path) -> None:
    names = ("1ake.cif.gz", "1hpv.pdb.gz", "1GBT.cif.gz", "1pwc.pdb.gz")
    proteins = [Protein(name, "", read_structure(examples / name)) for name in names]  # nothing like them was learned from
    line, placed = trace_error(shipped.model.trace, trace_rows(proteins, shipped.pocket, 20))
    assert placed < 0.6 * line
    card = shipped.card["validation pockets, median Å to CA"]
    assert card["placed"] < 0.6 * card["on the line"]


def test_a_design_turns_with_its_complex(shipped: PocketGenCheckpoint, pocket: Pocket) -> None:
    starts = draw_starts(pocket, 1, seed=0)
    raw = DesignConfig(n=1, temperature=0, idealise=False)
    (here,) = design_pocket(shipped, pocket, raw, starts)
    rng = np.random.default_rng(0)
    for _ in range(2):
        turn, shift = random_rotation(rng), rng.normal(0, 20, 3)

        def there(x: np.ndarray) -> np.ndarray:
            return np.asarray(x, float) @ turn.T + shift  # noqa: B023 - called in this round only

        moved = replace(pocket, coord=there(pocket.coord), ligand=there(pocket.ligand), start=there(pocket.start))
        (away,) = design_pocket(shipped, moved, raw, Starts([there(starts.coord[0])], [there(starts.ligand[0])]))
        assert away.sequence == here.sequence
        np.testing.assert_allclose(away.probabilities, here.probabilities, atol=1e-8)
        assert np.abs(there(here.coord) - away.coord).max() < 1e-4


def test_what_surrounds_it_tells_the_types(shipped: PocketGenCheckpoint, pocket: Pocket) -> None:
    raw = DesignConfig(n=1, temperature=0, idealise=False)
    (full,) = design_pocket(shipped, pocket, raw)
    empty = environment(
        np.zeros(1, np.int64), np.zeros((1, 14, 3)), np.zeros((1, 14), bool), np.zeros(1, np.int64), np.zeros(1, np.int64),
        np.zeros((1, 3)), np.zeros(0, np.int64), np.full((1, 3), 99.0), np.zeros((1, pocket.features.shape[1])),
    )  # fmt: skip
    (alone,) = design_pocket(shipped, replace(pocket, environment=np.repeat(empty, len(pocket.pocket), axis=0)), raw)
    assert np.abs(full.probabilities - alone.probabilities).max() > 0.1


def test_designs_have_bonds_and_lie_nearer_than_a_cleaned_up_start(shipped: PocketGenCheckpoint, pocket: Pocket) -> None:
    begun = time.perf_counter()
    (design,) = design_pocket(shipped, pocket, DesignConfig(n=1, temperature=0))
    seconds = time.perf_counter() - begun
    measures = measure(shipped, pocket, design)
    assert measures.bond_outliers < 0.05 * measures.bonds
    assert measures.twisted <= 1 and measures.tau_outliers <= 1  # 1 % and none on average, 16 % before
    start = replace(design, coord=draw_starts(pocket, 1, seed=0).coord[0])
    assert measures.rmsd < backbone_rmsd(pocket, cleaned(shipped, pocket, start))
    assert len(pocket.pocket) > 12 and seconds < 60  # 20 s on a quiet core is the aim; this machine may be busy
