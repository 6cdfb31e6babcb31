"""Collections embedded into a folder: every picture once, whatever happens."""

import io
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sensorium.checkpoints.load import save_model
from sensorium.data.collection import Items
from sensorium.data.errors import SensoriumError
from sensorium.data.sources import open_source
from sensorium.tasks.collection import Outcome, embed_collection
from sensorium.tasks.embedded import About, Vectors, read_embedded
from sensorium.tasks.embedding import Embedder
from sensorium.tasks.features import compute
from sensorium.tasks.loading import load
from tests import tiny
from tests.digits import write_digits

COUNT = 100


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Digits in class folders, one of them cut off."""
    folder = write_digits(tmp_path / "pictures", start=0, count=COUNT)
    (folder / "3" / "broken.png").write_bytes(b"\x89PNG nothing")
    return folder


def fill(embedder: Embedder, pictures: Path, out: Path, **options: object) -> Outcome:
    return embed_collection(embedder, open_source(pictures), out, rows=16, batch=8, **options)  # pyright: ignore


def test_every_picture_has_its_vector_and_what_is_damaged_is_listed(
    embedder: Embedder, pictures: Path, tmp_path: Path
) -> None:
    outcome = fill(embedder, pictures, tmp_path / "out")
    assert (outcome.computed, outcome.known, outcome.repeated) == (COUNT, 0, 0)
    assert [each.path for each in outcome.unreadable] == [str(pictures / "3" / "broken.png")]
    found = read_embedded(tmp_path / "out")
    files = sorted(str(file) for file in pictures.rglob("[0-9]*.png"))
    assert found.paths == files
    assert len(set(found.ids)) == COUNT
    assert found.vectors.dtype == np.float32
    np.testing.assert_allclose(found.vectors, embedder.embed(images=files)["images"].numpy(), atol=1e-6)
    assert [(each.path, each.reason) for each in found.unreadable] == [(outcome.unreadable[0].path, "not an image")]
    assert found.about == About.of(embedder, "embedding")
    part = pq.read_table(next((tmp_path / "out").glob("part-*.parquet")))
    assert part.schema.field("vector").type == pa.list_(pa.float32(), embedder.dim)
    assert embedder.fingerprint.encode() in part.schema.metadata[b"sensorium"]


def test_again_embeds_what_is_missing_and_what_changed(embedder: Embedder, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    fill(embedder, pictures, out)
    before = read_embedded(out)
    again = fill(embedder, pictures, out)
    assert (again.computed, again.known, len(again.unreadable)) == (0, COUNT, 1)

    changed, mended = Path(before.paths[7]), pictures / "3" / "broken.png"
    mended.write_bytes(changed.read_bytes())
    changed.write_bytes(Path(before.paths[50]).read_bytes())
    write_digits(pictures, start=500, count=2)
    outcome = fill(embedder, pictures, out)
    assert (outcome.computed, outcome.known, outcome.unreadable) == (4, COUNT - 1, [])
    after = read_embedded(out)
    assert (len(after.ids), len(set(after.ids)), after.unreadable) == (COUNT + 3, COUNT + 3, [])
    assert set(before.ids) < set(after.ids)
    vector = dict(zip(after.paths, after.vectors, strict=True))
    np.testing.assert_allclose(vector[str(changed)], before.vectors[50], atol=1e-6)
    np.testing.assert_allclose(vector[str(mended)], before.vectors[7], atol=1e-6)


def test_killed_and_run_again(folder: Path, embedder: Embedder, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    program = f"""
import time
from sensorium.data.sources import open_source
from sensorium.tasks.collection import embed_collection
from sensorium.tasks.loading import load
from pathlib import Path
slow = lambda progress: time.sleep(0.05)
embed_collection(load({str(folder)!r}, device="cpu"), open_source({str(pictures)!r}), Path({str(out)!r}),
                 rows=16, batch=8, progress=slow)
"""
    with subprocess.Popen([sys.executable, "-c", program]) as process:
        limit = time.monotonic() + 60
        while len(list(out.glob("part-*"))) < 3 and time.monotonic() < limit:
            time.sleep(0.005)
        with pytest.raises(SensoriumError, match="another process is embedding"):
            fill(embedder, pictures, out)
        process.send_signal(signal.SIGKILL)
    half = read_embedded(out)
    assert 0 < len(half.ids) < COUNT
    outcome = fill(embedder, pictures, out)
    assert (outcome.known, outcome.computed) == (len(half.ids), COUNT - len(half.ids))
    fill(embedder, pictures, tmp_path / "straight")
    whole, straight = read_embedded(out), read_embedded(tmp_path / "straight")
    assert whole.ids == straight.ids
    np.testing.assert_allclose(whole.vectors, straight.vectors, atol=1e-6)


def test_what_a_dead_run_left_is_not_taken(embedder: Embedder, pictures: Path, tmp_path: Path) -> None:
    """A worker may outlive the process that accepts its parts."""
    out = tmp_path / "out"
    fill(embedder, pictures, out)
    late = Vectors(out, About.of(embedder, "embedding"))
    late.under_way.mkdir()
    late.write(list(Items(open_source(pictures)))[:5], np.zeros((5, embedder.dim), dtype=np.float32))
    assert fill(embedder, pictures, out).computed == 0
    assert len(read_embedded(out).ids) == COUNT
    assert not late.under_way.exists()


def test_a_folder_belongs_to_one_model(embedder: Embedder, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    fill(embedder, pictures, out)
    save_model(tiny.build(tiny.VIT), tmp_path / "vit", naming="timm")
    other = load(tmp_path / "vit", device="cpu")
    assert isinstance(other, Embedder)
    with pytest.raises(SensoriumError, match=r"out holds embedding of .*clip.* and this is embedding of .*vit"):
        fill(other, pictures, out)
    with pytest.raises(SensoriumError, match="and this is features of"):
        fill(embedder, pictures, out, what="features")
    with pytest.raises(SensoriumError, match=r"pictures holds other things \(0\)"):
        fill(embedder, pictures, pictures)
    with pytest.raises(SensoriumError, match=r"broken\.png: vectors cannot be kept there"):
        fill(embedder, pictures, pictures / "3" / "broken.png")
    with pytest.raises(SensoriumError, match="not a folder that sensorium embed wrote"):
        read_embedded(pictures)
    part = next(out.glob("part-*"))
    rows = pq.read_metadata(part).num_rows
    part.write_bytes(part.read_bytes()[:-100])
    with pytest.raises(SensoriumError, match=f"{part.name}: not a whole part .*delete it"):
        fill(embedder, pictures, out)
    part.unlink()
    assert fill(embedder, pictures, out).computed == rows


def test_a_part_of_another_folder_is_noticed(embedder: Embedder, pictures: Path, tmp_path: Path) -> None:
    fill(embedder, pictures, tmp_path / "a")
    fill(embedder, pictures, tmp_path / "b", what="features")
    for each in (tmp_path / "b").glob("part-*"):
        each.rename(tmp_path / "a" / f"part-{each.name}")
    with pytest.raises(SensoriumError, match="of another model than embedding of"):
        read_embedded(tmp_path / "a")


def test_pictures_inside_files(embedder: Embedder, pictures: Path, tmp_path: Path) -> None:
    """Tars and Parquet: as many vectors as samples, known again, and embedded anew when their file changes."""
    files = sorted(pictures.glob("[0-4]/[0-9]*.png"))[:20]
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for number, file in enumerate(files):
            info = tarfile.TarInfo(f"{number:03}.png")
            info.size = file.stat().st_size
            tar.addfile(info, io.BytesIO(file.read_bytes()))
    pq.write_table(pa.table({"image": [file.read_bytes() for file in files]}), tmp_path / "b.parquet")
    relative = [str(file.relative_to(tmp_path)) for file in files]
    pq.write_table(pa.table({"path": [*relative, *relative[:3]], "caption": ["a"] * 23}), tmp_path / "c.parquet")
    out = tmp_path / "out"
    assert fill(embedder, tmp_path / "a.tar", out).computed == 20
    assert fill(embedder, tmp_path / "b.parquet", out).computed == 20
    third = fill(embedder, tmp_path / "c.parquet", out)
    assert (third.computed, third.repeated) == (20, 3)
    found = read_embedded(out)
    assert found.paths[0] == f"{tmp_path}/a.tar:000"
    assert found.paths[20] == f"{tmp_path}/b.parquet:1"
    by_path = dict(zip(found.paths, found.vectors, strict=True))
    for number, file in enumerate(files):
        np.testing.assert_allclose(by_path[f"{tmp_path}/a.tar:{number:03}"], by_path[str(file)], atol=1e-6)
        np.testing.assert_allclose(by_path[f"{tmp_path}/b.parquet:{number + 1}"], by_path[str(file)], atol=1e-6)
    assert fill(embedder, tmp_path / "a.tar", out).known == 20
    os.utime(tmp_path / "a.tar", (1, 1))
    assert fill(embedder, tmp_path / "a.tar", out).computed == 20
    assert len(read_embedded(out).ids) == 60


def test_listing_a_tar_reads_no_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for number in range(3):
            tar.addfile(tarfile.TarInfo(f"{number}.png"), io.BytesIO())
    source = open_source(tmp_path / "a.tar")
    monkeypatch.setattr("sensorium.data.sources.shards.read_part", None)
    assert [item.name for item in Items(source)] == [f"{tmp_path}/a.tar:{number}" for number in range(3)]


def test_a_disk_that_is_gone_is_no_damage(embedder: Embedder, pictures: Path, tmp_path: Path) -> None:
    source = open_source(pictures)
    out = tmp_path / "out"

    def unplugged(progress: object) -> None:
        if pictures.exists() and getattr(progress, "done", 0) >= 48:
            pictures.rename(tmp_path / "elsewhere")

    with pytest.raises(SensoriumError, match="is its disk there"):
        embed_collection(embedder, source, out, rows=16, batch=16, progress=unplugged)
    assert len(read_embedded(out).ids) >= 32
    (tmp_path / "elsewhere").rename(pictures)
    assert fill(embedder, pictures, out).known >= 32
    assert len(read_embedded(out).ids) == COUNT


def test_measuring_takes_vectors_from_there(embedder: Embedder, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    fill(embedder, pictures, out, what="features")
    new = write_digits(tmp_path / "more", start=300, count=5)
    asked = [*sorted(new.rglob("*.png"))[:2], *sorted(pictures.rglob("*.png")), *sorted(new.rglob("*.png"))[2:]]
    plain = compute(embedder, asked, "features")
    quick = compute(embedder, asked, "features", keep=out)
    assert (plain.computed, quick.computed) == (COUNT + 6, 6)
    assert quick.rows == plain.rows
    np.testing.assert_allclose(quick.vectors, plain.vectors, atol=1e-5)
    assert len(quick.unreadable) == 1
    with pytest.raises(SensoriumError, match=r"out holds features of .*, and needed are embedding of"):
        compute(embedder, asked, "embedding", keep=out)
