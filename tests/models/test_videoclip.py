"""What users of VideoCLIP and VLM rely on: padding, batches and the other modality change nothing."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from sensorium.models.videoclip import VideoCLIP
from sensorium.models.vlm import VLM
from sensorium.nn.frames import with_ends
from tests import tiny_video
from tests.tiny_video import VLM_JOINT, VLM_SHARED, clips, texts

MODELS = [tiny_video.videoclip(), tiny_video.vlm(VLM_JOINT), tiny_video.vlm(VLM_SHARED)]


def same(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("model", MODELS)
def test_padding_and_company_change_nothing(model: VideoCLIP | VLM) -> None:
    features, mask = clips(5, 2, 1)
    ids, words = texts(6, 3, 9)
    video, text = model.video(features, mask), model.text(ids, words)
    for i in range(3):
        frames, length = int(mask[i].sum()), int(words[i].sum())
        same(model.video(features[i : i + 1, :frames], mask[i : i + 1, :frames])[0], video[i])
        same(model.text(ids[i : i + 1, :length], words[i : i + 1, :length])[0], text[i])
    wider = torch.cat([features, torch.randn(3, 3, 12)], dim=1), torch.nn.functional.pad(mask, (0, 3))
    same(model.video(*wider), video)


@pytest.mark.parametrize("model", MODELS)
def test_another_order_of_seconds_is_another_clip(model: VideoCLIP | VLM) -> None:
    features, mask = clips(5)
    assert not torch.allclose(model.video(features, mask), model.video(features.flip(1), mask), atol=1e-3)


def test_clips_and_texts_need_not_come_in_pairs() -> None:
    model = tiny_video.videoclip()
    video, text = model(*clips(3, 4), *texts(5, 6, 7))
    same(video, model.video(*clips(3, 4)))
    same(text, model.text(*texts(5, 6, 7)))
    assert (video @ text.T).shape == (2, 3)


def test_a_clip_may_not_be_longer_than_its_positions() -> None:
    with pytest.raises(ValueError, match="9 frames, the model reads at most 8"):
        tiny_video.videoclip().video(*clips(9))


def test_isolated_layers_are_what_a_mask_between_the_kinds_computes() -> None:
    model = tiny_video.vlm()
    (features, frame_mask), (ids, word_mask) = clips(5, 2), texts(4, 7)
    x = torch.cat([model.embed_video(features), model.embed_text(ids)[:, 1:]], dim=1)
    present = torch.cat([with_ends(frame_mask), word_mask[:, 1:]], dim=1)
    kind = torch.tensor([0] + [1] * 6 + [2] * 6)
    apart = (kind[:, None] == kind) & present[:, None]
    x = model.bert.blocks[0](x, mask=apart[:, None])
    x = model.bert.blocks[1](x, mask=present[:, None, None])
    seconds, words = model(features, frame_mask, ids, word_mask)
    same(seconds[frame_mask], x[:, 1:6][frame_mask])
    same(words[word_mask], torch.cat([x[:, :1], x[:, 7:]], dim=1)[word_mask])


def test_the_joint_reading_ignores_padding() -> None:
    model = tiny_video.vlm()
    seconds, words = model(*clips(3, 5), *texts(4, 8))
    (features, frame_mask), (ids, word_mask) = clips(3, 5), texts(4, 8)
    alone = model(features[:1, :3], frame_mask[:1, :3], ids[:1, :4], word_mask[:1, :4])
    same(alone[0][0], seconds[0, :3])
    same(alone[1][0], words[0, :4])


def test_only_a_model_with_a_head_scores_words() -> None:
    with pytest.raises(ValueError, match="no head"):
        tiny_video.vlm().score_words(torch.zeros(1, 64))
    assert tiny_video.vlm(replace(VLM_JOINT, head="mtm")).score_words(torch.zeros(3, 64)).shape == (3, 40)


@pytest.mark.parametrize(("change", "message"), [({"frames": 31}, "need 33 positions, not 32"), ({"sep": 40}, "of 40")])
def test_what_stands_around_a_clip_must_exist(change: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VideoCLIP(replace(tiny_video.VIDEOCLIP, **change))


def test_no_more_isolated_layers_than_layers() -> None:
    with pytest.raises(ValueError, match="3 isolated layers of 2"):
        VLM(replace(VLM_JOINT, isolated=3))


def test_a_kernel_that_shows_its_weights_computes_the_same() -> None:
    model = tiny_video.videoclip()
    seen: list[Tensor] = []

    def eager(q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None = None) -> Tensor:
        scores = q @ k.mT / q.shape[-1] ** 0.5
        if attn_mask is not None:
            scores = scores.masked_fill(~attn_mask, -torch.inf)
        seen.append(scores.softmax(-1))
        return seen[-1] @ v

    expected = model(*clips(5, 2), *texts(4, 6))
    for bert in (model.video_bert, model.text_bert):
        for block in bert.blocks:
            block.attention.kernel = eager
    for a, b in zip(model(*clips(5, 2), *texts(4, 6)), expected, strict=True):
        same(a, b)
    assert len(seen) == 3
    assert not seen[0][1, :, :, 3:6].any()  # [CLS] and two seconds, then padding, then [SEP]
