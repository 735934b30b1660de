"""The file of the surface network: members of one list of atom types, and what is read of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from benchmarks.recipes.surface_network import Member, write_member
from benchmarks.recipes.surface_ship import main, random_model, save_surface, trained_model
from s2p.checkpoint import SURFACE_FORMAT, language_hash, load_checkpoint, load_surface
from s2p.config import DEFAULT_MODEL
from s2p.errors import S2PError, WeightsError
from s2p.io.weights import SHIPPED, read_arrays, write_weights
from s2p.predictor import by_residue
from s2p.structure.reading import read_structure
from s2p.surface.mpnn import Encoder
from s2p.surface.surroundings import Surroundings


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder.from_arrays(load_file(SHIPPED / "proteinmpnn.safetensors"))


def test_runs_become_a_file_that_is_read(encoder: Encoder, examples: Path, tmp_path: Path) -> None:
    model = random_model(encoder, examples)
    runs = [tmp_path / f"{name}.safetensors" for name in ("a", "b")]
    members = [Member({name: torch.from_numpy(value) for name, value in x.items()}) for x in model.network.members]
    for run, member in zip(runs, members, strict=True):
        write_member(run, member, model.network.types, model.network.config)
    made = trained_model(encoder, runs, {"votes": model.votes.to_dict(), "threshold": 0.4, "card": {"licence": "x"}})
    residues = load_checkpoint(DEFAULT_MODEL).model
    save_surface(tmp_path / "surface.safetensors", made, language_hash(residues))
    loaded = load_surface(residues, tmp_path / "surface.safetensors")
    assert loaded is not None and loaded.votes == model.votes and loaded.threshold == 0.4 and loaded.card == {"licence": "x"}
    structure = read_structure(examples / "1ubi.pdb.gz")
    nothing = np.zeros(76, np.float32), np.random.default_rng(0).normal(size=(76, 320)).astype(np.float32)
    embeddings = by_residue(structure, {structure.sequence(): nothing}, 320)[1]
    ours, theirs = (x.network.read(Surroundings(structure), embeddings) for x in (model, loaded))
    np.testing.assert_allclose(ours.residues, theirs.residues, atol=0.02)  # fp16
    write_member(runs[1], members[1], model.network.types[::-1], model.network.config)
    with pytest.raises(S2PError, match=r"read other types of atoms; train them from one \(--start\)"):
        trained_model(encoder, runs, {})


def test_an_earlier_file_is_ranked_anew_though_its_ranking_cannot_be_read(
    encoder: Encoder, examples: Path, tmp_path: Path
) -> None:
    model = random_model(encoder, examples)
    model = replace(model, card={"data": "kept", "pockets": {"old": 1, "PFI": 2.0}})
    old, new, votes = (tmp_path / name for name in ("old.safetensors", "new.safetensors", "votes.json"))
    residues = load_checkpoint(DEFAULT_MODEL).model
    save_surface(old, model, language_hash(residues))
    header, arrays = read_arrays(old, SURFACE_FORMAT, "")
    write_weights(old, arrays, header | {"votes": {"of another version": 1}}, header["card"])
    with pytest.raises(WeightsError, match="of another version"):
        load_surface(residues, old)
    ranking = replace(model.votes, config=replace(model.votes.config, join=3.0))
    votes.write_text(json.dumps({"votes": ranking.to_dict(), "threshold": 0.2, "card": {"pockets": {"PFI": 1.5}}}))
    assert main(["--of", str(old), "--votes", str(votes), "-o", str(new)]) == 0
    loaded = load_surface(residues, new)
    assert loaded is not None and loaded.votes == ranking and loaded.threshold == 0.2
    assert loaded.card == {"data": "kept", "pockets": {"old": 1, "PFI": 1.5}}
    for ours, theirs in zip(model.network.members, loaded.network.members, strict=True):
        assert all(np.allclose(ours[name], theirs[name], atol=1e-2) for name in ours)
    assert main(["--of", str(old), "-o", str(new)]) == 1
