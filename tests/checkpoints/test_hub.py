"""Loading by hub id, against a hub of our own: no request leaves this machine."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
import torch
from huggingface_hub import constants, file_download
from safetensors.torch import load_file, save, save_file

import sensorium
from sensorium.checkpoints import sources
from sensorium.checkpoints.load import load_model, save_model
from sensorium.checkpoints.rename import CheckpointError
from sensorium.checkpoints.sources import Source
from tests import tiny
from tests.checkpoints.hub_server import Hub, Repository, Server

NAME = "someone/tiny-clip"


def files_of(naming: str, folder: Path, seed: int = 0) -> dict[str, bytes]:
    save_model(tiny.build(tiny.CLIP_VIT, seed), folder / naming, naming=naming)
    return {path.name: path.read_bytes() for path in (folder / naming).iterdir()}


@pytest.fixture(scope="module")
def transformers_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return files_of("transformers", tmp_path_factory.mktemp("made"))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, transformers_files: dict[str, bytes]) -> Iterator[Hub]:
    """A hub with one model, and a client that knows no other; its cache is empty."""
    hub = Hub({NAME: Repository(dict(transformers_files))})
    server = Server(hub)
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.url + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setattr(file_download, "_ETAG_RETRY_TIMEOUT", 0.2, raising=False)
    for variable in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("time.sleep", lambda _: None)  # the client waits between its attempts
    logging.getLogger("huggingface_hub").setLevel(logging.CRITICAL)
    yield hub
    server.shutdown()
    server.server_close()
    huggingface_hub.close_session()


def word(seed: int = 0) -> torch.Tensor:
    return tiny.build(tiny.CLIP_VIT, seed).state_dict()["text.words.weight"]


def test_load_by_hub_id(hub: Hub, tmp_path: Path) -> None:
    loaded = load_model(NAME)
    assert torch.equal(loaded.model.state_dict()["text.words.weight"], word())
    assert loaded.model.config == tiny.CLIP_VIT  # the config.json came along
    assert loaded.name == NAME
    assert loaded.folder.is_relative_to(tmp_path / "cache")


def test_second_load_asks_once_and_fetches_nothing(hub: Hub) -> None:
    load_model(NAME)
    hub.requests.clear()
    load_model(NAME)
    assert hub.requests == [("HEAD", f"/{NAME}/resolve/main/model.safetensors", None)]


def test_a_moved_branch_is_fetched_again(hub: Hub, tmp_path: Path) -> None:
    load_model(NAME)
    hub.repositories[NAME] = Repository(files_of("transformers", tmp_path / "new", seed=1), commit="b" * 40)
    assert torch.equal(load_model(NAME).model.state_dict()["text.words.weight"], word(1))


def test_revisions(hub: Hub, tmp_path: Path) -> None:
    old = "c" * 40
    hub.repositories[NAME].others["v1"] = (old, files_of("transformers", tmp_path / "old", seed=1))
    for source, revision in ((f"{NAME}@v1", None), (NAME, "v1"), (f"{NAME}@{old}", None), (NAME, old)):
        assert torch.equal(load_model(source, revision=revision).model.state_dict()["text.words.weight"], word(1))
    assert torch.equal(load_model(NAME).model.state_dict()["text.words.weight"], word(0))
    hub.requests.clear()
    load_model(NAME, revision=old)
    assert hub.requests == []  # a commit cannot move: nothing is asked
    with pytest.raises(CheckpointError, match=f"{NAME} has no revision v2"):
        load_model(f"{NAME}@v2")


def test_offline_with_and_without_a_cache(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    load_model(NAME)
    hub.requests.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert torch.equal(load_model(NAME).model.state_dict()["text.words.weight"], word())
    with pytest.raises(CheckpointError, match=r"other/model is not in the cache.*hf download other/model"):
        load_model("other/model")
    with pytest.raises(CheckpointError, match=f"{NAME}@v9 is not in the cache"):
        load_model(f"{NAME}@v9")
    assert hub.requests == []


def test_without_a_network_the_cache_serves(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    load_model(NAME)
    hub.down = True
    assert torch.equal(load_model(NAME).model.state_dict()["text.words.weight"], word())
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}"
    )
    assert torch.equal(load_model(NAME).model.state_dict()["text.words.weight"], word())
    with pytest.raises(CheckpointError, match=r"other/model is not in the cache.*the hub cannot be reached"):
        load_model("other/model")


def test_a_broken_download_goes_on_where_it_stopped(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1 << 12)  # the client keeps whole chunks: 10 MB by default
    hub.cut = 50_000
    loaded = load_model(NAME)
    assert torch.equal(loaded.model.state_dict()["text.words.weight"], word())
    ranges = [wanted for verb, path, wanted in hub.requests if verb == "GET" and path.endswith("model.safetensors")]
    assert ranges[0] is None
    assert len(ranges) == 2
    assert ranges[1] is not None
    assert 0 < int(ranges[1].removeprefix("bytes=").rstrip("-")) <= 50_000


def test_a_download_that_never_ends_is_an_error_of_ours(hub: Hub) -> None:
    hub.cut, hub.always_cut = 50_000, True
    with pytest.raises(CheckpointError, match=f"{NAME} could not be fetched .*try again"):
        load_model(NAME)
    hub.cut = None
    assert torch.equal(load_model(NAME).model.state_dict()["text.words.weight"], word())


def test_gated_missing_and_private(hub: Hub) -> None:
    hub.repositories["meta/gated"] = Repository({}, gated=True)
    with pytest.raises(CheckpointError, match=r"meta/gated is gated: accept its licence.*hf auth login"):
        load_model("meta/gated")
    with pytest.raises(CheckpointError, match="the hub has no model meta/none; if it is private"):
        load_model("meta/none")
    with pytest.raises(CheckpointError, match="cannot be a hub id"):
        load_model("meta/two--dashes..")


def test_a_repository_without_weights(hub: Hub) -> None:
    hub.repositories["a/b"] = Repository({"README.md": b"hello", "flax_model.msgpack": b"x"})
    with pytest.raises(CheckpointError, match=r"a/b holds no weights under a usual name \(model\.safetensors\.index"):
        load_model("a/b")


def test_safetensors_before_pickles(hub: Hub, tmp_path: Path) -> None:
    hub.repositories[NAME].files["pytorch_model.bin"] = b"\x80 not even a pickle"
    load_model(NAME)
    assert "pytorch_model.bin" not in hub.asked("GET")


def test_pickles_where_there_is_nothing_else(hub: Hub, tmp_path: Path) -> None:
    files = hub.repositories[NAME].files
    (tmp_path / "x").write_bytes(files.pop("model.safetensors"))
    torch.save(load_file(tmp_path / "x"), tmp_path / "y")
    files["pytorch_model.bin"] = (tmp_path / "y").read_bytes()
    assert torch.equal(load_model(NAME).model.state_dict()["text.words.weight"], word())


def test_sharded(hub: Hub, tmp_path: Path) -> None:
    files = hub.repositories[NAME].files
    (tmp_path / "x").write_bytes(files.pop("model.safetensors"))
    state = load_file(tmp_path / "x")
    names = sorted(state)
    places: dict[str, str] = {}
    for part, own in (("p1.safetensors", names[::2]), ("p2.safetensors", names[1::2])):
        files[part] = save({name: state[name] for name in own})
        places |= dict.fromkeys(own, part)
    files["model.safetensors.index.json"] = json.dumps({"weight_map": places}).encode()
    assert torch.equal(load_model(NAME).model.state_dict()["text.words.weight"], word())
    hub.requests.clear()
    load_model(NAME)
    assert len(hub.requests) == 1
    assert hub.asked("GET") == []
    del files["p2.safetensors"]
    hub.repositories["a/cut"] = Repository(files, commit="d" * 40)
    with pytest.raises(CheckpointError, match=r"a/cut: model\.safetensors\.index\.json names p2\.safetensors"):
        load_model("a/cut")


def test_open_clip_repositories(hub: Hub, tmp_path: Path) -> None:
    """They hold the model twice: in their own names with open_clip_config.json, and for transformers."""
    own = files_of("open_clip", tmp_path)
    hub.repositories["laion/x"] = Repository(own)
    loaded = load_model("laion/x")
    assert loaded.format.naming == "open_clip"
    assert loaded.model.config == tiny.CLIP_VIT  # QuickGELU stands in open_clip_config.json only
    hub.repositories["laion/both"] = Repository({**hub.repositories[NAME].files, **own}, commit="e" * 40)
    assert load_model("laion/both").model.config == tiny.CLIP_VIT


def test_a_preset_leads_to_its_source(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = files_of("open_clip", tmp_path)
    hub.repositories["laion/both"] = Repository({**hub.repositories[NAME].files, **own})
    source = Source(hub="laion/both", licence="MIT", trained_on="nothing", file="open_clip_model.safetensors")
    monkeypatch.setitem(sources.SOURCES, "clip-vit-b-32", source)
    loaded = load_model("clip-vit-b-32")
    assert loaded.source is source
    assert loaded.format.naming == "open_clip"
    assert hub.asked("GET").count("model.safetensors") == 0  # the file that the source names, and no other
    pinned = Source(hub="laion/both", licence="MIT", trained_on="nothing", revision="f" * 40)
    monkeypatch.setitem(sources.SOURCES, "clip-vit-b-16", pinned)
    with pytest.raises(CheckpointError, match=f"no revision {'f' * 40}"):
        load_model("clip-vit-b-16")


def test_a_local_folder_comes_before_a_hub_id(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_model(tiny.build(tiny.VIT), Path("someone") / "tiny-clip", naming="timm")
    assert load_model(NAME).found == "vit under the names of timm"
    assert hub.requests == []


def test_errors_are_the_users(hub: Hub) -> None:
    with pytest.raises(sensorium.SensoriumError):
        sensorium.load("meta/none")


def test_damaged_weights_from_the_hub_are_named(hub: Hub, tmp_path: Path) -> None:
    save_file({"x": torch.zeros(3)}, tmp_path / "x")
    hub.repositories[NAME].files["model.safetensors"] = (tmp_path / "x").read_bytes()[:-4]
    with pytest.raises(CheckpointError, match=r"model\.safetensors is damaged"):
        load_model(NAME)
