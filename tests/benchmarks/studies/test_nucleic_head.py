"""A head of Vabs-Net for nucleic acids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from benchmarks.recipes.crossbind_complexes import NucleicComplex
from benchmarks.recipes.crossbind_network import Held, pooled
from benchmarks.studies.nucleic_head import fit_head, vectors_of
from s2p.models.vabsnet.graph import nodes_of
from s2p.models.vabsnet.network import residue_logits
from s2p.models.vabsnet.predictor import language_features, load_vabsnet
from s2p.predictor import Seq2Pocket
from s2p.structure.nucleic import nucleic_contacts
from s2p.structure.reading import read_structure


def test_vectors_are_what_the_shipped_head_reads(examples: Path) -> None:
    vabsnet, structure = load_vabsnet("vabsnet"), read_structure(examples / "7pbl.pdb.gz").select_chains(["A"])
    vectors = vectors_of(vabsnet, structure)
    base = Seq2Pocket(vabsnet.base).score(structure)
    features = language_features(vabsnet.model.config, base.sequence_logits, base.embeddings)
    with torch.no_grad():
        logits = vabsnet.model.binding["small"](torch.from_numpy(vectors)).squeeze(-1).numpy()
    expected = residue_logits(vabsnet.model, nodes_of(structure, features, surface=vabsnet.model.config.surface))
    np.testing.assert_allclose(logits, expected, atol=2e-3)


def test_a_head_learns_and_keeps_its_best_epoch(examples: Path) -> None:
    structure = read_structure(examples / "3mht.pdb.gz")
    labels, rng = nucleic_contacts(structure), np.random.default_rng(0)
    vectors = rng.normal(0, 1, (len(labels), 8)).astype(np.float32) + 2 * labels[:, None] * np.eye(8, dtype=np.float32)[3]
    source = NucleicComplex("own", "a", structure, {"rna": labels}, ("c",), (structure.sequence(),))
    held = [Held(source, None, labels.astype(np.float32), "g")]  # type: ignore[arg-type]  # its example is not read
    head = fit_head([(vectors, labels)] * 8, held, [vectors], 16, epochs=6)
    with torch.no_grad():
        own = head(torch.from_numpy(vectors)).squeeze(-1).numpy()
    assert pooled(held, [own], [0]) > 2 * labels.mean()
