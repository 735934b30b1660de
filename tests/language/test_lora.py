"""Low-rank updates: nothing at first, the only thing that learns, and gone after merging."""

from __future__ import annotations

import pytest
import torch

from s2p.errors import S2PError
from s2p.io.weights import weights_path
from s2p.language.esm import ResidueModel, load_backbone
from s2p.language.lora import (
    ATTENTION,
    FEED_FORWARD,
    LoraLinear,
    add_lora,
    base_checksum,
    lora_parameters,
    lora_updates,
    merge_lora,
    remove_lora,
)
from s2p.language.sequences import tokenize

TOKENS = torch.from_numpy(tokenize("MKWVHFAAGILPTRSNQDEYC"))[None]


def fresh() -> ResidueModel:
    torch.manual_seed(1)
    return ResidueModel("esm2_t6_8M_UR50D").eval()


def shake(model: ResidueModel) -> None:
    """Updates as training leaves them, and then some."""
    with torch.no_grad():
        for p in lora_parameters(model.backbone):
            p.normal_(std=0.05)


def test_one_linear_map_by_hand() -> None:
    base = torch.nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        base.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    lora = LoraLinear(base, rank=1, alpha=3.0)
    with torch.no_grad():
        lora.lora_a.copy_(torch.tensor([[1.0, 2.0]]))
        lora.lora_b.copy_(torch.tensor([[1.0], [-1.0]]))
    # A x = 1·1 + 2·1 = 3, times 3, along (1, -1): (1, 1) + (9, -9).
    assert lora(torch.tensor([1.0, 1.0])).tolist() == [10.0, -8.0]
    assert lora.fold().weight.tolist() == [[4.0, 6.0], [-3.0, -5.0]]
    assert lora.fold().weight.tolist() == [[4.0, 6.0], [-3.0, -5.0]], "added once"
    assert lora(torch.tensor([1.0, 1.0])).tolist() == [10.0, -8.0]


@pytest.mark.parametrize("targets", [ATTENTION, (*ATTENTION, *FEED_FORWARD), ("v_proj",)], ids=["attention", "all", "value"])
def test_merged_equals_unmerged_and_is_plain_again(targets: tuple[str, ...]) -> None:
    model = fresh()
    keys, (before, _) = list(model.state_dict()), model(TOKENS)
    add_lora(model.backbone, 4, 8.0, targets)
    assert torch.equal(model(TOKENS)[0], before)
    assert len(lora_parameters(model.backbone)) == 2 * 6 * len(targets)
    shake(model)
    logits, hidden = model(TOKENS)
    assert not torch.allclose(logits, before, atol=1e-2)
    merge_lora(model.backbone)
    assert list(model.state_dict()) == keys
    merged_logits, merged_hidden = model(TOKENS)
    assert torch.allclose(merged_logits, logits, atol=1e-5)
    assert torch.allclose(merged_hidden, hidden, atol=1e-5)
    assert all(p.requires_grad for p in model.parameters())


def test_only_updates_and_head_get_gradients() -> None:
    model = fresh()
    add_lora(model.backbone, 4, 8.0)
    shake(model)
    model(TOKENS)[0].sum().backward()
    learned = {name for name, p in model.named_parameters() if p.grad is not None}
    assert learned == {name for name, _ in model.named_parameters() if ".lora_" in name or name.startswith("head.")}
    assert len(learned) == 2 * 6 * 4 + 2
    assert all(p.grad.abs().max() > 0 for p in lora_parameters(model.backbone))


def test_it_starts_the_same_and_leaves_the_generators_alone() -> None:
    models = [fresh(), fresh()]
    state = torch.get_rng_state()
    for model in models:
        add_lora(model.backbone, 2, 8.0, seed=5)
    assert torch.equal(torch.get_rng_state(), state)
    pairs = zip(lora_parameters(models[0].backbone), lora_parameters(models[1].backbone), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize(("rank", "targets"), [(0, ATTENTION), (4, ("q_proj", "gate")), (4, ())])
def test_impossible_requests(rank: int, targets: tuple[str, ...]) -> None:
    with pytest.raises(S2PError, match="LoRA needs a rank of 1 or more"):
        add_lora(fresh().backbone, rank, 8.0, targets)


def test_not_twice() -> None:
    model = fresh()
    add_lora(model.backbone, 2, 8.0)
    with pytest.raises(S2PError, match="already"):
        add_lora(model.backbone, 2, 8.0)


def test_updates_leave_the_weights_and_their_checksum_until_they_are_folded() -> None:
    model = fresh()
    before, names = base_checksum(model.backbone), list(model.state_dict())
    add_lora(model.backbone, 2, 8.0, ("q_proj", "fc2"))
    shake(model)
    assert base_checksum(model.backbone) == before
    assert [name for _, name, _ in lora_updates(model.backbone)] == ["q_proj", "fc2"] * 6
    remove_lora(model.backbone)
    assert base_checksum(model.backbone) == before and list(model.state_dict()) == names
    add_lora(model.backbone, 2, 8.0)
    shake(model)
    merge_lora(model.backbone)
    assert base_checksum(model.backbone) != before


def test_the_checksum_covers_nothing_that_is_drawn_when_a_backbone_is_loaded() -> None:
    """Or a run could not resume in a new process: fair-esm's heads of pre-training are random unless they are loaded."""
    checksums = set()
    for seed in (0, 1):
        torch.manual_seed(seed)
        backbone = load_backbone("esm2_t6_8M_UR50D", weights_path("s2p-esm2-8m"))
        checksums.add(base_checksum(backbone))
        assert [key for key in backbone.state_dict() if key.startswith(("lm_head", "contact_head"))] == []
    assert len(checksums) == 1
