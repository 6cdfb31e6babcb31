"""LayoutLMv2's and LayoutXLM's cases and full-size checkpoints."""

import re
from collections.abc import Callable

import torch
from torch import Tensor

from sensorium.checkpoints import detectron2
from sensorium.checkpoints.formats import format_named
from sensorium.checkpoints.layoutlmv2 import STAGES, official_rows
from sensorium.checkpoints.rename import to_ours, to_theirs
from sensorium.data.page_masking import DROPPED, PAPER, REPLACED, choose_partners, question
from sensorium.data.relations import page_candidates, related
from sensorium.models.document_heads import RelationHead
from sensorium.models.layoutlmv2 import LayoutLMv2, LayoutLMv2Config, bucket
from sensorium.models.page_encoder import PageConfig, PageEncoder
from sensorium.nn.frozen_resnet import DEPTHS, FrozenResNet, Stem, stages
from sensorium.objectives import document
from tests.conformance.steps import Preset, all_close, load
from tests.conformance.weights import Case

SMALL = PageConfig(depths=(1,) * STAGES, groups=1, width=4, stem=4, stage=4, pyramid=4)


def page_inputs(case: Case) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None]:
    i = case.inputs
    return i["input_ids"], i["bbox"], i["image"].float(), i["attention_mask"].bool(), i.get("token_type_ids")


def build(case: Case, naming: str) -> LayoutLMv2:
    known = format_named("layoutlmv2", naming)
    config = known.read(case.state, case.config)
    assert isinstance(config, LayoutLMv2Config)
    c = case.config
    assert (config.heads, not config.key_bias, config.words) == (
        c["num_attention_heads"],
        c["fast_qkv"],
        c["vocab_size"],
    )
    assert config.bins == (c["rel_pos_bins"] if c.get("has_relative_attention_bias", True) else 0)
    assert config.spatial_bins == (c["rel_2d_pos_bins"] if c.get("has_spatial_attention_bias", True) else 0)
    assert (config.page.depths, config.page.groups) == (DEPTHS[c["backbone"]["depth"]], c["backbone"]["num_groups"])
    model = load(case, known, config)
    assert isinstance(model, LayoutLMv2)
    return model


@torch.no_grad()
def whole_model(case: Case) -> None:
    model = build(case, "official")
    ids, boxes, image, mask, segments = page_inputs(case)
    features = model.page(image)
    states = model.states(ids, boxes, image, mask, segments)
    n = ids.shape[1]
    cells = model.cells()
    positions = torch.cat([torch.arange(n), torch.arange(cells.shape[1])])
    places = torch.cat([boxes, cells.expand(len(boxes), -1, -1)], dim=1)
    outputs = {
        "text_embeddings": model.embed_text(ids, boxes, segments),
        "visual_features": features,
        "visual_embeddings": model.embed_page(features, cells),
        "visual_bbox": cells,
        "layer0": states[1],
        "sequence_output": states[-1],
        "pooled_output": model(ids, boxes, image, mask, segments),
    }
    if model.config.bins:
        outputs["rel_pos_1d"] = model.bias.in_order(positions.expand(len(ids), -1))
    if model.config.spatial_bins:
        outputs["rel_pos_2d"] = model.bias.in_space(places)
    all_close(case, outputs)
    page = model.read(ids, boxes, image, mask, segments)
    torch.testing.assert_close(torch.cat([page.text, page.visual], dim=1), states[-1])
    torch.testing.assert_close(page.look, states[0][:, n:])


@torch.no_grad()
def embeddings(case: Case) -> None:
    """The manifest holds the embeddings alone: everything else stays as it was built."""
    c = case.config
    config = LayoutLMv2Config(
        width=c["hidden_size"],
        depth=1,
        heads=c["num_attention_heads"],
        mlp=8,
        words=c["vocab_size"],
        positions=c["max_position_embeddings"],
        segments=c["type_vocab_size"],
        places=c["max_2d_position_embeddings"],
        coordinate=c["coordinate_size"],
        shape=c["shape_size"],
        grid=tuple(c["image_feature_pool_shape"][:2]),
        visual_segment=c["has_visual_segment_embedding"],
        eps=c["layer_norm_eps"],
        page=PageConfig(
            depths=(1,) * STAGES, groups=1, width=4, stem=4, stage=4, pyramid=c["image_feature_pool_shape"][2]
        ),
    )
    model = LayoutLMv2(config)
    ours = to_ours(case.state, official_rows(config))
    assert len(ours) == len(case.state)
    assert not model.load_state_dict(ours, strict=False).unexpected_keys
    i = case.inputs
    all_close(
        case,
        {
            "text_embeddings": model.embed_text(i["input_ids"], i["bbox"], i["token_type_ids"]),
            "visual_embeddings": model.embed_page(i["visual_features"], i["visual_bbox"]),
        },
    )


@torch.no_grad()
def backbone(case: Case) -> None:
    c = case.config
    config = PageConfig(
        depths=DEPTHS[c["depth"]],
        groups=c["num_groups"],
        width=c["num_groups"] * c["width_per_group"],
        stem=c["stem_out_channels"],
        stage=c["res2_out_channels"],
        pyramid=c["fpn_out_channels"],
    )
    side = round(case.outputs["features"].shape[1] ** 0.5)
    model = PageEncoder(config, (side, side))
    if c["stride_in_1x1"]:  # no published page encoder has it
        parts = stages(config.depths, config.stem, config.width, config.stage, groups=config.groups, stride_first=True)
        model.trunk = FrozenResNet(Stem(config.stem), parts)
    rows = [row for row in official_rows(LayoutLMv2Config(page=config)) if row.theirs.startswith("layoutlmv2.visual.")]
    ours = to_ours(case.state, rows)
    model.load_state_dict({name.removeprefix("page."): tensor for name, tensor in ours.items()})
    image = case.inputs["image"].float()
    maps = model.maps(image)
    levels = model.pyramid(maps)
    torch.testing.assert_close(model.pyramid.finest(maps), levels[0])
    outputs = {"features": model(image)}
    outputs |= {f"res{level}": x for level, x in enumerate(maps, detectron2.FIRST)}
    outputs |= {f"p{level}": x for level, x in enumerate(levels, detectron2.FIRST)}
    for name in list(outputs):
        if name not in case.outputs:
            x = outputs.pop(name)
            if f"{name}_mean" in case.outputs:
                outputs[f"{name}_mean"] = x.mean((2, 3))
    for name, x in outputs.items():  # the large case keeps a corner
        if (expected := case.outputs[name]).ndim == 4 and x.shape != expected.shape:
            outputs[name] = x[..., : expected.shape[2], : expected.shape[3]]
    all_close(case, outputs)


def buckets(case: Case) -> None:
    distance = case.inputs["relative_position"]
    outputs: dict[str, Tensor] = {}
    for name in case.outputs:
        way, bins, reach = name.split("_")
        assert way in ("bucket", "unidirectional")
        outputs[name] = bucket(distance, int(bins), int(reach), both_ways=way == "bucket")
    all_close(case, outputs)


def tokens(case: Case) -> None:
    model = build(case, "official")
    ids, boxes, image, mask, segments = page_inputs(case)
    logits = model(ids, boxes, image, mask, segments)
    loss = document.entity_tags(logits, case.inputs["labels"], mask)
    loss.backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None and p.numel()}
    theirs = to_theirs(gradients, official_rows(model.config))
    outputs = {name: theirs[name.removeprefix("grad.")] for name in case.outputs if name.startswith("grad.")}
    assert outputs
    all_close(case, outputs | {"loss": loss.detach(), "logits": logits.detach()})


@torch.no_grad()
def relations(case: Case) -> None:
    model = build(case, "official")
    page = model.read(*page_inputs(case))
    assert isinstance(model.head, RelationHead)
    logits: list[Tensor] = []
    labels: list[Tensor] = []
    outputs: dict[str, Tensor] = {"sequence_output": torch.cat([page.text, page.visual], dim=1)}
    for index, (entities, relation) in enumerate(zip(case.facts["entities"], case.facts["relations"], strict=True)):
        starts, kinds, pairs = page_candidates(entities["start"], entities["label"])
        true = related(pairs, list(zip(relation["head"], relation["tail"], strict=True)))
        wanted, of_kinds = torch.tensor(pairs), torch.tensor(kinds)
        labels.append(torch.tensor(true))
        logits.append(model.head(page.text[index], torch.tensor(starts), of_kinds, wanted))
        outputs[f"pairs.{index}"] = torch.cat([wanted, labels[-1][:, None]], dim=1)
        outputs[f"pair_logits.{index}"] = logits[-1]
        outputs[f"predicted.{index}"] = wanted[logits[-1].argmax(-1) == 1]
    outputs["loss"] = document.related(logits, labels)
    all_close(case, outputs)


@torch.no_grad()
def page_classes(case: Case) -> None:
    model = build(case, "transformers")
    logits = model(*page_inputs(case))
    loss = torch.nn.functional.cross_entropy(logits, case.inputs["labels"])
    all_close(case, {"logits": logits, "loss": loss})


@torch.no_grad()
def answers(case: Case) -> None:
    model = build(case, "transformers")
    logits = model(*page_inputs(case))
    start, end = logits.unbind(-1)
    loss = document.answer_span(logits, case.inputs["start_positions"], case.inputs["end_positions"])
    all_close(case, {"start_logits": start, "end_logits": end, "loss": loss})


def pretraining(case: Case) -> None:
    """Facts in words: the shares that they state are those of `PAPER`, and of what is drawn by it."""
    grid = case.outputs["grid"]
    side = len(grid) - 1
    config = LayoutLMv2Config(
        width=24, depth=1, heads=1, mlp=8, words=9, coordinate=4, shape=4, grid=(side, side), page=SMALL
    )
    cells = LayoutLMv2(config).cells()[0]
    all_close(case, {"grid": torch.cat([cells[:side, 0], cells[-1:, 2]])})
    assert torch.equal(cells[::side, 1], grid[:-1])

    def percents(fact: str) -> list[float]:
        return [int(number) / 100 for number in re.findall(r"(\d+)%", case.facts[fact])]

    kept = 1 - PAPER.shown_as_mask - PAPER.shown_as_random
    assert percents("MVLM") == [PAPER.token, PAPER.shown_as_mask, PAPER.shown_as_random, round(kept, 6)]
    assert percents("TIA") == [PAPER.line]
    assert percents("TIM") == [PAPER.replaced, PAPER.dropped]
    generator = torch.Generator().manual_seed(case.meta["seed"])
    partners = choose_partners(20_000, generator)
    assert abs((partners == REPLACED).float().mean() - PAPER.replaced) < 0.01
    assert abs((partners == DROPPED).float().mean() - PAPER.dropped) < 0.01
    n = 4000
    ids, line = torch.randint(5, 1000, (n,), generator=generator), torch.arange(n) // 2
    line[0] = line[-1] = -1
    boxes, image = torch.tensor([[0, 0, 10, 10]]).expand(n, 4), torch.ones(3, 20, 20)
    asked = question(ids, boxes, line, image, 0, mask_id=4, words=1000, generator=generator)
    masked = asked.labels != -100
    assert abs(masked.float().mean() - PAPER.token) < 0.03
    assert torch.equal(asked.labels[masked], ids[masked])
    assert abs((asked.ids == 4)[masked].float().mean() - PAPER.shown_as_mask) < 0.05
    assert abs((asked.ids == ids)[masked].float().mean() - kept) < 0.05
    assert abs(asked.covered.float().mean() - PAPER.line) < 0.03
    assert not (asked.counts & masked).any()
    other = question(ids, boxes, line, image, REPLACED, mask_id=4, words=1000, generator=generator)
    assert other.covered[other.counts].all()
    assert not other.matching
    assert (other.labels != -100).any()  # negatives are masked too


KINDS: dict[str, Callable[[Case], None]] = {
    "layoutlmv2_backbone_tiny": backbone,
    "layoutlmv2_backbone_x101_32x8d": backbone,
    "layoutlmv2_buckets": buckets,
    "layoutlmv2_embeddings": embeddings,
    "layoutlmv2_hf_question_answering": answers,
    "layoutlmv2_hf_sequence_classification": page_classes,
    "layoutlmv2_model": whole_model,
    "layoutlmv2_pretraining_paper": pretraining,
    "layoutlmv2_relation_extraction": relations,
    "layoutlmv2_split_qkv_segment": whole_model,
    "layoutlmv2_token_classification": tokens,
}
MANIFESTS: dict[str, Preset] = {
    "layoutlmv2_base_uncased": ("layoutlmv2-base", "official", {}),
    "layoutlmv2_large_uncased": ("layoutlmv2-large", "official", {}),
    "layoutxlm_base": ("layoutxlm-base", "official", {}),
}
