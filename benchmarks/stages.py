"""Time and memory of every stage after the language model, beside plain-library equivalents, in one run.

``python benchmarks/stages.py`` measures, writes ``stages.json`` and ``stages.png`` beside itself and prints Markdown tables.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from s2p.config import SurfaceConfig
from s2p.pockets.clustering import mean_shift, vote
from s2p.pockets.published import find_clusters, positive_points, rank_clusters
from s2p.pockets.ranking import pocket_features
from s2p.prediction import Pocket
from s2p.structure.arrays import Atoms, Residues, Structure
from s2p.structure.reading import read_structure

HERE = Path(__file__).resolve().parent
EXAMPLES = HERE.parent / "data" / "examples"
BASE = "3enl.pdb.gz"  # enolase, one chain of 436 residues: larger sizes are copies of it side by side
REAL = {115: "4CUP.cif", 345: "1pwc.pdb.gz", 436: BASE}
SIZES = (115, 345, 436, 1000, 3000, 10000)
LIBRARY_LIMIT = 1000  # residues up to which the slow equivalents are run
POSITIVE = 0.15  # share of residues predicted (14.8 % in the paper's training set)
SITE = 20  # residues of a site

Timings = dict[str, float]


# ------------------------------------------------------------------------------------------------ inputs


def tile(structure: Structure, n_residues: int, *, chains: bool = False, gap: float = 3.0) -> Structure:
    """Copies of a structure on a cubic lattice, ``gap`` Å apart, cut to ``n_residues``.

    With ``chains`` every copy is a chain of its own, otherwise all are one chain, numbered on.
    """
    n, residues, atoms = len(structure.residues), structure.residues, structure.atoms
    copies = -(-n_residues // n)
    edge = int(np.ceil(copies ** (1 / 3)))
    cell = np.stack(np.unravel_index(np.arange(copies), (edge, edge, edge)), axis=1)
    shift = (cell * (np.ptp(atoms.coord, axis=0) + gap)).astype(np.float32)
    columns: dict[str, Any] = {key: np.concatenate([value] * copies) for key, value in vars(residues).items()}
    copy_of = np.repeat(np.arange(copies), n)
    columns["ca_coord"] = columns["ca_coord"] + shift[copy_of]
    columns["chain"] = np.array([f"A{k}" if chains else "A" for k in range(copies)])[copy_of]
    columns["number"] = (np.arange(copies * n) % (n if chains else copies * n) + 1).astype(np.int32)
    columns["insertion_code"] = np.full(copies * n, "", dtype="<U1")
    atom_columns: dict[str, Any] = {key: np.concatenate([value] * copies) for key, value in vars(atoms).items()}
    copy_of_atom = np.repeat(np.arange(copies), len(atoms))
    atom_columns["coord"] = atom_columns["coord"] + shift[copy_of_atom]
    atom_columns["residue_index"] = (atom_columns["residue_index"] + copy_of_atom * n).astype(np.int32)
    keep = atom_columns["residue_index"] < n_residues
    return Structure(
        f"{structure.name}_{n_residues}",
        Atoms(**{key: value[keep] for key, value in atom_columns.items()}),
        Residues(**{key: value[:n_residues] for key, value in columns.items()}),
    )


def input_of(n_residues: int) -> Structure:
    """One chain of a size: a bundled structure, or enolase cut or repeated."""
    structure = read_structure(EXAMPLES / REAL.get(n_residues, BASE))
    structure = structure.select_chains(structure.chains[:1])
    return structure if len(structure.residues) == n_residues else tile(structure, n_residues)


def stand_in(structure: Structure, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Residues predicted and probabilities as a language model might give them: balls of about :data:`SITE` residues."""
    draw = np.random.default_rng(seed)
    n, ca = len(structure.residues), structure.residues.ca_coord
    positive = np.zeros(n, bool)
    while positive.sum() < POSITIVE * n:
        distance = np.linalg.norm(ca - ca[draw.integers(n)], axis=1)
        positive[np.argsort(distance)[:SITE]] = True
    return positive, np.where(positive, draw.uniform(0.7, 1, n), draw.uniform(0, 0.7, n)).astype(np.float32)


def write_cif(structure: Structure, path: Path) -> None:
    """The least mmCIF that both readers take."""
    tags = (
        "group_PDB id type_symbol label_atom_id label_alt_id label_comp_id label_asym_id label_entity_id label_seq_id "
        "pdbx_PDB_ins_code Cartn_x Cartn_y Cartn_z occupancy B_iso_or_equiv auth_seq_id auth_comp_id auth_asym_id "
        "auth_atom_id pdbx_PDB_model_num"
    ).split()
    lines = ["data_x", "loop_", *(f"_atom_site.{tag}" for tag in tags)]
    a, r = structure.atoms, structure.residues
    rows = zip(a.element.tolist(), a.name.tolist(), a.residue_index.tolist(), a.coord.tolist(), strict=True)
    for k, (element, name, i, (x, y, z)) in enumerate(rows, 1):
        residue, number, chain = r.name[i], r.number[i], r.chain[i]
        name = f'"{name}"' if "'" in name else name
        lines.append(
            f"ATOM {k} {element} {name} . {residue} {chain} 1 {i + 1} ? {x:.3f} {y:.3f} {z:.3f} 1.00 20.00 "
            f"{number} {residue} {chain} {name} 1"
        )
    path.write_text("\n".join(lines) + "\n")


# ------------------------------------------------------------------------------------------------ measuring


def best_of(run: Callable[[], Any], repeats: int, budget_s: float = 3.0) -> float:
    """Milliseconds of the fastest of at most ``repeats`` runs (others are disturbed runs); stops after ``budget_s``."""
    times: list[float] = []
    while not times or (len(times) < repeats and sum(times) < budget_s):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return 1000 * min(times)


def time_ours(structure: Structure, path: Path, repeats: int) -> Timings:
    """Milliseconds of each stage."""
    positive, probabilities = stand_in(structure)
    atoms, surface = structure.atoms, SurfaceConfig()
    cloud = positive_points(structure, positive, surface)
    labels = mean_shift(cloud.coord).labels
    clusters = find_clusters(structure, positive, probabilities)

    def votes() -> list[Pocket]:
        own, own_labels = vote(cloud.atom, labels)
        return rank_clusters(cloud.coord, labels, own, own_labels, atoms.coord, atoms.residue_index, probabilities)

    def structural() -> None:
        found = find_clusters(read_structure(path), positive, probabilities)
        pocket_features(structure, found, probabilities, ~positive)

    stages: dict[str, Callable[[], Any]] = {
        "parse": lambda: read_structure(path),
        "surface points": lambda: positive_points(structure, positive, surface),
        "mean shift": lambda: mean_shift(cloud.coord),
        "votes and ranking": votes,
        "pocket features": lambda: pocket_features(structure, clusters, probabilities, ~positive),
        "structural part": structural,
    }
    for run in stages.values():
        run()  # loads the kernels
    return {name: best_of(run, repeats) for name, run in stages.items()}


def time_library(structure: Structure, path: Path, repeats: int) -> Timings:
    """Milliseconds of what the published code does, with the libraries it uses; one thread."""
    from Bio.PDB import MMCIFParser
    from Bio.PDB.SASA import ShrakeRupley
    from sklearn.cluster import MeanShift

    positive, probabilities = stand_in(structure)
    cloud = positive_points(structure, positive, SurfaceConfig())
    labels = mean_shift(cloud.coord).labels
    parser = MMCIFParser(QUIET=True)
    chain = next(iter(parser.get_structure("x", str(path))[0]))
    atoms = structure.atoms
    owner = atoms.residue_index

    def shrake_rupley() -> None:
        ShrakeRupley(probe_radius=1.6, n_points=50).compute(chain, level="A")

    def votes() -> None:
        of_atom: dict[int, list[int]] = {}
        for atom, label in zip(cloud.atom.tolist(), labels.tolist(), strict=True):
            of_atom.setdefault(atom, []).append(label)
        of_residue: dict[int, list[int]] = {}
        of_label: dict[int, list[int]] = {}
        for atom, given in of_atom.items():
            label = Counter(given).most_common(1)[0][0]
            of_residue.setdefault(int(owner[atom]), []).append(label)
            of_label.setdefault(label, []).append(atom)
        for given in of_residue.values():
            Counter(given).most_common(1)
        for members in of_label.values():
            np.mean([probabilities[owner[a]] for a in members])
            np.mean([atoms.coord[a] for a in members], axis=0)

    stages: dict[str, Callable[[], Any]] = {
        "parse": lambda: parser.get_structure("x", str(path)),
        "surface points": shrake_rupley,
        "mean shift": lambda: MeanShift(bandwidth=9.0, bin_seeding=True, n_jobs=1).fit(cloud.coord),
        "votes and ranking": votes,
    }
    return {name: best_of(run, repeats) for name, run in stages.items()}


def peak_memory(n_atoms: int, everything: bool = False) -> float:
    """MB that the stages add to a process that holds a structure of ``n_atoms`` and has used every kernel.

    In a process of its own: the highest memory it ever took, less what it held when the stages began.
    """
    command = [sys.executable, str(Path(__file__).resolve()), "--peak-of", str(n_atoms)]
    command += ["--everything"] if everything else []
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def _measure_peak(n_atoms: int, everything: bool) -> float:
    base = input_of(436)
    structure = tile(base, round(n_atoms / len(base.atoms) * len(base.residues)))

    def stages(s: Structure) -> None:
        positive, probabilities = stand_in(s)
        positive = np.ones_like(positive) if everything else positive
        pocket_features(s, find_clusters(s, positive, probabilities), probabilities, ~positive)

    stages(base)
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far (Linux; getrusage would give the parent's)
    held = _status("VmRSS")
    stages(structure)
    return _status("VmHWM") - held


def _status(field: str) -> float:
    """MB of a field of Linux's account of this process."""
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith(field))
    return int(line.split()[1]) * 1024 / 1e6


# ------------------------------------------------------------------------------------------------ results


def measure(sizes: Sequence[int], *, repeats: int, libraries: bool = True) -> dict[str, Any]:
    """Timings of the structural stages as the JSON that is written."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for n in sizes:
            structure, path = input_of(n), Path(folder) / f"{n}.cif"
            write_cif(structure, path)
            positive, _ = stand_in(structure)
            row: dict[str, Any] = {
                "residues": n,
                "atoms": len(structure.atoms),
                "points": len(positive_points(structure, positive, SurfaceConfig()).coord),
                "one_thread_ms": time_ours(structure, path, repeats),
            }
            if libraries and n <= LIBRARY_LIMIT:
                row["libraries_ms"] = time_library(structure, path, repeats)
            rows.append(row)
            print(f"{n} residues done", file=sys.stderr)
    return {"machine": machine(), "rows": rows}


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    names = ("numpy", "numba", "torch", "scikit-learn", "biopython", "gemmi")
    versions = {name: importlib.metadata.version(name) for name in names}
    return {"cpu": _cpu(), "cores": os.cpu_count(), "python": platform.python_version(), **versions}


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor())


CORE = ("surface points", "mean shift", "votes and ranking")


def tables(results: dict[str, Any]) -> str:
    """Markdown: times of the stages, then ratios to the libraries."""
    rows = results["rows"]
    names = list(rows[0]["one_thread_ms"])
    lines = ["Milliseconds with one thread:", ""]
    lines += [
        f"| residues | atoms | points | {' | '.join(names)} |",
        "|--:" * (3 + len(names)) + "|",
    ]
    for row in rows:
        cells = [f"{ms:.3g}" for ms in row["one_thread_ms"].values()]
        lines.append(f"| {row['residues']} | {row['atoms']} | {row['points']} | {' | '.join(cells)} |")
    compared = [row for row in rows if "libraries_ms" in row]
    if compared:
        names = list(compared[0]["libraries_ms"])
        lines += ["", "Libraries, one thread (ms), and how many times faster s2p is with one thread:", ""]
        lines += [f"| residues | {' | '.join(names)} | surface + mean shift + votes |", "|--:" * (2 + len(names)) + "|"]
        for row in compared:
            ours, theirs = row["one_thread_ms"], row["libraries_ms"]
            cells = [f"{theirs[name]:.4g} ({theirs[name] / ours[name]:.0f}×)" for name in names]
            a, b = sum(theirs[name] for name in CORE), sum(ours[name] for name in CORE)
            lines.append(f"| {row['residues']} | {' | '.join(cells)} | {a:.4g} ({a / b:.0f}×) |")
    if "peak_memory_mb" in results:
        lines += ["", "Peak memory of surface points, clustering and features, above the structure itself:", ""]
        lines += ["| atoms | residues predicted | MB |", "|--:|--:|--:|"]
        lines += [f"| {x['atoms']} | {x['predicted']} | {x['mb']:.0f} |" for x in results["peak_memory_mb"]]
    return "\n".join(lines)


def plot(results: dict[str, Any], path: Path) -> None:
    """Time against size, ours solid, libraries dashed."""
    import matplotlib.pyplot as plt

    fig, ax = plt.subplots(figsize=(8, 4.5))
    rows = results["rows"]
    for name in rows[0]["one_thread_ms"]:
        if name == "structural part":
            continue
        line = ax.plot([r["residues"] for r in rows], [r["one_thread_ms"][name] for r in rows], "o-", ms=4, label=name)[0]
        slow = [r for r in rows if name in r.get("libraries_ms", {})]
        if slow:
            x, y = [r["residues"] for r in slow], [r["libraries_ms"][name] for r in slow]
            ax.plot(x, y, "s--", ms=4, color=line.get_color(), alpha=0.6)
    ax.set(xscale="log", yscale="log", xlabel="residues", ylabel="milliseconds, one thread")
    ax.plot([], [], "s--", color="grey", label="same, plain libraries")
    ax.grid(alpha=0.3)
    ax.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    fig.tight_layout()
    fig.savefig(path, dpi=110)
    plt.close(fig)


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, metavar="N", help="residues")
    parser.add_argument("--repeats", type=int, default=15, help="runs of each stage, of which the fastest counts")
    parser.add_argument("--no-libraries", action="store_true", help="only s2p")
    parser.add_argument("--no-memory", action="store_true", help="not the peak memory (100,000 atoms)")
    parser.add_argument("-o", "--output", type=Path, default=HERE, metavar="DIR", help="folder of the JSON and the plot")
    parser.add_argument("--peak-of", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--everything", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.peak_of:
        print(_measure_peak(arguments.peak_of, arguments.everything))
        return
    arguments.output.mkdir(parents=True, exist_ok=True)
    results = measure(arguments.sizes, repeats=arguments.repeats, libraries=not arguments.no_libraries)
    if not arguments.no_memory:
        results["peak_memory_mb"] = [
            {"atoms": n, "predicted": "all" if everything else f"{POSITIVE:.0%}", "mb": peak_memory(n, everything)}
            for n in (25_000, 100_000)
            for everything in (False, True)
        ]
    (arguments.output / "stages.json").write_text(json.dumps(rounded(results), indent=1) + "\n")
    plot(results, arguments.output / "stages.png")
    print(tables(results))


def rounded(value: Any) -> Any:
    """Floats to four digits, at any depth."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


if __name__ == "__main__":
    main()
