"""The region detector: names, planted weights, pictures of any size side by side."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from sensorium.checkpoints.formats import export, format_named, parameters
from sensorium.checkpoints.load import load_model, save_model
from sensorium.checkpoints.rename import CheckpointError
from sensorium.models.detector import ADAPTIVE, FIXED_36, PRESETS, Detection, Detector, Selection, select
from tests import tiny_detector

NAMING = "frcnn-vg-finetuned"


def pictures() -> list[torch.Tensor]:
    torch.manual_seed(3)
    return [torch.randn(3, 96, 130) * 50, torch.randn(3, 150, 75) * 50]


@pytest.mark.parametrize("selection", [FIXED_36, replace(ADAPTIVE, least=3, most=20)])
def test_pictures_of_two_sizes_equal_one_by_one(selection: Selection) -> None:
    model = tiny_detector.build()
    together = model(pictures(), selection)
    for picture, seen in zip(pictures(), together, strict=True):
        (alone,) = model([picture], selection)
        for name, a, b in zip(Detection._fields, seen, alone, strict=True):
            assert torch.equal(a, b), name
        height, width = picture.shape[1:]
        assert (seen.boxes[:, 2:] >= seen.boxes[:, :2]).all()
        assert (seen.boxes >= 0).all()
        assert (seen.boxes <= torch.tensor([width, height] * 2)).all()
        assert len(seen.features) == len(seen.probabilities) <= selection.most
        torch.testing.assert_close(seen.probabilities.sum(1), torch.ones(len(seen.objects)))


def planted() -> Detector:
    """A detector that is sure of one anchor at one place, and of one class and attribute wherever it looks."""
    model = tiny_detector.build(replace(tiny_detector.TINY, proposals=1))
    torch.nn.init.zeros_(model.proposer.conv.weight)
    torch.nn.init.zeros_(model.proposer.conv.bias)
    # The hidden map's first channel is the trunk's first channel at the same place.
    model.proposer.conv.weight.data[0, 0, 1, 1] = 1
    for layer in (model.proposer.objectness, model.proposer.change, model.head.change):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    model.proposer.objectness.weight.data[4, 0] = 1  # the square of 32 pixels
    model.proposer.change.bias.data[4 * 4 : 4 * 4 + 2] = 0.25  # a quarter of its side right and down
    model.head.classes.bias.data[7] = 100
    model.head.attributes.bias.data[2] = 100
    model.head.attributes.bias.data[-1] = 1000  # none does not count
    model.head.change.bias.data.view(-1, 4)[7, 0] = 10 * 0.125  # an eighth of its side to the right
    return model


def test_what_was_planted_is_found() -> None:
    model = planted()
    map = torch.zeros(1, 64, 8, 8)
    map[0, 0, 3, 5] = 9
    boxes = model.propose(map, 128, 128)
    corner = torch.tensor([5 * 16 - 16.0, 3 * 16 - 16, 5 * 16 + 16, 3 * 16 + 16]) + 8
    torch.testing.assert_close(boxes, corner[None])
    found = select(model.describe(map, boxes), boxes, (128, 128), FIXED_36)
    assert (found.objects.item(), found.attributes.item()) == (7, 2)
    assert found.confidences.item() > 0.99
    # Shifted by 4 pixels, and cut at the border where need be.
    torch.testing.assert_close(found.boxes, corner[None] + torch.tensor([4.0, 0, 4, 0]))
    by_class = select(model.describe(map, boxes), boxes, (128, 128), ADAPTIVE)
    torch.testing.assert_close(by_class.boxes, boxes)  # the paper cuts features where the proposal is


def test_features_are_of_the_region_alone() -> None:
    """What lies outside of a region's cells does not reach its features."""
    model = tiny_detector.build()
    map = torch.randn(1, 64, 12, 12)
    other = map.clone()
    other[:, :, 6:] = torch.randn(1, 64, 6, 12)
    boxes = torch.tensor([[16.0, 16, 80, 64], [16, 16, 80, 180]])
    a, b = model.describe(map, boxes), model.describe(other, boxes)
    torch.testing.assert_close(a.features[0], b.features[0])
    assert not torch.allclose(a.features[1], b.features[1])


def test_thresholds_are_tried_until_enough_remain() -> None:
    model = tiny_detector.build()
    (few,) = model(pictures()[:1], Selection(thresholds=(0.0,), least=36, most=36))
    (more,) = model(pictures()[:1], Selection(thresholds=(0.0, 1.0), least=36, most=36))
    assert len(few.boxes) < len(more.boxes) == 36
    (capped,) = model(pictures()[:1], Selection(rule="by class", confidence=0.0, least=2, most=5))
    assert len(capped.boxes) == 5
    (least,) = model(pictures()[:1], Selection(rule="by class", confidence=2.0, least=2, most=5))
    assert len(least.boxes) == 2


@pytest.mark.parametrize("depths", [(1, 1, 2, 2), (2, 1, 1, 3)])
def test_names_go_out_and_come_back(tmp_path: Path, depths: tuple[int, int, int, int]) -> None:
    model = tiny_detector.build(replace(tiny_detector.TINY, depths=depths, candidates=6000, proposals=300))
    file = save_model(model, tmp_path / "a", naming=NAMING)
    theirs = load_file(str(file))
    loaded = load_model(tmp_path / "a")
    assert isinstance(loaded.model, Detector)
    assert loaded.model.config == replace(model.config, dilated=True, pool=14)
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[name], tensor), name
    again = load_file(str(save_model(loaded.model, tmp_path / "b", naming=NAMING)))
    assert list(again) == list(theirs)
    assert all(torch.equal(again[name], theirs[name]) for name in theirs)
    save_file(theirs | {"backbone.stem.conv1.norm.num_batches_tracked": torch.tensor(5)}, file)
    load_model(file)  # the counters of plain batch norms are known, and not needed
    save_file({name: t for name, t in theirs.items() if name != "roi_heads.res5.0.conv2.norm.bias"}, file)
    with pytest.raises(CheckpointError, match=r"missing: roi_heads\.res5\.0\.conv2\.norm\.bias"):
        load_model(file)
    save_file(theirs | {"roi_heads.box_predictor.mask": torch.zeros(1)}, file)
    with pytest.raises(CheckpointError, match=r"unknown names.*box_predictor\.mask"):
        load_model(file)


def test_the_published_names_and_shapes() -> None:
    config = PRESETS["frcnn-vg"]
    with torch.device("meta"):
        model = Detector(config)
    shapes = {name: list(t.shape) for name, t in export(model, format_named("detector", NAMING)).items()}
    heads = "roi_heads.box_predictor"
    expected = {
        "backbone.stem.conv1.weight": [64, 3, 7, 7],
        "backbone.stem.conv1.norm.running_var": [64],
        "backbone.res2.0.shortcut.weight": [256, 64, 1, 1],
        "backbone.res3.3.conv3.norm.bias": [512],
        "backbone.res4.22.conv2.weight": [256, 256, 3, 3],
        "proposal_generator.anchor_generator.cell_anchors.0": [12, 4],
        "proposal_generator.rpn_head.conv.weight": [512, 1024, 3, 3],
        "proposal_generator.rpn_head.objectness_logits.weight": [12, 512, 1, 1],
        "proposal_generator.rpn_head.anchor_deltas.bias": [48],
        "roi_heads.res5.0.shortcut.weight": [2048, 1024, 1, 1],
        "roi_heads.res5.2.conv2.weight": [512, 512, 3, 3],
        f"{heads}.cls_score.weight": [1601, 2048],
        f"{heads}.bbox_pred.weight": [6400, 2048],
        f"{heads}.cls_embedding.weight": [1601, 256],
        f"{heads}.fc_attr.weight": [512, 2304],
        f"{heads}.attr_score.weight": [401, 512],
    }
    assert {name: shapes.get(name) for name in expected} == expected
    blocks = sum(config.depths)
    assert len(shapes) == 5 * (1 + 3 * blocks + 4) + 1 + 6 + 9
    assert parameters(config) > 60_000_000


def test_dilation_keeps_the_grid_and_halving_halves_it() -> None:
    pooled = torch.randn(2, 64, 6, 6)
    assert tiny_detector.build().res5(pooled).shape == (2, 128, 6, 6)
    halved = tiny_detector.build(replace(tiny_detector.TINY, dilated=False))
    assert halved.res5(pooled).shape == (2, 128, 3, 3)


PROGRAM = """
import torch
from tests import tiny_detector
torch.set_num_threads(1)
model = tiny_detector.build()
with torch.no_grad():
    for part, x in (
        (model.trunk, torch.randn(1, 3, 70, 90)),
        (model.proposer, torch.randn(1, 64, 5, 6)),
        (model.res5, torch.randn(2, 64, 6, 6)),
        (model.head, torch.randn(2, 128)),
    ):
        torch.testing.assert_close(torch.compile(part, fullgraph=True, backend="eager")(x), part(x))
print("the same")
"""


def test_compiled_in_one_graph_equals_eager() -> None:
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", PROGRAM], capture_output=True, text=True, timeout=300)
    assert run.stdout.strip() == "the same", run.stderr[-3000:]


@pytest.mark.parametrize("selection", [FIXED_36, ADAPTIVE])
def test_a_picture_in_which_nothing_is_proposed_has_no_regions(selection: Selection) -> None:
    model = tiny_detector.build()
    nowhere = torch.zeros(0, 4)
    found = select(model.describe(torch.randn(1, 64, 4, 5), nowhere), nowhere, (64, 80), selection)
    assert found.features.shape == (0, 128)
    assert found.boxes.shape == (0, 4)
