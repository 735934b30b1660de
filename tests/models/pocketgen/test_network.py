"""PocketGen's network: it turns with its input, sees nothing it must not, and keeps complexes apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from s2p.models.pocketgen.atoms import ATOM_CODES, ATOM_NAMES, RESIDUES, SLOT_MASK, SLOTS, ligand_bonds, ligand_features
from s2p.models.pocketgen.config import PocketGenConfig
from s2p.models.pocketgen.data import Batch, LigandAtoms, Pocket, collate, make_pocket, start_ligand, start_pocket
from s2p.models.pocketgen.layers import NEVER, BilevelLayer, Keys, Queries, shorten
from s2p.models.pocketgen.network import Output, PocketGen
from s2p.structure.transforms import random_rotation
from tests.builders import make_structure

SMALL = PocketGenConfig(width=16, heads=2, n_gaussians=8, language_width=20, language_heads=2, neighbours=4, passes=2)


def demo(residues: tuple[int, ...] = (9, 10, 11, 30), seed: int = 0) -> Pocket:
    """Residues around the ring between two helices, with made-up features of a language model."""
    structure = make_structure()
    ring = structure.ligands[0]
    language = np.random.default_rng(seed).normal(size=(len(residues), 20)).astype(np.float32)
    return make_pocket(structure, LigandAtoms(ring.coord, ring.element), np.array(residues), language)


def batch_of(pocket: Pocket, seed: int = 0) -> Batch:
    rng = np.random.default_rng(seed)
    start = start_pocket(pocket, rng).astype(np.float64)
    return collate([pocket], [start], [start_ligand(pocket, 0.5, rng).astype(np.float64)]).to(torch.float64)


def network(config: PocketGenConfig = SMALL, seed: int = 0) -> PocketGen:
    """Random weights; those that start at zero too, so that every part has a say."""
    torch.manual_seed(seed)
    model = PocketGen(config).double().eval()
    with torch.no_grad():
        for weight in model.parameters():
            if not weight.abs().sum():
                weight.normal_(std=0.1)
    return model


def moved(batch: Batch, rotation: NDArray[np.float64], shift: NDArray[np.float64]) -> Batch:
    turn, along = torch.from_numpy(rotation), torch.from_numpy(shift)
    return replace(batch, coord=batch.coord @ turn.T + along, ligand=batch.ligand @ turn.T + along)


def run(model: PocketGen, batch: Batch) -> Output:
    with torch.no_grad():
        return model(batch)


@pytest.mark.parametrize("force", [1.0, 40.0])
@pytest.mark.parametrize("mirror", [False, True])
def test_coordinates_turn_with_the_input_and_types_stay(force: float, mirror: bool) -> None:
    # With force 40 many steps are longer than 3 Å and are shortened: the public code's clipping by component fails here.
    model, batch = network(), batch_of(demo())
    with torch.no_grad():
        for layer in model.layers:
            layer.move.weight.mul_(force)  # type: ignore[union-attr, operator]
    out = run(model, batch)
    rng = np.random.default_rng(3)
    rotation = random_rotation(rng) * (-1 if mirror else 1)
    shift = rng.normal(0, 10, 3)
    again = run(model, moved(batch, rotation, shift))
    turn, along = torch.from_numpy(rotation), torch.from_numpy(shift)
    assert (again.coord - (out.coord @ turn.T + along)).abs().max() < 1e-8
    assert (again.ligand - (out.ligand @ turn.T + along)).abs().max() < 1e-8
    assert (again.logits - out.logits).abs().max() < 1e-8
    assert (out.coord - batch.coord[batch.pocket]).norm(dim=-1).max() > 0.05


def test_single_precision_is_equivariant_to_1e_5_without_ties() -> None:
    model, batch = network().float(), batch_of(demo()).to(torch.float32)
    rotation = random_rotation(np.random.default_rng(5)).astype(np.float32)
    turn = torch.from_numpy(rotation)
    out = run(model, batch)
    again = run(model, replace(batch, coord=batch.coord @ turn.T, ligand=batch.ligand @ turn.T))
    assert (again.coord - out.coord @ turn.T).abs().max() < 1e-4
    assert (again.logits - out.logits).abs().max() < 1e-4


def test_clipping_components_would_break_it() -> None:
    # What `shorten` is there for.
    rng = np.random.default_rng(0)
    vector = torch.from_numpy(rng.normal(0, 4, (50, 3)))
    turn = torch.from_numpy(random_rotation(rng))
    assert torch.allclose(shorten(vector @ turn.T, 3.0), shorten(vector, 3.0) @ turn.T, atol=1e-12)
    assert shorten(vector, 3.0).norm(dim=-1).max() <= 3.0 + 1e-9
    assert ((vector @ turn.T).clamp(-3, 3) - vector.clamp(-3, 3) @ turn.T).abs().max() > 1.0


def test_native_types_and_places_of_the_pocket_are_not_seen() -> None:
    pocket = demo()
    other = replace(pocket, types=pocket.types.copy(), coord=pocket.coord.copy(), present=pocket.present.copy())
    other.types[other.pocket] = 18
    other.coord[other.pocket] += 7
    other.present[other.pocket] = True
    model = network()
    first, second = run(model, batch_of(pocket)), run(model, batch_of(other))
    assert torch.equal(first.logits, second.logits)
    assert torch.equal(first.coord, second.coord)


def test_residues_around_the_pocket_do_count() -> None:
    pocket, model = demo(), network()
    other = replace(pocket, types=pocket.types.copy())
    around = np.setdiff1d(np.arange(len(pocket.types)), pocket.pocket)
    other.types[around] = 18
    assert not torch.allclose(run(model, batch_of(pocket)).logits, run(model, batch_of(other)).logits)


def test_empty_slots_and_padding_count_for_nothing() -> None:
    model, pocket = network(), demo()
    batch = batch_of(pocket)
    out = run(model, batch)
    # Slots that residues do not have, wherever they are said to be.
    coord = batch.coord.clone()
    coord[~batch.slots] = 3.0
    assert torch.allclose(run(model, replace(batch, coord=coord)).logits, out.logits, atol=1e-12)
    # Atoms that pad a ligand.
    wide = replace(
        batch,
        ligand=torch.cat([batch.ligand, torch.full((1, 3, 3), 2.0, dtype=torch.float64)], dim=1),
        ligand_mask=torch.cat([batch.ligand_mask, torch.zeros(1, 3, dtype=torch.bool)], dim=1),
        features=torch.cat([batch.features, torch.ones(1, 3, batch.features.shape[2], dtype=torch.float64)], dim=1),
    )
    padded = run(model, wide)
    assert torch.allclose(padded.logits, out.logits, atol=1e-12)
    assert torch.allclose(padded.ligand[:, : batch.ligand.shape[1]], out.ligand, atol=1e-12)


def test_a_batch_is_its_parts() -> None:
    model, pockets = network(), [demo(), demo((4, 12, 29, 33, 40), seed=1)]
    rngs = [np.random.default_rng(k) for k in (0, 1)]
    starts = [start_pocket(p, rng).astype(np.float64) for p, rng in zip(pockets, rngs, strict=True)]
    ligands = [p.ligand.astype(np.float64) for p in pockets]
    ligands[1] = np.concatenate([ligands[1], ligands[1][:2] + 1])
    pockets[1] = replace(pockets[1], ligand=ligands[1], features=np.concatenate([pockets[1].features, pockets[1].features[:2]]))
    both = run(model, collate(pockets, starts, ligands).to(torch.float64))
    row = 0
    for k, p in enumerate(pockets):
        alone = run(model, collate([p], [starts[k]], [ligands[k]]).to(torch.float64))
        n = len(p.pocket)
        assert torch.allclose(both.logits[row : row + n], alone.logits, atol=1e-9)
        assert torch.allclose(both.coord[row : row + n], alone.coord, atol=1e-9)
        assert torch.allclose(both.ligand[k, : len(ligands[k])], alone.ligand[0], atol=1e-9)
        row += n


@pytest.mark.parametrize("atoms", [1, 6])
@pytest.mark.parametrize("alone", [False, True])
def test_the_smallest_pockets(atoms: int, alone: bool) -> None:
    """One residue and one ligand atom; and nothing but them."""
    pocket = demo((10,))
    pocket = replace(pocket, ligand=pocket.ligand[:atoms], features=pocket.features[:atoms])
    if alone:
        row = pocket.pocket
        pocket = replace(
            pocket,
            residues=pocket.residues[row],
            pocket=np.zeros(1, np.int64),
            types=pocket.types[row],
            coord=pocket.coord[row],
            present=pocket.present[row],
            number=pocket.number[row],
            chain=pocket.chain[row],
            linked=np.full(1, -1),
        )
    out = run(network(), batch_of(pocket))
    assert out.logits.shape == (1, 20)
    assert all(bool(x.isfinite().all()) for x in (out.logits, out.coord, out.ligand))


def test_three_atoms_of_a_block_and_all_blocks_share_the_attention() -> None:
    torch.manual_seed(0)
    layer = BilevelLayer(SMALL).double().eval()
    d = SMALL.width
    queries = Queries("residue", torch.randn(2, 3, d).double(), torch.randn(2, 3, 3).double(), torch.ones(2, 3, dtype=torch.bool))
    valid = torch.ones(4, 5, dtype=torch.bool)
    valid[1, 2:] = False  # two atoms only
    valid[3] = False  # a block without any
    keys = Keys(
        "residue",
        torch.randn(4, 5, d).double(),
        torch.randn(4, 5, 3).double(),
        valid,
        torch.tensor([[0, 1, 3], [2, 1, 3]]),
        torch.tensor([[True, True, True], [False, True, True]]),
        torch.zeros(2, 3, dtype=torch.int64),
    )
    score, message, step = layer._ask(queries, keys)
    assert (score[:, 2] == NEVER).all()
    assert (score[1, 0] == NEVER).all()
    beta = torch.softmax(score, dim=1)
    assert torch.allclose(beta.sum(dim=1), torch.ones(2, SMALL.heads).double())
    assert (beta[:, 2] == 0).all()
    assert (step[:, 2] == 0).all()
    assert message.isfinite().all()

    # An independent computation of one query's message from one block.
    q = layer.project["residue"]["q"](queries.features)[0, 1].view(2, -1)  # type: ignore[index]
    k = (layer.project["residue"]["k"](keys.features)[0] + layer.key_offset.weight[0]).view(5, 2, -1)  # type: ignore[index]
    v = (layer.project["residue"]["v"](keys.features)[0] + layer.value_offset.weight[0]).view(5, 2, -1)  # type: ignore[index]
    far = (queries.coord[0, 1] - keys.coord[0]).norm(dim=1)
    spacing = SMALL.reach / (SMALL.n_gaussians - 1)
    radial = torch.exp(-0.5 * (far[:, None] / spacing - torch.arange(SMALL.n_gaussians)).square())
    logits = (q * k).sum(dim=-1) / k.shape[-1] ** 0.5 + layer.bias(radial)
    for head in range(2):
        best = logits[:, head].argsort(descending=True)[:3]
        expected = layer.mix((torch.softmax(logits[best, head], dim=0)[:, None] * v[best, head]).sum(dim=0))
        assert torch.allclose(message[0, 0, 1, head], expected, atol=1e-10)


def test_slots_follow_the_alphabet_of_residues() -> None:
    assert list(RESIDUES) == sorted(RESIDUES)
    assert SLOT_MASK[0].all()
    assert SLOT_MASK.sum(axis=1).tolist()[1:] == [5, 11, 8, 8, 6, 9, 9, 4, 10, 8, 8, 9, 8, 11, 7, 6, 7, 14, 12, 7]
    assert max(map(len, SLOTS.values())) == 14
    assert (ATOM_CODES[0] == 0).all()
    assert ATOM_NAMES[ATOM_CODES[18, 13] - 1] == "CH2"


def test_roles_of_ligand_atoms() -> None:
    # Benzoate: a flat ring, a carbon and two acid oxygens.
    angle = np.arange(6) * np.pi / 3
    ring = np.stack([1.39 * np.cos(angle), 1.39 * np.sin(angle), 0 * angle], axis=1)
    tail = np.array([(2.88, 0, 0), (3.5, 1.08, 0), (3.5, -1.08, 0)])
    coord, element = np.concatenate([ring, tail]), np.array(["C"] * 7 + ["O"] * 2)
    assert ligand_bonds(coord, element).sum() == 2 * 9
    roles = ligand_features(coord, element)[:, 7:].astype(bool)
    assert roles[:, 2].tolist() == [True] * 6 + [False] * 3  # aromatic
    assert roles[:, 5].tolist() == [False] * 7 + [True] * 2  # acid
    assert not roles[:, 1].any()  # no donor: the oxygens are an acid's
    assert roles[:, 3].tolist() == [True] * 6 + [False] * 3  # hydrophobic: not the carboxyl carbon
    buckled = coord.copy()
    buckled[::2, 2] += 0.5
    assert not ligand_features(buckled, element)[:6, 9].any()
