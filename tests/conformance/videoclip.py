"""VideoCLIP's, VLM's and S3D's cases and full-size checkpoints, their data and the video tasks."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sensorium.checkpoints.format import Format
from sensorium.checkpoints.formats import format_named
from sensorium.checkpoints.rename import to_ours, to_theirs
from sensorium.data.clip_pairs import Captions, sample_pair
from sensorium.data.hard_batches import hard_batches, nearest, video_vectors
from sensorium.models.bert import BertConfig
from sensorium.models.s3d import S3D, blocks_to_channels
from sensorium.models.videoclip import VideoCLIP, VideoCLIPConfig
from sensorium.models.vlm import VLM
from sensorium.objectives.contrastive import one_way
from sensorium.objectives.frames import frame_scores, masked_frames, masked_tokens
from sensorium.objectives.masked import masked_words
from sensorium.tasks.retrieval_metrics import accuracy, choose, ranks_with_ties, retrieval
from sensorium.tasks.video_moments import moments, rank_moments
from sensorium.tasks.video_segmentation import (
    Localised,
    average_windows,
    background_threshold,
    frame_accuracy,
    labels_at,
    localise,
    segment,
    step_recall,
    steps_at,
    windows,
)
from tests.conformance.steps import Preset, all_close, load
from tests.conformance.weights import Case


def number(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float32)


def loaded(case: Case, family: str) -> tuple[Any, Format]:
    known = format_named(family, "fairseq")
    cls, sep = case.inputs["caps"][0, :2].tolist()
    config = known.read(case.state, {**case.config, "cls_token_id": cls, "sep_token_id": sep})
    return load(case, known, config), known


def clip(case: Case) -> tuple[Tensor, Tensor]:
    return case.inputs["vfeats"], case.inputs["vmasks"].bool()


def text(case: Case) -> tuple[Tensor, Tensor]:
    """[CLS] words [SEP]: the reference's row also carries the clip's [SEP], at place 1."""
    return without_sep(case.inputs["caps"]), without_sep(case.inputs["cmasks"]).bool()


def without_sep(row: Tensor) -> Tensor:
    return torch.cat([row[:, :1], row[:, 2:]], dim=1)


def videoclip_model(case: Case) -> None:
    model, known = loaded(case, "videoclip")
    assert isinstance(model, VideoCLIP)
    features, ids = case.inputs["vfeats"], text(case)[0]
    video, words = model(*clip(case), *text(case))
    t2v, v2t = one_way(words, video), one_way(video, words)
    loss = t2v + v2t
    loss.backward()
    grads = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    theirs = to_theirs(grads, known.rows(model.config))
    all_close(
        case,
        {
            "video_tokens": model.project(features),
            "video_embeddings": model.embed(features),
            "text_embeddings": model.text_bert.embedding(ids),
            "pooled_video": video,
            "pooled_text": words,
            "video_hidden": model.seconds(*clip(case)),
            "text_hidden": model.words(*text(case)),
            "scores_text_to_video": words @ video.T,
            "loss_t2v": t2v,
            "loss_v2t": v2t,
            "loss": loss,
            **{name: theirs[name.removeprefix("grad.")] for name in case.outputs if name.startswith("grad.")},
        },
    )


def videoclip_layernorm(case: Case) -> None:
    """Only the front doors of both towers have weights here."""
    c = case.config
    known = format_named("videoclip", "fairseq")
    bert = BertConfig(
        width=c["hidden_size"],
        depth=1,
        heads=c["num_attention_heads"],
        hidden=c["intermediate_size"],
        words=c["vocab_size"],
        positions=c["max_position_embeddings"],
        segments=c["type_vocab_size"],
        eps=c["layer_norm_eps"],
    )
    config = VideoCLIPConfig(text=bert, video_depth=1, features=c["video_feature_size"], frames=c["max_video_len"])
    model = VideoCLIP(config)
    ours = to_ours(case.state, known.rows(config))
    assert not model.load_state_dict(ours, strict=False).unexpected_keys
    tokens, embedded = model.project(case.inputs["vfeats"]), model.text_bert.embedding(without_sep(case.inputs["caps"]))
    all_close(case, {"video_tokens": tokens, "text_embeddings": embedded})


def videoclip_shared_encoder(case: Case) -> None:
    model, _ = loaded(case, "vlm")
    all_close(case, {"pooled_video": model.video(*clip(case)), "pooled_text": model.text(*text(case))})


def videoclip_vlm_joint(case: Case) -> None:
    model, _ = loaded(case, "vlm")
    assert model.config.isolated == case.config["num_iso_layer"]
    video, words = model.video(*clip(case)), model.text(*text(case))
    all_close(case, {"pooled_video": video, "pooled_text": words, "loss_t2v": one_way(words, video)})


def covered_tokens(case: Case, model: VLM) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Scores of covered frames for frames, guesses of covered frames and words, and the words' labels."""
    (features, mask), (ids, word_mask) = clip(case), text(case)
    covered, labels = case.inputs["video_label"].bool(), without_sep(case.inputs["text_label"])
    seconds, words = model(features.masked_fill(covered[..., None], 0), mask, ids, word_mask)
    frames, here = model.project(features), labels != -100
    assert model.head is not None
    scores = frame_scores(model.head(seconds[covered]), frames[covered], frames[mask & ~covered])
    return scores, seconds[covered], words[here], labels[here]


def videoclip_vlm_mfmmlm(case: Case) -> None:
    model, _ = loaded(case, "vlm")
    assert model.config.head == "mfm-mlm"
    frames, _, words, labels = covered_tokens(case, model)
    logits = model.score_words(words)
    loss = masked_frames(frames) + masked_words(logits[None], labels[None])
    all_close(case, {"video_logits": frames, "text_logits": logits, "loss": loss})


def videoclip_vlm_mtm(case: Case) -> None:
    model, _ = loaded(case, "vlm")
    assert model.config.head == "mtm"
    frames, seconds, words, labels = covered_tokens(case, model)
    (features, mask), covered = clip(case), case.inputs["video_label"].bool()
    frames_as_words, scores = model.score_words(seconds), model.score_words(words)
    words_as_frames = model.head(words) @ model.project(features)[mask & ~covered].T
    all_close(
        case,
        {
            "video_logits": torch.cat([frames, frames_as_words], dim=1),
            "text_logits": torch.cat([scores, words_as_frames], dim=1),
            "loss": masked_tokens(frames, frames_as_words, scores, words_as_frames, labels),
        },
    )


def videoclip_s3d(case: Case) -> None:
    known = format_named("s3d", "howto100m")
    norms = [name.removesuffix("running_mean") for name in case.state if name.endswith("running_mean")]
    counters = {f"{norm}num_batches_tracked": torch.tensor(0) for norm in norms}  # in the file, not in the case
    case = replace(case, state=case.state | counters)
    config = known.read(case.state, None)
    assert config.embed == case.config["num_classes"]
    model = load(case, known, config)
    assert isinstance(model, S3D)
    video = case.inputs["video"].float() / 255
    assert video.shape[2:] == (case.config["frames"], case.config["size"], case.config["size"])
    with torch.no_grad():
        maps = model.maps(video)
        outputs = {"video_embedding": model(video), "mixed_5c": model.represent(video)}
    for name, expected in case.outputs.items():
        if name == "conv1_corner":  # before the reference drops the first slice of each axis, which we never compute
            whole = model.stem.convolution(F.pad(blocks_to_channels(video), (2, 2, 2, 2, 1, 1))).detach()
            outputs[name] = whole[tuple(slice(side) for side in expected.shape)]
            torch.testing.assert_close(whole[:, :, 1:, 1:, 1:], maps["stem"])
        elif name.endswith("_mean"):
            outputs[name] = maps[name.removeprefix("mixed_").removesuffix("_mean")].mean((3, 4))
    all_close(case, outputs)


class Recorded:
    """Draws that were made before, each checked to be of the kind that is asked for."""

    def __init__(self, rows: Tensor) -> None:
        self.rows: Iterator[list[float]] = iter(rows.tolist())

    def random(self) -> float:
        kind, _, _, value = next(self.rows)
        assert kind == 0
        return value

    def randint(self, a: int, b: int) -> int:
        kind, *bounds, value = next(self.rows)
        assert kind == 1
        assert bounds == [a, b]
        return int(value)


def videoclip_sampling(case: Case) -> None:
    c, facts = case.config, case.facts
    captions = Captions(case.inputs["start"].tolist(), case.inputs["end"].tolist(), facts["caption_lengths"])
    room = c["max_len"] - c["max_video_len"] - 3
    places = [0, *case.outputs["draw_count"].cumsum(0).tolist()]
    for index, (begin, end) in enumerate(pairwise(places)):
        recorded = Recorded(case.outputs["draws"][begin:end])
        pair = sample_pair(
            captions,
            facts["video_length_seconds"],
            recorded,
            words=(c["sampled_min_len"], c["sampled_max_len"]),
            clip=(c["sampled_video_min_len"], c["sampled_video_max_len"]),
            most=c["max_video_len"],
        )
        assert next(recorded.rows, None) is None
        ids = [1000 + 10 * k + j for k in range(pair.first, pair.last) for j in range(captions.tokens[k])][:room]
        row = torch.tensor([101, 102, *ids, 102])
        expected = case.outputs["caps"][index]
        assert torch.equal(expected[: len(row)], row)
        assert not expected[len(row) :].any()
        drawn = [pair.centre, pair.first, pair.last, pair.begin, pair.end, pair.end - pair.begin, len(row)]
        assert case.outputs["clips"][index].tolist() == drawn
        column = case.outputs["first_feature_column"][index]  # second s has the feature s
        assert column[: pair.end - pair.begin].tolist() == list(range(pair.begin, pair.end))
        assert not column[pair.end - pair.begin :].any()
    assert places[-1] == len(case.outputs["draws"])
    assert index + 1 == c["clip_per_video"]
    assert case.outputs.keys() == {"draws", "draw_count", "clips", "caps", "first_feature_column"}


def videoclip_retrieval_batches(case: Case) -> None:
    vectors = video_vectors(case.inputs["pooled_video"], case.inputs["pooled_text"])
    candidates = case.outputs["candidates"]
    found = nearest(vectors, candidates[:, 0], candidates.shape[1])
    all_close(case, {"video_vectors": vectors, "candidates": found})
    size = case.config["num_video_per_batch"]
    if len(vectors) >= size:
        chance = torch.Generator().manual_seed(0)
        batches = hard_batches(vectors, chance, candidates=case.config["num_cands"], size=size)
        assert batches.shape == (len(vectors) // size, size)


def videoclip_metric_retrieval(case: Case) -> None:
    found = retrieval(ranks_with_ties(case.inputs["scores"]))
    values = {"R1": found.r1, "R5": found.r5, "R10": found.r10, "MR": found.median}
    all_close(case, {name: number(value) for name, value in values.items()})


def videoclip_metric_qa(case: Case) -> None:
    chosen = choose(case.inputs["pooled_video"], case.inputs["pooled_text"])
    right = accuracy(chosen, case.inputs["answers"][:, 0])
    all_close(case, {"prediction": chosen, "accuracy": number(right)})


def videoclip_coin_zero_shot(case: Case) -> None:
    c, labels = case.config, case.inputs["label_text"]
    seconds, step, size = c["video_len"], c["sliding_window"], c["sliding_window_size"]
    hidden, mask = case.inputs["video_hidden"], case.inputs["vmasks"].bool()
    assert [end - begin for begin, end in windows(seconds, step, size)] == mask.sum(1).tolist()
    scores = [h[1:-1][m] @ labels.T for h, m in zip(hidden, mask, strict=True)]
    frames, threshold = average_windows(scores, seconds, step, size), background_threshold(labels)
    predicted, truth = segment(frames, threshold), case.inputs["targets"]
    for (begin, end), window in zip(windows(seconds, step, size), case.inputs["window_targets"], strict=True):
        assert torch.equal(window[: end - begin], truth[begin:end])
    right = number(frame_accuracy([predicted], [truth]))
    found = {"threshold": threshold, "frame_logits": frames, "prediction": predicted, "frame_accuracy": right}
    all_close(case, found)
    assert torch.equal(labels_at([(3, 1.2, 2.5)], 5), torch.tensor([0, 3, 3, 0, 0]))


def videoclip_crosstask(case: Case) -> None:
    c = case.config
    videos: list[Localised] = []
    outputs: dict[str, Tensor] = {}
    for video in case.facts["videos"]:
        name, seconds = video["video"], video["length"]
        spans = windows(seconds, c["sliding_window"], c["sliding_window_size"])
        cut = case.inputs[f"window_logits.{name}"].split([end - begin for begin, end in spans])
        chosen = localise(average_windows(cut, seconds, c["sliding_window"], c["sliding_window_size"]))
        truth = steps_at([(int(s), begin, end) for s, begin, end in video["segments"]], seconds, video["steps"])
        videos.append(Localised(video["task"], chosen, truth))
        outputs |= {f"prediction.{name}": chosen.float(), f"assignment.{name}": truth.to(torch.uint8)}
    by_task = step_recall(videos)
    outputs |= {f"recall.{task}": number(value) for task, value in by_task.items()}
    all_close(case, outputs | {"recall": number(sum(by_task.values()) / len(by_task))})


def videoclip_didemo(case: Case) -> None:
    videos = zip(case.inputs["hidden_video"], case.inputs["vmasks"].bool(), case.inputs["pooled_text"], strict=True)
    rankings = [rank_moments(hidden[1:-1], mask, words, padding=True) for hidden, mask, words in videos]
    found = moments(rankings, [[(a, b) for a, b in people] for people in case.facts["times"]])
    measures = {"rank1": found.rank1, "rank5": found.rank5, "miou": found.miou}
    outputs = {name: number(value) for name, value in measures.items()}
    all_close(case, outputs | {f"ranking.{i}": torch.tensor(ranking) for i, ranking in enumerate(rankings)})


CHECKS: tuple[Callable[[Case], None], ...] = (
    videoclip_coin_zero_shot,
    videoclip_crosstask,
    videoclip_didemo,
    videoclip_layernorm,
    videoclip_metric_qa,
    videoclip_metric_retrieval,
    videoclip_model,
    videoclip_retrieval_batches,
    videoclip_s3d,
    videoclip_sampling,
    videoclip_shared_encoder,
    videoclip_vlm_joint,
    videoclip_vlm_mfmmlm,
    videoclip_vlm_mtm,
)
KINDS: dict[str, Callable[[Case], None]] = {check.__name__: check for check in CHECKS}
MANIFESTS: dict[str, Preset] = {
    "videoclip": ("videoclip", "fairseq", {}),
    "vlm_mtm": ("vlm", "fairseq", {}),
}
