"""A prediction against the true ligands of its structure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from builders import make_prediction

from s2p.evaluation.compare import evaluate_complex
from s2p.evaluation.config import BenchmarkConfig
from s2p.evaluation.intervals import summarise


def test_a_protein_without_ligands_has_pockets_but_no_sites():
    result = evaluate_complex(make_prediction(), [])
    assert result.sites == () and result.protein.n_sites == 0
    assert result.protein.n_pockets == len(make_prediction().pockets) > 0
    nothing = evaluate_complex(replace(make_prediction(), pockets=()), [])
    assert nothing.sites == () and nothing.protein.n_pockets == 0


def test_ranks_and_distances_that_were_asked_for_are_obeyed() -> None:
    base = make_prediction()
    far = [replace(base.pockets[0], rank=k, center=np.array([100 * k, 0, 0], np.float32)) for k in range(1, 5)]
    near = replace(base.pockets[0], rank=4, center=np.array([4.5, 0, 0], np.float32))
    prediction = replace(base, pockets=(*far[:3], near))
    config = BenchmarkConfig(extra_ranks=3, strict_hit=5, n_bootstrap=20)
    result = evaluate_complex(prediction, [np.zeros((1, 3), np.float32)], config=config)
    (site,) = result.sites
    assert (site.dcc_n, site.dcc_n_plus, site.dca_n_plus, site.best_rank) == (100, 4.5, 4.5, 4)
    table = summarise([result], config)
    assert (table["dcc < 5 Å, top N"].value, table["dcc < 5 Å, top N+3"].value) == (0, 1)
    assert (result.protein.tp, result.protein.fp) == (0, 1)


def test_small_sites_have_fewer_residues_than_was_asked_for() -> None:
    prediction = make_prediction()
    ligand = prediction.structure.residues.ca_coord[:1]
    (site,) = evaluate_complex(prediction, [ligand]).sites
    sizes = [
        evaluate_complex(prediction, [ligand], config=BenchmarkConfig(small_site=site.n_residues + k)).sites[0].size
        for k in (0, 1)
    ]
    assert sizes == ["large", "small"]
