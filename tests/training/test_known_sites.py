"""Structures with known sites from folders and label files, and `s2p smooth-train` from end to end."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from s2p.checkpoint import load_checkpoint
from s2p.commands import main
from s2p.datasets.label_files import Annotation, write_annotations
from s2p.datasets.splits import split_complexes
from s2p.errors import S2PError, WeightsError
from s2p.language.esm import predict_residues
from s2p.predictor import Seq2Pocket
from s2p.structure.ligands import binding_residues
from s2p.structure.reading import read_structure
from s2p.training.known_sites import embed_structures, frozen_model, predicted_residues, read_known_sites, smoothing_examples

ROOT = Path(__file__).parents[2]
LETTERS = {"A": "ALA", "L": "LEU", "S": "SER", "K": "LYS", "E": "GLU", "G": "GLY", "F": "PHE", "D": "ASP", "V": "VAL", "T": "THR"}


def helix(seed: int, n: int = 30, chains: str = "A") -> str:
    """PDB text of helices beside each other with a random sequence, chain after chain 9 Å apart."""
    lines, serial = [], 0
    sequence = np.random.default_rng(seed).choice(list(LETTERS), n)
    for k, chain in enumerate(chains):
        for i in range(n):
            angle = np.deg2rad(100.0 * i)
            for atom, radius, rise in (("N", 1.6, -0.9), ("CA", 2.3, 0.0), ("C", 1.7, 1.0), ("O", 2.0, 2.2)):
                serial += 1
                x, y, z = radius * np.cos(angle) + 9.0 * k, radius * np.sin(angle), 1.5 * i + rise
                lines.append(
                    f"ATOM  {serial:5d}  {atom:<3s} {LETTERS[sequence[i]]} {chain}{i + 1:4d}    {x:8.3f}{y:8.3f}{z:8.3f}"
                    f"  1.00 20.00           {atom[0]}"
                )
        lines.append("TER")
    return "\n".join([*lines, "END", ""])


def ligand(height: float) -> str:
    """Six carbons beside the helix."""
    lines = []
    for k in range(6):
        a = k * np.pi / 3
        x, y, z = 5.5 + 1.4 * np.cos(a), 1.4 * np.sin(a), height
        lines.append(f"HETATM{k + 1:5d}  C{k + 1}  BNZ L   1    {x:8.3f}{y:8.3f}{z:8.3f}  1.00 20.00           C")
    return "\n".join([*lines, "END", ""])


@pytest.fixture
def complexes(tmp_path: Path) -> Path:
    """Twelve complexes, each a cluster of its own, the last with two ligands and two chains of one sequence."""
    folder = tmp_path / "complexes"
    index, clusters = [], []
    for k in range(12):
        name, chains = f"c{k:02d}", "AB" if k == 11 else "A"
        place = folder / "toy" / name
        place.mkdir(parents=True)
        (place / "protein.pdb").write_text(helix(k, chains=chains))
        (place / "ligand_00.pdb").write_text(ligand(12.0))
        if k == 11:
            (place / "ligand_01.pdb").write_text(ligand(30.0))
        index.append({"dataset": "toy", "id": name, "status": "OK", "flag": ""})
        clusters += [{"chain": f"toy|{name}|{c}", "cluster30": f"toy|{name}|A"} for c in chains]
    for file, rows in (("index.csv", index), ("chain_clusters.csv", clusters)):
        with open(folder / file, "w", newline="") as handle:
            writer = csv.DictWriter(handle, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    return folder


@pytest.fixture
def split(tmp_path: Path) -> Path:
    """Eight complexes to train on, three to validate; the first is for the test."""
    path = tmp_path / "split.csv"
    names = ["test", *["train"] * 8, *["validation"] * 3]
    path.write_text("dataset,id,split\n" + "".join(f"toy,c{k:02d},{name}\n" for k, name in enumerate(names)))
    return path


def test_complexes_are_read_by_their_split_and_the_test_is_not_opened(complexes: Path, split: Path) -> None:
    (complexes / "toy" / "c00" / "protein.pdb").write_text("no protein")
    found = read_known_sites(complexes, splits=split)
    assert [x.key for x in found["train"]] == [f"toy/c{k:02d}" for k in range(1, 9)]
    assert [x.key for x in found["validation"]] == ["toy/c09", "toy/c10", "toy/c11"]
    last = found["validation"][-1]
    assert len(last.sites) == 2 and last.structure.chains == ["A", "B"]
    for site, height in zip(last.sites, (12.0, 30.0), strict=True):
        ring = [(5.5 + 1.4 * np.cos(a), 1.4 * np.sin(a), height) for a in np.arange(6) * np.pi / 3]
        assert site.tolist() == binding_residues(last.structure, ring, 4.5).tolist()
        assert len(site)


def test_without_a_split_file_clusters_decide(complexes: Path) -> None:
    from s2p.datasets.labelled import read_complexes

    expected = split_complexes(read_complexes(complexes))
    names = {name: {key for key, value in expected.items() if value == name} for name in ("train", "validation")}
    if not names["validation"]:
        pytest.fail("the hash of these names gives no validation; change the names")
    found = read_known_sites(complexes)
    assert {name: {x.key for x in items} for name, items in found.items()} == names


def labels(complexes: Path, path: Path, form: str = "published", **changes: str) -> Path:
    """A label file for the complexes, their structures beside it as ``c00.pdb`` and so on."""
    lines = []
    for k in range(12):
        source = complexes / "toy" / f"c{k:02d}" / "protein.pdb"
        shutil.copy(source, path.parent / f"c{k:02d}.pdb")
        structure = read_structure(source)
        lines.append(Annotation(f"C{k:02d}", "A", "BNZ", np.array([6, 9, 10], np.int32), structure.sequence("A")))
    lines.append(Annotation("C11", "B", "X", np.array([2, 5], np.int32), structure.sequence("B")))
    write_annotations(path, lines, form)
    return path


@pytest.mark.parametrize("form", ["published", "csv"])
def test_label_files_give_one_site_a_line(complexes: Path, tmp_path: Path, split: Path, form: str) -> None:
    table = labels(complexes, tmp_path / "mine.txt", form)
    split.write_text(split.read_text().replace("toy,c", "mine,C"))
    found = read_known_sites(table, splits=split)
    assert [x.key for x in found["validation"]] == ["mine/C09", "mine/C10", "mine/C11"]
    assert [site.tolist() for site in found["validation"][0].sites] == [[6, 9, 10]]
    assert [site.tolist() for site in found["validation"][2].sites] == [[6, 9, 10], [32, 35]]


def test_chains_alike_in_a_label_file_stay_together(complexes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a split file the label file's chains are clustered, and clusters, not chains, are split."""
    table = labels(complexes, tmp_path / "mine.txt")
    asked = {}

    def pairs(sequences, *, identity, coverage):
        asked.update(sequences)
        names = list(sequences)
        return [names[k : k + 2] for k in range(0, len(names), 2)]

    monkeypatch.setattr("s2p.training.known_sites.cluster", pairs)
    found = read_known_sites(table)
    assert len(asked) == 13 and asked["mine/C11|B"] == asked["mine/C11|A"]
    where = {x.key: name for name, items in found.items() for x in items}
    for k in range(0, 12, 2):
        assert where.get(f"mine/C{k:02d}") == where.get(f"mine/C{k + 1:02d}")


def test_label_files_must_fit_their_structures(complexes: Path, tmp_path: Path, split: Path) -> None:
    table = labels(complexes, tmp_path / "mine.txt")
    split.write_text(split.read_text().replace("toy,c", "mine,C"))
    (tmp_path / "c09.pdb").write_text(helix(77))
    with pytest.raises(S2PError, match=r"mine.txt, line 10: the sequence of C09_A .30 residues. is not that"):
        read_known_sites(table, splits=split)
    (tmp_path / "c03.pdb").unlink()
    with pytest.raises(S2PError, match=r"mine.txt, line 4: no structure file of C03"):
        read_known_sites(table, splits=split)
    (tmp_path / "records.txt").write_text(">x\nACD\n010\n")
    with pytest.raises(S2PError, match=r"line 1: x has no chain"):
        read_known_sites(tmp_path / "records.txt")


def test_wrong_folders_and_splits_are_explained(complexes: Path, tmp_path: Path, split: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(S2PError, match="no index.csv"):
        read_known_sites(tmp_path / "empty")
    with pytest.raises(S2PError, match="no such file"):
        read_known_sites(tmp_path / "missing.csv")
    with pytest.raises(S2PError, match="no such split file"):
        read_known_sites(complexes, splits=tmp_path / "missing.csv")
    bad = tmp_path / "bad.csv"
    bad.write_text("name,split\nc01,train\n")
    with pytest.raises(S2PError, match="columns dataset, id and split"):
        read_known_sites(complexes, splits=bad)
    bad.write_text("dataset,id,split\ntoy,c01,train\n")
    with pytest.raises(S2PError, match="11 structures are not in this split file, the first is toy/c00"):
        read_known_sites(complexes, splits=bad)
    bad.write_text(split.read_text().replace("validation", "unused"))
    with pytest.raises(S2PError, match="none of its 12 structures is in the validation split"):
        read_known_sites(complexes, splits=bad)


def test_embeddings_and_predictions_are_those_of_the_pipeline(complexes: Path, split: Path, tmp_path: Path) -> None:
    checkpoint = load_checkpoint("s2p-esm2-8m")
    items = read_known_sites(complexes, splits=split)["validation"]
    found = embed_structures(checkpoint.model, items, tmp_path / "cache")
    examples = smoothing_examples(items, [e for _, e in found])
    for item, example, (logits, _) in zip(items, examples, found, strict=True):
        scores = Seq2Pocket(checkpoint).score(item.structure)
        np.testing.assert_allclose(example.embeddings, scores.embeddings, rtol=2e-3, atol=2e-4)
        near = np.abs(scores.probabilities - checkpoint.threshold) < 1e-4
        predicted = predicted_residues(checkpoint, item.structure, logits)
        np.testing.assert_array_equal(predicted[~near], (scores.probabilities > checkpoint.threshold)[~near])
        assert example.binding.sum() == len(set(np.concatenate(item.sites).tolist()))


def test_frozen_embeddings_come_from_the_given_weights(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    from s2p.language.esm import ResidueModel

    torch_model = ResidueModel("esm2_t6_8M_UR50D").eval()
    state = {k: v.clone() for k, v in torch_model.backbone.state_dict().items() if not k.startswith(("lm_head", "contact_head"))}
    save_file(state, tmp_path / "backbone.safetensors")
    frozen = frozen_model("esm2_t6_8M_UR50D", tmp_path / "backbone.safetensors")
    (logits, e), (_, expected) = predict_residues(frozen, ["ACDEF"])[0], predict_residues(torch_model, ["ACDEF"])[0]
    np.testing.assert_allclose(e, expected, atol=1e-6)
    assert not logits.any()
    with pytest.raises(WeightsError, match="no such weights file"):
        frozen_model("esm2_t6_8M_UR50D", tmp_path / "none.safetensors")


# ------------------------------------------------------------------------------------------------------------ command line


def smooth_train(complexes: Path, split: Path, *arguments: str) -> int:
    place = complexes.parent
    common = ["--split", str(split), "--work", str(place / "work"), "--cache", str(place / "cache"), "--device", "cpu"]
    return main(["smooth-train", str(complexes), *common, "--max-epochs", "3", *arguments])


def test_a_checkpoint_with_the_new_smoother(complexes: Path, split: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = complexes.parent
    out = place / "new" / "mine.safetensors"
    assert smooth_train(complexes, split, "-o", str(out), "--own-context") == 0
    printed = capsys.readouterr().out
    assert "8 train, 3 validation structures" in printed and f"wrote {out}" in printed
    old, new = load_checkpoint("s2p-esm2-8m"), load_checkpoint(out)
    assert (new.name, new.threshold, new.smoothing_threshold, new.ranking) == (
        "mine",
        old.threshold,
        old.smoothing_threshold,
        old.ranking,
    )
    assert new.pocket_model == old.pocket_model
    for a, b in zip(old.model.head.parameters(), new.model.head.parameters(), strict=True):
        np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())
    assert old.smoother is not None and new.smoother is not None
    first = [next(s.parameters()).detach().numpy() for s in (old.smoother, new.smoother)]
    assert first[0].shape == first[1].shape and not np.allclose(first[0], first[1])
    card = json.loads(out.with_suffix(".json").read_text())
    assert card["smoother"]["include_self"] is True and card["smoother"]["structures"] == {"train": 8, "validation": 3}
    assert card["smoother"]["split"] == "split.csv" and "in-sample" in card["smoother"]["note"]
    assert card["licence"] == old.card["licence"]
    log = list(csv.DictReader((place / "work" / "log.csv").open()))
    assert len(log) == card["smoother"]["epochs"] <= 3
    assert (place / "work" / "learning_curve.png").read_bytes().startswith(b"\x89PNG")
    # It predicts.
    assert main(["predict", str(complexes / "toy/c01/protein.pdb"), "--model", str(out), "-o", str(place / "p"), "--quiet"]) == 0
    # The same command again finds everything done; another setting may not mix with it.
    assert smooth_train(complexes, split, "-o", str(out), "--own-context", "--quiet") == 0
    assert capsys.readouterr().out == ""
    assert smooth_train(complexes, split, "-o", str(out)) == 1
    assert "other data or settings" in capsys.readouterr().err


def test_the_search_from_the_command_line(complexes: Path, split: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = complexes.parent
    out = place / "best.safetensors"
    assert smooth_train(complexes, split, "-o", str(out), "--search", "2", "--radius", "10") == 0
    rows = list(csv.DictReader((place / "work" / "search" / "search.csv").open()))
    best = max(rows, key=lambda r: float(r["validation_auprc"]))
    card = json.loads(out.with_suffix(".json").read_text())["smoother"]
    assert len(rows) == 3 and (card["width"], card["lr"]) == (int(best["width"]), float(best["lr"]))
    log = list(csv.DictReader((place / "work" / "log.csv").open()))
    assert max(round(float(r["validation_auprc"]), 4) for r in log) == float(best["validation_auprc"])
    assert "forms contexts within 15 Å, not 10" in capsys.readouterr().out


def test_the_ablation_from_the_command_line(complexes: Path, split: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from safetensors.torch import save_file

    place = complexes.parent
    state = load_checkpoint("s2p-esm2-8m").model.backbone.state_dict()
    save_file({k: v.clone() for k, v in state.items() if not k.startswith("lm_head")}, place / "weights.safetensors")
    code = smooth_train(complexes, split, "--ablation", "--seeds", "2", "--weights", str(place / "weights.safetensors"))
    assert code == 0, capsys.readouterr().err
    rows = list(csv.DictReader((place / "work" / "ablation" / "ablation.csv").open()))
    assert [r["embeddings"] for r in rows] == ["finetuned"] * 4 + ["frozen"] * 4
    # The "pre-trained" weights are the checkpoint's own here, so that both kinds must agree.
    figures = ("auprc_10", "mcc_15", "auprc_in_use", "epochs")
    assert [[r[f] for f in figures] for r in rows[:4]] == [[r[f] for f in figures] for r in rows[4:]]
    assert smooth_train(complexes, split, "--ablation", "--seeds", "2", "--embeddings", "finetuned") == 0
    assert list(csv.DictReader((place / "work" / "ablation" / "ablation.csv").open())) == rows[:4]


def test_frozen_embeddings_are_judged_but_not_written(
    complexes: Path, split: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from safetensors.torch import save_file

    from s2p.language.esm import build_backbone

    state = build_backbone("esm2_t6_8M_UR50D").state_dict()
    save_file({k: v.clone() for k, v in state.items() if not k.startswith("lm_head")}, tmp_path / "weights.safetensors")
    assert smooth_train(complexes, split, "--embeddings", "frozen", "--weights", str(tmp_path / "weights.safetensors")) == 0
    assert "validation AUPRC" in capsys.readouterr().out
    assert (complexes.parent / "work" / "learning_curve.png").is_file()
    assert not [p for p in complexes.parent.glob("*.safetensors") if p.name != "weights.safetensors"]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ([], "say where to write the checkpoint"),
        (["-o", "x.pt"], "a checkpoint is a .safetensors file, not x.pt"),
        (["--embeddings", "frozen", "-o", "x.safetensors"], "cannot go into a checkpoint"),
        (["--ablation", "-o", "x.safetensors"], "leave --search and -o out"),
        (["--ablation", "--search", "3"], "leave --search and -o out"),
        (["-o", "x.safetensors", "--radius", "0"], "0 is not positive"),
    ],
)
def test_wrong_usage(arguments: list[str], why: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["smooth-train", "anywhere", *arguments])
    assert stop.value.code == 2 and why in capsys.readouterr().err
