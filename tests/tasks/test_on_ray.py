"""Two machines of a Ray cluster, of which one is killed while it computes."""

import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from sensorium.data.errors import SensoriumError
from sensorium.data.sources import Opened, open_source
from sensorium.data.stream import Sample
from sensorium.tasks.collection import Done, Job, Part, embed_collection
from sensorium.tasks.embedded import read_embedded
from sensorium.tasks.embedding import Embedder
from sensorium.tasks.on_ray import on_ray
from tests.digits import write_digits

# Ray's own: deprecated settings that its data library reads itself, and files that it leaves open to the end.
pytestmark = [
    pytest.mark.filterwarnings("ignore:`use_.*:DeprecationWarning:ray"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
COUNT, ROWS = 240, 8


@dataclass(frozen=True)
class Watched:
    """A source that takes its time, and notes on which machine each of its pictures was read."""

    folder: Opened
    notes: Path
    classes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    name: str = "watched"
    kind: str = "pictures that are watched"

    def __len__(self) -> int:
        return len(self.folder)

    def called(self, index: int, /) -> str:
        return f"watched:{index}"

    def __getitem__(self, index: int, /) -> Sample:
        import ray

        if ray.is_initialized():
            time.sleep(0.03)
            with (self.notes / ray.get_runtime_context().get_node_id()).open("a") as note:
                note.write(f"{index}\n")
        return self.folder[index]

    def read_on(self, machine: str) -> set[int]:
        note = self.notes / machine
        return set(map(int, note.read_text().split())) if note.exists() else set()


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    folder = write_digits(tmp_path / "pictures", start=0, count=COUNT)
    (folder / "5" / "broken.png").write_bytes(b"\x89PNG nothing")
    (tmp_path / "notes").mkdir()
    return Watched(open_source(folder), tmp_path / "notes")


def in_the_midst(parts: Iterable[Part], read: Callable[[], set[int]]) -> bool:
    """Wait a little for a moment when a machine has read some pictures of a part, and not yet half of them: of a whole
    part nobody knows whether it was delivered."""
    for _ in range(100):
        there = read()
        if any(0 < sum(item.index in there for item in part.items) < len(part.items) // 2 for part in parts):
            return True
        time.sleep(0.01)
    return False


def test_a_machine_dies(
    folder: Path, embedder: Embedder, watched: Watched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "0")  # or workers are killed when others take the memory
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    pytest.importorskip("ray", reason="needs Ray: pip install 'sensorium[ray]'")
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    second = cluster.add_node(num_cpus=1)
    redone: set[int] = set()

    def with_a_death(job: Job, parts: Iterator[Part], tell: Callable[[int], None]) -> Iterator[Done]:
        accepted: set[int] = set()
        killed = False
        every: dict[str, Part] = {}

        def noted() -> Iterator[Part]:
            for part in parts:
                every[part.name] = part
                yield part

        for done in on_ray(str(folder))(job, noted(), tell):
            yield done
            accepted |= {item.index for item in every[done.name].items}
            if killed:
                continue
            if len(accepted) >= 4 * ROWS and in_the_midst(every.values(), lambda: watched.read_on(second.node_id)):
                cluster.remove_node(second, allow_graceful=False)
                killed = True
                redone.update(watched.read_on(second.node_id) - accepted)
        assert killed, "nothing was under way on the second machine"

    try:
        ray.init(address=cluster.address, log_to_driver=False)
        cluster.wait_for_nodes()
        outcome = embed_collection(embedder, watched, tmp_path / "ray", run=with_a_death, rows=ROWS, batch=8)
        head = cluster.head_node.node_id
    finally:
        ray.shutdown()
        cluster.shutdown()
    again = redone & watched.read_on(head)
    assert again, "the machine died with pictures that it had read and not delivered: the other one read them again"
    assert (outcome.computed, [each.path for each in outcome.unreadable]) == (COUNT, [outcome.unreadable[0].path])

    embed_collection(embedder, watched, tmp_path / "here", rows=ROWS, batch=8)
    there, here = read_embedded(tmp_path / "ray"), read_embedded(tmp_path / "here")
    assert len(there.ids) == COUNT
    assert there.ids == here.ids
    np.testing.assert_allclose(there.vectors, here.vectors, atol=1e-6)
    assert embed_collection(embedder, watched, tmp_path / "ray", rows=ROWS).computed == 0


def test_a_cluster_that_is_not_there(embedder: Embedder, watched: Watched, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="needs Ray: pip install 'sensorium[ray]'")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(SensoriumError, match=f"no Ray cluster at {address}"):
            embed_collection(embedder, watched, tmp_path / "out", run=on_ray("pocket", address))


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray.data", None)
    with pytest.raises(SensoriumError, match=r"pip install 'sensorium\[ray\]'"):
        on_ray("pocket")
