"""Prediction against truth for the bundled complexes: one Markdown row per structure.

``python benchmarks/examples.py [--model NAME|PATH]``

The true sites are the ligands of ``data/examples/labels.csv``; N is their number. DCC: nearest pocket centre among the top
N+2 to the ligand's centroid, DCA: to its closest heavy atom, both in Å, one value per ligand. A hit has DCA below 4 Å.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from s2p.evaluation.compare import evaluate_complex
from s2p.io.files import read_csv
from s2p.predictor import Seq2Pocket
from s2p.structure.files.formats import read_sdf_ligand
from s2p.structure.reading import read_structure

EXAMPLES = Path(__file__).resolve().parents[1] / "data" / "examples"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="s2p-esm2-8m")
    predictor = Seq2Pocket.load(parser.parse_args().model)
    ligands: dict[str, list[str]] = {}
    for row in read_csv(EXAMPLES / "labels.csv", ("file", "ligand_id")):
        ligands.setdefault(row["file"], []).append(row["ligand_id"])
    print("| structure | ligands | pockets | DCC, top N+2 (Å) | DCA, top N+2 (Å) | rank of the nearest pocket | found |")
    print("|---|---|---|---|---|---|---|")
    found = total = 0
    for file, ids in ligands.items():
        structure = read_structure(EXAMPLES / file)
        of_file = {ligand.id: ligand.coord for ligand in structure.ligands}
        coords = [read_sdf_ligand(EXAMPLES / name)[0] if name.endswith(".sdf") else of_file[name] for name in ids]
        result = evaluate_complex(predictor.predict(structure), coords)
        hits, total = sum(site.dca_n_plus < 4 for site in result.sites), total + len(coords)
        found += hits
        names = ", ".join(name.split(" ")[0].removesuffix(".sdf") for name in ids)
        dcc = ", ".join(f"{site.dcc_n_plus:.1f}" for site in result.sites)
        dca = ", ".join(f"{site.dca_n_plus:.1f}" for site in result.sites)
        ranks = ", ".join(str(site.best_rank) for site in result.sites)
        print(f"| {structure.name} | {names} | {result.protein.n_pockets} | {dcc} | {dca} | {ranks} | {hits} of {len(coords)} |")
    print(f"\n{found} of {total} ligands have a pocket centre within 4 Å of an atom among the top N+2.")


if __name__ == "__main__":
    main()
