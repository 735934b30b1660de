"""The CrossBind network, its point cloud, loss, filter and labels."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from s2p.datasets.label_files import read_three_line
from s2p.datasets.labelled import LabelledChain
from s2p.errors import S2PError, StructureError
from s2p.models.crossbind.cloud import LETTERS as CLOUD_LETTERS
from s2p.models.crossbind.cloud import Cloud, augment, cloud_of, crop, join
from s2p.models.crossbind.config import CrossBindAugmentConfig, CrossBindConfig, CrossBindFilterConfig
from s2p.models.crossbind.contacts import GAP, nucleic_contacts
from s2p.models.crossbind.features import WIDTH, backbone_angles, residue_features
from s2p.models.crossbind.filter import (
    LETTERS,
    exposure,
    filter_probabilities,
    geodesic_neighbours,
    log_propensities,
    propensities,
    sequence_neighbours,
)
from s2p.models.crossbind.network import AtomAttention, CrossBind, PointEncoder, ProjectionHead, stack_atoms
from s2p.models.crossbind.training import nt_xent, top1_retrieval
from s2p.structure.reading import Atoms, Ligand, Residues, Structure, read_structure

NUCLEIC = Path(os.environ.get("S2P_DATA", "data/public")) / "sequences" / "nucleic"


@pytest.fixture(scope="module")
def hhai(examples: Path) -> Structure:
    """HhaI methyltransferase on DNA."""
    return read_structure(examples / "3mht.pdb.gz")


@pytest.fixture(scope="module")
def ubiquitin(examples: Path) -> Structure:
    return read_structure(examples / "1ubi.pdb.gz")


def small(*residues: tuple[str, list[tuple[str, str, tuple[float, float, float]]]]) -> Structure:
    """One chain of residues, each a name and its atoms: name, element, place."""
    rows = [(k, *atom) for k, (_, atoms) in enumerate(residues) for atom in atoms]
    coord = np.array([row[3] for row in rows], np.float32)
    index = np.array([row[0] for row in rows], np.int32)
    n = len(residues)
    first = coord[np.searchsorted(index, np.arange(n))]
    letters = np.array([{"ALA": "A", "GLY": "G"}.get(name, "M") for name, _ in residues])
    table = Residues(
        np.full(n, "A"),
        np.arange(1, n + 1, dtype=np.int32),
        np.full(n, ""),
        np.zeros(n, np.int32),
        np.array([name for name, _ in residues]),
        letters,
        first,
        np.ones(n, bool),
        letters != "M",
    )
    atoms = Atoms(coord, np.array([r[2] for r in rows]), np.array([r[1] for r in rows]), index, np.zeros(len(rows), np.float32))
    return Structure("small", atoms, table)


def trained(module: torch.nn.Module, cloud: Cloud) -> torch.nn.Module:
    """The module in evaluation, with running statistics and norms that are not those of the start."""
    torch.manual_seed(1)
    with torch.no_grad():
        for value in module.parameters():
            value.add_(0.2 * torch.randn_like(value))
        module.train()
        for _ in range(3):
            module(cloud)
    return module.eval()


@pytest.fixture(scope="module")
def encoder(ubiquitin: Structure) -> PointEncoder:
    torch.manual_seed(0)
    return trained(PointEncoder(CrossBindConfig.fast()), cloud_of(ubiquitin))


def test_parameter_counts() -> None:
    """Of the paper's encoder, counted from its description; and of the small one from the same formula."""

    def expected(m: int, levels: int) -> int:
        planes = [m * k for k in range(1, levels + 1)]
        total = 27 * 27 * m + 2 * m
        for k, c in enumerate(planes):
            total += 2 * c + 27 * c * c
            if k + 1 < levels:
                d = planes[k + 1]
                total += 2 * c + 8 * c * d + 2 * d + 8 * d * c + 4 * c + 27 * 2 * c * c
        return total

    def count(config: CrossBindConfig) -> int:
        return sum(p.numel() for p in PointEncoder(config).parameters())

    assert count(CrossBindConfig.published()) == expected(32, 7) == 10_768_608
    assert count(CrossBindConfig()) == expected(8, 5)


def test_published_heads_have_the_published_sizes() -> None:
    model = CrossBind(CrossBindConfig.published())
    assert model.attention is not None and model.language is not None and model.segment is not None
    assert model.attention.weigh.weight.shape == (14, 448) and model.attention.weigh.bias is None
    assert model.attention.mix.weight.shape == (448, 448)
    assert model.language.weight.shape == (448, 1280)
    assert [layer.weight.shape for layer in model.head if isinstance(layer, torch.nn.Linear)] == [(128, 502), (64, 128), (1, 64)]
    assert model.share.item() == 0.5


def test_cloud_of_a_real_chain(hhai: Structure) -> None:
    cloud = cloud_of(hhai)
    atoms, names = hhai.atoms, hhai.residues.one_letter
    assert cloud.n_residues == len(hhai.residues)
    assert (atoms.name == "OXT").sum() + len(cloud.coord) == len(atoms)
    assert np.abs(cloud.coord.mean(axis=0)).max() < 1e-9
    assert [CLOUD_LETTERS[t] for t in cloud.residue_type[np.unique(cloud.residue, return_index=True)[1]]] == names.tolist()
    sizes = np.bincount(cloud.residue, minlength=cloud.n_residues)
    assert np.array_equal(cloud.slot, np.concatenate([np.arange(n) for n in sizes]))
    # Of the first residue with 14 atoms, a tryptophan, all are there; its carbons are carbons.
    w = names.tolist().index("W")
    assert sizes[w] == 14 and (cloud.element[cloud.residue == w] == 1).sum() == 11


def test_extra_atoms_and_unknown_letters() -> None:
    structure = small(("ALA", [("CA", "C", (0, 0, 0))]), ("MSE", [("CA", "C", (4, 0, 0)), ("SE", "SE", (5, 1, 0))]))
    many = replace(CrossBindConfig(), slots=1)
    cloud = cloud_of(structure)
    assert cloud.residue.tolist() == [0, 1, 1] and cloud.slot.tolist() == [0, 0, 1]
    assert cloud.element.tolist() == [1, 1, 5]
    assert len(cloud_of(structure, many).coord) == 2


def test_shift_by_whole_coarse_cells_changes_nothing_and_others_do(encoder: PointEncoder, ubiquitin: Structure) -> None:
    config = encoder.config
    # A quarter cell from any wall, so that rounding cannot move an atom to another voxel.
    cloud = cloud_of(ubiquitin)
    cloud = replace(cloud, coord=(np.floor(cloud.coord / config.cell) + 0.25) * config.cell)
    coarse = 2 ** (config.levels - 1) * config.cell
    with torch.no_grad():
        here = encoder(cloud)
        far = encoder(replace(cloud, coord=cloud.coord + coarse * np.array([3, -2, 7])))
        near = encoder(replace(cloud, coord=cloud.coord + config.cell * np.array([1, 0, 0])))
    torch.testing.assert_close(far, here, atol=1e-5, rtol=1e-5)
    assert (near - here).abs().max() > 1e-3


def test_order_of_the_atoms_does_not_matter(encoder: PointEncoder, ubiquitin: Structure) -> None:
    cloud = cloud_of(ubiquitin)
    order = np.random.default_rng(0).permutation(len(cloud.coord))
    parts = {name: getattr(cloud, name)[order] for name in ("coord", "residue_type", "element", "residue", "slot", "group")}
    with torch.no_grad():
        torch.testing.assert_close(encoder(replace(cloud, **parts)), encoder(cloud)[order], atol=1e-5, rtol=1e-5)


def test_atoms_in_one_voxel_share_their_features(encoder: PointEncoder, ubiquitin: Structure) -> None:
    cloud = cloud_of(ubiquitin)
    coord = cloud.coord.copy()
    coord[5] = coord[9] = (np.floor(coord[9] / encoder.config.cell) + 0.5) * encoder.config.cell
    with torch.no_grad():
        out = encoder(replace(cloud, coord=coord))
    assert torch.equal(out[5], out[9])


def test_proteins_in_one_cloud_are_read_as_if_alone(encoder: PointEncoder, ubiquitin: Structure, hhai: Structure) -> None:
    pieces = [crop(cloud_of(hhai), 20, 60), cloud_of(ubiquitin), crop(cloud_of(hhai), 100, 150)]
    with torch.no_grad():
        together = encoder(join(pieces))
        torch.testing.assert_close(together, torch.cat([encoder(piece) for piece in pieces]), atol=1e-5, rtol=1e-5)
    assert join(pieces).n_residues == 40 + 76 + 50


def test_padding_and_attention(ubiquitin: Structure) -> None:
    cloud, slots, width = cloud_of(ubiquitin), 14, 5
    torch.manual_seed(0)
    atoms = torch.randn(len(cloud.coord), width) + 3
    stacked, there = stack_atoms(atoms, cloud, slots)
    assert stacked.shape == (76, slots, width)
    assert (stacked[~there] == 0).all() and there.sum() == len(cloud.coord)
    assert torch.equal(stacked[there], atoms)
    attention = AtomAttention(slots, width)
    weights = attention.weights(stacked, there)
    assert (weights[~there] == 0).all() and ((weights[there] > 0) & (weights[there] < 1)).all()
    by_hand = attention.mix((weights[:, :, None] * stacked).reshape(76, -1))
    torch.testing.assert_close(attention(stacked, there), by_hand)


def test_projection_averages_the_atoms_that_are_there() -> None:
    torch.manual_seed(0)
    head = ProjectionHead(3).eval()
    stacked, there = torch.zeros(2, 14, 3), torch.zeros(2, 14, dtype=torch.bool)
    stacked[0, 0], stacked[0, 1], there[0, :2] = torch.tensor([1.0, 2, 3]), torch.tensor([3.0, 2, 1]), True
    out = head(stacked, there)
    torch.testing.assert_close(out[0], head.layers(torch.full((1, 3), 2.0))[0])
    assert torch.isfinite(out).all()


def test_share_decides_between_structure_and_sequence(ubiquitin: Structure) -> None:
    config = replace(CrossBindConfig.fast(), language_width=6)
    torch.manual_seed(0)
    model = CrossBind(config).eval()
    cloud, language, none = cloud_of(ubiquitin), torch.randn(76, 6), torch.zeros(76, 0)
    other = language + torch.randn(76, 6)
    assert model.balance is not None
    with torch.no_grad():
        for w in (-200.0, -3.0, 0.0, 5.0):
            model.balance.fill_(w)
            assert 0 <= model.share <= 1
        moved = (model(cloud, other, none) - model(cloud, language, none)).abs().max()
        model.balance.fill_(200.0)
        assert torch.equal(model(cloud, other, none), model(cloud, language, none))
        model.balance.fill_(-200.0)
        turned = replace(cloud, coord=cloud.coord[::-1].copy())
        assert torch.equal(model(turned, language, none), model(cloud, language, none))
    assert moved > 0


@pytest.mark.parametrize(("structure", "language"), [(True, 0), (False, 6), (True, 6)])
def test_every_modality_alone(ubiquitin: Structure, structure: bool, language: int) -> None:
    model = CrossBind(replace(CrossBindConfig.fast(), structure=structure, language_width=language, feature_width=2))
    out = model(cloud_of(ubiquitin), torch.randn(76, max(language, 1)), torch.randn(76, 2))
    assert out.shape == (76,)
    out.sum().backward()
    used = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert any(name.startswith("encoder.first") for name in used) == structure
    assert any(name.startswith("language") for name in used) == bool(language)


# --- augmentation


@pytest.mark.parametrize(
    "config", [CrossBindAugmentConfig(), CrossBindAugmentConfig.contrast(), CrossBindAugmentConfig(mirror=1.0)]
)
def test_augmentation_changes_coordinates_only(ubiquitin: Structure, config: CrossBindAugmentConfig) -> None:
    cloud = cloud_of(ubiquitin)
    before = cloud.coord.copy()
    changed = augment(cloud, config, np.random.default_rng(0))
    assert np.array_equal(cloud.coord, before)
    assert changed.residue is cloud.residue and changed.coord.shape == cloud.coord.shape
    assert not np.allclose(changed.coord, before)
    again = augment(cloud, config, np.random.default_rng(0))
    assert np.array_equal(changed.coord, again.coord)


def test_augmentation_by_parts(ubiquitin: Structure) -> None:
    cloud = cloud_of(ubiquitin)
    nothing = CrossBindAugmentConfig.none()
    assert np.array_equal(augment(cloud, nothing, np.random.default_rng(0)).coord, cloud.coord)

    def distances(x: np.ndarray) -> np.ndarray:
        return np.linalg.norm(x[:, None] - x[None], axis=-1)

    own = distances(cloud.coord)
    rigid = augment(cloud, replace(nothing, rotate="all", shift=1.0, random_origin=True), np.random.default_rng(1)).coord
    np.testing.assert_allclose(distances(rigid), own, atol=1e-9)
    about_z = augment(cloud, replace(nothing, rotate="z"), np.random.default_rng(1)).coord
    np.testing.assert_allclose(about_z[:, 2], cloud.coord[:, 2])
    scaled = distances(augment(cloud, replace(nothing, scale=0.1), np.random.default_rng(1)).coord)
    ratio = scaled[own > 0] / own[own > 0]
    assert np.ptp(ratio) < 1e-9 and 0.9 <= ratio[0] <= 1.1 and ratio[0] != 1
    a, b, c, d = (cloud.coord[k] for k in (0, 40, 200, 400))
    mirrored = augment(cloud, replace(nothing, mirror=1.0), np.random.default_rng(1)).coord
    ma, mb, mc, md = (mirrored[k] for k in (0, 40, 200, 400))
    volume = np.linalg.det(np.stack([b - a, c - a, d - a]))
    assert math.isclose(np.linalg.det(np.stack([mb - ma, mc - ma, md - ma])), -volume, rel_tol=1e-9)
    bent = augment(cloud, replace(nothing, elastic=1.0), np.random.default_rng(1)).coord - cloud.coord
    bonded = np.argwhere(np.triu((own < 1.6) & (own > 0)))
    across = np.argwhere(np.triu(own > 25))
    near, far = (np.linalg.norm(bent[p[:, 0]] - bent[p[:, 1]], axis=1).mean() for p in (bonded, across))
    assert near < 0.5 * far  # neighbours move together


# --- contrastive loss


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 1000), st.integers(1, 12), st.floats(0.05, 2.0))
def test_nt_xent_against_its_formula(seed: int, n: int, temperature: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    a, b = (torch.randn(n, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    value = nt_xent(a, b, temperature).item()
    assert math.isclose(value, nt_xent(b, a, temperature).item(), rel_tol=1e-9)
    # The usual form: 2N views, each looks for its partner among all others.
    z = F.normalize(torch.cat([a, b]), dim=1)
    s = (z @ z.T / temperature).masked_fill(torch.eye(2 * n, dtype=torch.bool), -torch.inf)
    partner = torch.arange(2 * n).roll(n)
    assert math.isclose(value, F.cross_entropy(s, partner).item(), rel_tol=1e-9)


@pytest.mark.parametrize("n", [1, 2, 17])
def test_nt_xent_of_known_embeddings(n: int) -> None:
    same = torch.ones(n, 5, dtype=torch.float64)
    for temperature in (0.05, 0.1, 3.0):
        assert math.isclose(nt_xent(same, same, temperature).item(), math.log(2 * n - 1), abs_tol=1e-9)
    z = torch.eye(n, dtype=torch.float64)
    assert math.isclose(nt_xent(z, z, 0.1).item(), math.log(1 + (2 * n - 2) * math.exp(-10)), abs_tol=1e-12)


def test_retrieval() -> None:
    z = torch.eye(4)
    assert top1_retrieval(z, 3 * z) == 1.0
    assert top1_retrieval(z, z.roll(1, 0)) == 0.0
    assert top1_retrieval(z, z[[0, 1, 3, 2]]) == 0.5


# --- propensities and filter


def chain(sequence: str, labels: str) -> LabelledChain:
    return LabelledChain("x", sequence, np.array([int(c) for c in labels], np.uint8))


def test_propensities_by_hand() -> None:
    everything = LETTERS * 2
    table = propensities([chain(everything, "1" * 20 + "0" * 20), chain("RRRX", "1101")])
    # 22 binding of which 3 R; 21 others of which 2 R; X is not counted.
    assert math.isclose(table["R"], (3 / 22) / (2 / 21))
    assert math.isclose(table["A"], (1 / 22) / (1 / 21))
    # A type that never binds gets one count on both sides.
    lone = propensities([chain(everything, "0" + "1" * 19 + "0" * 20)])
    assert math.isclose(lone["A"], (1 / 20) / (3 / 22))


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000))
def test_propensities_average_to_one_over_the_others(seed: int) -> None:
    rng = np.random.default_rng(seed)
    letters = "".join(rng.choice(list(LETTERS), 3000)) + LETTERS * 2
    labels = "".join(map(str, rng.integers(0, 2, 3000))) + "1" * 20 + "0" * 20
    table = propensities([chain(letters, labels)])
    others = np.array([sum(a == letter and b == "0" for a, b in zip(letters, labels, strict=True)) for letter in LETTERS])
    assert math.isclose(sum(table[x] * n for x, n in zip(LETTERS, others / others.sum(), strict=True)), 1.0)


@pytest.mark.skipif(not NUCLEIC.is_dir(), reason="public label files not here (S2P_DATA)")
@pytest.mark.parametrize(
    ("name", "golden"),
    [
        (
            "dna_train_573.txt",
            "R 2.87 K 2.04 H 1.62 Y 1.50 N 1.45 S 1.41 T 1.39 W 1.30 Q 1.17 G 1.08 M 0.84 F 0.80 P 0.75 D 0.60 A 0.58 I 0.46 "
            "V 0.46 C 0.44 E 0.43 L 0.30",
        ),
        ("rna_rna_495_train.txt", "R 2.99 K 1.98 H 1.82 L 0.44"),
    ],
)
def test_golden_propensities(name: str, golden: str) -> None:
    table = propensities(read_three_line(NUCLEIC / name))
    words = golden.split()
    for letter, value in zip(words[::2], words[1::2], strict=True):
        assert table[letter] == pytest.approx(float(value), abs=0.025), letter  # our copies lack a few chains of each set


DNA = dict(
    zip(
        "RKHYNSTWQGMFPDAIVCEL",
        (2.87, 2.04, 1.62, 1.5, 1.45, 1.41, 1.39, 1.3, 1.17, 1.08, 0.84, 0.8, 0.75, 0.6, 0.58, 0.46, 0.46, 0.44, 0.43, 0.3),
        strict=True,
    )
)


@pytest.mark.parametrize("letter", LETTERS)
def test_filter_moves_only_what_is_far_from_even(letter: str) -> None:
    where = np.array([[1, 2, 3, 4]] + [[-1] * 4] * 4)
    ell = log_propensities(letter + "AAAA", DNA)
    lone = filter_probabilities(np.array([0.45, 0.9, 0.9, 0.9, 0.9]), ell, where)
    assert lone[0] == pytest.approx(0.54 if letter in "RK" else 0.45)
    high = filter_probabilities(np.array([0.6, 0.1, 0.1, 0.1, 0.1]), ell, where)
    assert high[0] == pytest.approx(0.48 if letter in "LECIV" else 0.6)
    three = filter_probabilities(np.array([0.45, 0.9, 0.9, 0.9, 0.1]), ell, where)
    assert three[0] == pytest.approx(0.45)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 100_000))
def test_filter_looks_at_the_given_probabilities_only(seed: int) -> None:
    rng = np.random.default_rng(seed)
    p = rng.random(30).astype(np.float32)
    given_p = p.copy()
    sequence = "".join(rng.choice(list("RKLECGX"), 30))
    where, ell = sequence_neighbours(np.array(["A"] * 30)), log_propensities(sequence, DNA)
    out = filter_probabilities(p, ell, where)
    assert np.array_equal(p, given_p) and (out <= 1).all() and (out >= 0).all()
    for i in range(30):  # one residue at a time, from the definition
        value = p[i]
        if 2 <= i < 28:
            votes = sum(p[j] > 0.5 for j in (i - 2, i - 1, i + 1, i + 2))
            if p[i] <= 0.5 and votes == 4 and sequence[i] in "RK":
                value = min(1.0, 1.2 * p[i])
            if p[i] > 0.5 and votes == 0 and sequence[i] in "LEC":
                value = 0.8 * p[i]
        assert out[i] == pytest.approx(value)


def test_filter_without_an_outlier_is_idempotent() -> None:
    p = np.array([0.9, 0.8, 0.7, 0.2, 0.1, 0.1, 0.9, 0.9], np.float32)
    where, ell = sequence_neighbours(np.array(["A"] * 8)), log_propensities("RLRLRLRL", DNA)
    once = filter_probabilities(p, ell, where)
    assert np.array_equal(once, p) and np.array_equal(filter_probabilities(once, ell, where), once)


def test_sequence_neighbours_stay_in_their_chain() -> None:
    found = sequence_neighbours(np.array(list("AAAAABBBB")))
    assert found[2].tolist() == [0, 1, 3, 4]
    assert (found[[0, 1, 3, 4, 5, 6, 7, 8]] == -1).all()
    assert sequence_neighbours(np.array([], dtype=str)).shape == (0, 4)


def test_geodesic_neighbours_against_all_pairs(ubiquitin: Structure) -> None:
    found = geodesic_neighbours(ubiquitin)
    rsa, atoms, ca = exposure(ubiquitin), ubiquitin.atoms, ubiquitin.residues.ca_coord
    surface = [k for k in range(76) if rsa[k] > 0.05]
    assert 40 < len(surface) < 76
    centre, normal = {}, {}
    for k in surface:
        own = atoms.residue_index == k
        side = own & ~np.isin(atoms.name, ("N", "CA", "C", "O", "OXT"))
        x = atoms.coord[side if side.any() else own].astype(float).mean(axis=0)
        inside = ca[np.linalg.norm(ca - x, axis=1) <= 10].astype(float).mean(axis=0)
        centre[k], normal[k] = x, (x - inside) / np.linalg.norm(x - inside)
    for k in range(76):
        if k not in centre:
            assert (found[k] == -1).all()
            continue
        far = {j: np.linalg.norm(centre[k] - centre[j]) * (2 - normal[k] @ normal[j]) for j in surface if j != k}
        np.testing.assert_allclose([far[j] for j in found[k]], sorted(far.values())[:4])


def test_geodesic_neighbours_of_almost_nothing() -> None:
    few = small(*(("ALA", [("CA", "C", (4.0 * k, 0, 0))]) for k in range(4)))
    assert (geodesic_neighbours(few) == -1).all()
    assert geodesic_neighbours(few, CrossBindFilterConfig(min_exposure=-1)).shape == (4, 4)


# --- labels


def two_atoms(distance: float, element: str = "C", nucleotide: str = "DA", sugar: str = "O5'") -> Structure:
    structure = small(("ALA", [("CA", element, (0, 0, 0))]), ("GLY", [("CA", "C", (50, 0, 0))]))
    base = Ligand(nucleotide, "B", 1, "", np.array([[distance, 0, 0]], np.float32), np.array(["P"]), np.array(["P"]), "nucleic")
    ribose = Ligand(nucleotide, "B", 2, "", np.array([[99, 9, 9]], np.float32), np.array(["O"]), np.array([sugar]), "nucleic")
    return replace(structure, ligands=(base, ribose))


@pytest.mark.parametrize(("element", "radius"), [("C", 1.70), ("N", 1.55), ("O", 1.52), ("S", 1.80)])
def test_label_boundary(element: str, radius: float) -> None:
    reach = radius + 1.80 + GAP
    assert nucleic_contacts(two_atoms(reach - 0.01, element)).tolist() == [1, 0]
    assert nucleic_contacts(two_atoms(reach + 0.01, element)).tolist() == [0, 0]


def test_kind_is_told_by_the_sugar() -> None:
    structure = two_atoms(3.0, sugar="O2'")  # the touching nucleotide has no O2', the far one has
    assert nucleic_contacts(structure, "dna").tolist() == [1, 0]
    assert nucleic_contacts(structure, "rna").tolist() == [0, 0]
    with pytest.raises(StructureError, match="no RNA in it"):
        nucleic_contacts(two_atoms(3.0), "rna")
    with pytest.raises(StructureError, match="no DNA or RNA"):
        nucleic_contacts(replace(structure, ligands=()))


def test_labels_of_a_dna_methyltransferase(hhai: Structure) -> None:
    labels = nucleic_contacts(hhai, "dna")
    radius = {"C": 1.70, "N": 1.55, "O": 1.52, "S": 1.80, "P": 1.80}
    expected = np.zeros(len(hhai.residues), bool)
    for ligand in hhai.ligands:
        if ligand.kind == "nucleic":
            for xyz, symbol in zip(ligand.coord, ligand.element.tolist(), strict=True):
                gap = np.linalg.norm(hhai.atoms.coord - xyz, axis=1) - radius[symbol]
                gap -= np.array([radius[e] for e in hhai.atoms.element.tolist()])
                expected[hhai.atoms.residue_index[gap < 0.5]] = True
    assert np.array_equal(labels, expected)
    bound = {int(hhai.residues.number[k]) for k in np.flatnonzero(labels)}
    # What the crystallographers describe: the catalytic Cys81, Gln237 in the place of the flipped cytosine, Ser87 and Arg240.
    assert {81, 87, 237, 240} <= bound
    assert 30 <= labels.sum() <= 60


def test_labels_of_a_large_complex(examples: Path) -> None:
    motor = read_structure(examples / "7pbl.pdb.gz")
    labels = nucleic_contacts(motor)
    assert labels.shape == motor.residues.chain.shape and np.array_equal(labels, nucleic_contacts(motor, "dna"))
    assert 0 < len(set(motor.residues.chain[labels == 1].tolist())) <= len(motor.chains)


# --- evolutionary and structural numbers


def test_residue_features(ubiquitin: Structure) -> None:
    table = residue_features(ubiquitin)
    assert table.shape == (76, WIDTH) == (76, 54)
    assert table[:, :45].min() >= -1 and table[:, 44].max() <= 1
    np.testing.assert_array_equal(table[:, 45:].sum(axis=1), 1)
    np.testing.assert_allclose(table[1:-1, 40] ** 2 + table[1:-1, 42] ** 2, 1, atol=1e-5)
    assert (table[0, [40, 42]] == 0).all() and (table[-1, [41, 43]] == 0).all()
    helix = slice(22, 34)  # of ubiquitin, residues 23 to 34
    assert table[helix, 45].mean() > 0.8
    own = np.arange(80.0).reshape(2, 40)
    with pytest.raises(S2PError, match="76 residues and 40 columns"):
        residue_features(ubiquitin, own)


def test_backbone_angles_against_gemmi(examples: Path, ubiquitin: Structure) -> None:
    import gemmi

    read = gemmi.read_structure(str(examples / "1ubi.pdb.gz"))
    read.setup_entities()
    residues: list[gemmi.Residue | None] = [None, *read[0]["A"].get_polymer(), None]
    expected = np.array([gemmi.calculate_phi_psi(*residues[k : k + 3]) for k in range(len(residues) - 2)])
    difference = np.angle(np.exp(1j * (backbone_angles(ubiquitin) - expected)))
    assert np.array_equal(np.isnan(expected), np.isnan(backbone_angles(ubiquitin)))
    assert np.nanmax(np.abs(difference)) < 1e-4
