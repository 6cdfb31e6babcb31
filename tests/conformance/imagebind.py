"""ImageBind's cases and its full-size checkpoint."""

from collections.abc import Callable
from dataclasses import replace

import torch
from PIL import Image

from sensorium.checkpoints.formats import format_named
from sensorium.checkpoints.rename import to_ours
from sensorium.data.audio import AudioSteps, resample
from sensorium.data.media import clip_times
from sensorium.data.preprocess import Preprocess
from sensorium.data.tokenizer import ClipTokenizer
from sensorium.data.video import VideoSteps
from sensorium.models.clip import TextTransformer
from sensorium.models.imagebind import IMU, ImageBindConfig, Trunk
from sensorium.nn.attention import causal
from tests.conformance.steps import Preset, close, load
from tests.conformance.weights import Case


@torch.no_grad()
def imagebind_all(case: Case) -> None:
    known = format_named("imagebind", "imagebind")
    c = case.config["model"]
    config = known.read(case.state, c)
    assert known.describe(config).items() <= c.items()
    model = load(case, known, config)
    checked: set[str] = set()

    def check(name: str, actual: torch.Tensor) -> None:
        close(case, name, actual)
        checked.add(name)

    for name, x in case.inputs.items():
        modality = name.split("__")[0]
        tower = model.towers[modality]
        clips = x.ndim >= 5
        one = x.flatten(0, 1) if clips else x
        if isinstance(tower, TextTransformer):
            embedded = tower.words(one) + tower.positions
            states = tower.blocks(embedded, mask=causal(one.shape[1], one.device))
        else:
            embedded, states = tower.embed(one), tower.tokens(one)
        check(f"{name}.tokens_first5", embedded[:, :5])
        check(f"{name}.trunk_first3", states[:, :3])
        check(f"{name}.head", tower(one))
        check(f"{name}.embedding_per_clip" if clips else f"{name}.postprocessed", model.project(modality, one))
        check(f"{name}.embedding", model({modality: x})[modality])
    assert checked == set(case.outputs)


def imagebind_imu_tokens(case: Case) -> None:
    width, imu = case.config["embed_dim"], case.inputs["imu"]
    patch = case.state["imu_stem.proj.weight"].shape[1] // imu.shape[1]
    config = replace(IMU, width=width, depth=0, heads=1, sides=(imu.shape[2],), patch=(patch,))
    trunk = Trunk(config, embed=8)
    known = format_named("imagebind", "imagebind")
    theirs = {f"modality_preprocessors.imu.{name}": tensor for name, tensor in case.state.items()}
    ours = to_ours(theirs, known.rows(ImageBindConfig(imu=config).only("imu")))
    missing, extra = trunk.load_state_dict({k.removeprefix("towers.imu."): t for k, t in ours.items()}, strict=False)
    assert not extra
    assert {name.split(".")[0] for name in missing} == {"norm_out", "project"}
    with torch.no_grad():
        close(case, "tokens", trunk.embed(imu))
        inputs = imu.shape[1] * patch
        trunk.patches.project.weight = torch.nn.Parameter(torch.eye(inputs).unflatten(1, (imu.shape[1], patch)))
        close(case, "patches_first3", trunk.patches(imu)[:, :3])
    assert set(case.outputs) == {"tokens", "patches_first3"}


def imagebind_audio_melspec(case: Case) -> None:
    steps = AudioSteps()
    for name in case.outputs:
        source, _, kind = name.partition(".")
        waveform = case.inputs[source]
        if not kind:
            close(case, name, resample(waveform, case.config["resample_from"], steps.rate))
        elif kind == "melspec":
            close(case, name, steps.spectrogram(waveform))
        else:
            assert kind == "normalized"
            close(case, name, steps.normalise(steps.spectrogram(waveform)))


def imagebind_audio_clips(case: Case) -> None:
    c = case.config
    steps = AudioSteps(rate=c["sample_rate"], seconds=c["clip_duration"], clips=c["clips_per_video"])
    close(case, "clips", steps(case.inputs["waveform"], steps.rate)[None])
    assert set(case.outputs) == {"clips"}


def imagebind_clip_sampling(case: Case) -> None:
    for row, (duration, seconds, clips) in zip(case.facts["rows"], case.config["queries"], strict=True):
        assert (row["duration"], row["clip_duration"], row["clips_per_video"]) == (duration, seconds, clips)
        times = clip_times(duration, seconds, clips)
        assert [[float(begin), float(end)] for begin, end in times] == row["timepoints"]
        assert [[int(begin * 16000), int(end * 16000)] for begin, end in times] == row["samples_16k"]


def imagebind_image_transform(case: Case) -> None:
    steps, kept = Preprocess(case.config["size"], rgb="before"), case.config["stride_kept"]
    for name in case.outputs:
        source, _, kind = name.partition(".")
        pixels = steps(Image.fromarray(case.inputs[source].numpy()))
        close(case, name, pixels.mean((1, 2)) if kind == "mean" else pixels[:, ::kept, ::kept])


def imagebind_video_transform(case: Case) -> None:
    steps, video = VideoSteps(size=case.config["size"]), case.inputs["video"]
    frames = steps.sample(video)
    close(case, "frames", frames.float())
    assert list(steps.scale(frames).shape) == case.outputs["scaled_shape"].tolist()
    close(case, "crops", steps(video))
    assert set(case.outputs) == {"frames", "scaled_shape", "crops"}


def imagebind_text_tokens(case: Case) -> None:
    rows = ClipTokenizer()(case.config["texts"], context=case.outputs["tokens"].shape[1])
    assert torch.equal(rows, case.outputs["tokens"])
    assert set(case.outputs) == {"tokens"}


KINDS: dict[str, Callable[[Case], None]] = {
    "imagebind_all": imagebind_all,
    "imagebind_audio_clips": imagebind_audio_clips,
    "imagebind_audio_melspec": imagebind_audio_melspec,
    "imagebind_clip_sampling": imagebind_clip_sampling,
    "imagebind_image_transform": imagebind_image_transform,
    "imagebind_imu_tokens": imagebind_imu_tokens,
    "imagebind_text_tokens": imagebind_text_tokens,
    "imagebind_video_transform": imagebind_video_transform,
    "imagebind_vision_sizes": imagebind_all,
}
MANIFESTS: dict[str, Preset] = {"imagebind_huge": ("imagebind-huge", "imagebind", {})}
