"""The index follows the disk, whatever happens to either."""

import os
import shutil
import sqlite3
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sensorium.data.errors import SensoriumError, Unreadable
from sensorium.data.folder import find_files
from sensorium.search.index import Filter, Index, Progress, Stopped
from sensorium.search.taken import taken
from tests.search.fake import Colours, paint


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for n, colour in enumerate(["red", "green", "blue", "yellow", "cyan", "magenta"] * 2):
        paint(tmp_path / "pictures" / f"{'ab'[n % 2]}" / f"{colour}{n}.png", colour, noise=n)
    return tmp_path / "pictures"


@pytest.fixture
def index(tmp_path: Path):
    with Index.open(tmp_path / "index", Colours(log=tmp_path / "log")) as index:
        yield index


def embedded(index: Index) -> list[str]:
    """What went through the model since the last time it was asked."""
    log = index.embedder.log
    names = os.fsdecode(log.read_bytes()).split("\0")[:-1] if log.exists() else []
    log.write_bytes(b"")
    return [Path(name).name for name in names]


def names(index: Index) -> set[str]:
    return {item.path.name for item in index.items()}


def test_an_update_embeds_what_is_new_and_nothing_twice(index: Index, folder: Path) -> None:
    first = index.update(folder)
    assert (first.added, first.embedded, first.unchanged) == (12, 12, 0)
    assert len(embedded(index)) == 12
    again = index.update([folder])
    assert (again.added, again.embedded, again.unchanged, again.removed) == (0, 0, 12, 0)
    paint(folder / "new.png", "red", noise=99)
    assert index.update(folder).added == 1
    assert embedded(index) == ["new.png"]
    item = index.get(folder / "new.png")
    assert item is not None
    assert (item.width, item.height, item.size) == (24, 16, (folder / "new.png").stat().st_size)


def test_a_changed_file_is_embedded_again_and_found_by_what_it_shows_now(index: Index, folder: Path) -> None:
    index.update(folder)
    embedded(index)
    changed = paint(folder / "a" / "red0.png", "cyan", noise=5)
    os.utime(changed, ns=(1, 10**18))
    report = index.update(folder)
    assert (report.updated, report.added, report.unchanged) == (1, 0, 11)
    assert embedded(index) == ["red0.png"]
    assert "red0.png" in {hit.path.name for hit in index.search("cyan", 3).hits}


def test_touching_moving_and_copying_embed_nothing(index: Index, folder: Path) -> None:
    index.update(folder)
    before = {item.path.name: index.store.vectors(item.digest) for item in index.items()}
    embedded(index)
    os.utime(folder / "a" / "red0.png", ns=(1, 1))
    (folder / "b").rename(folder / "moved")
    shutil.copy(folder / "a" / "blue2.png", folder / "copy.png")
    report = index.update(folder)
    assert embedded(index) == []
    assert (report.unchanged, report.renamed, report.added, report.removed) == (6, 6, 1, 0)
    assert {item.path.parent.name for item in index.items()} == {"a", "moved", "pictures"}
    for item in index.items():
        if item.path.name != "copy.png":
            np.testing.assert_array_equal(index.store.vectors(item.digest), before[item.path.name])
    blue = index.search("blue", 3)
    assert {hit.path.name for hit in blue.hits} == {"blue2.png", "copy.png", "blue8.png"}


def test_deleted_files_are_forgotten_and_their_vectors_with_them(index: Index, folder: Path, tmp_path: Path) -> None:
    index.update(folder)
    shutil.rmtree(folder / "b")
    assert index.update(folder).removed == 6
    assert len(names(index)) == 6
    with sqlite3.connect(tmp_path / "index" / "index.sqlite") as database:
        assert database.execute("SELECT (SELECT count(*) FROM content), (SELECT count(*) FROM vector)").fetchone() == (
            6,
            6,
        )
    database.close()


def test_only_what_lies_below_the_given_roots_is_compared(index: Index, folder: Path) -> None:
    index.update([folder / "a", folder / "b"])
    shutil.rmtree(folder / "b")
    assert index.update(folder / "a").removed == 0
    assert len(names(index)) == 12
    assert index.remove(folder / "b") == 6
    assert index.stats().roots == [folder / "a"]


def test_a_missing_root_is_an_error_and_removes_nothing(index: Index, folder: Path) -> None:
    index.update(folder)
    folder.rename(folder.parent / "elsewhere")
    with pytest.raises(SensoriumError, match=r"pictures: there is no such file or folder; connect its drive"):
        index.update(folder)
    assert len(names(index)) == 12


def test_an_empty_folder_on_another_device_is_an_unmounted_drive(index: Index, folder: Path) -> None:
    index.update(folder)
    for path in folder.iterdir():
        shutil.rmtree(path)
    (name,) = index.store.notes("root/")
    index.store.note(name, b"12345\0" + os.fsencode(folder))
    with pytest.raises(SensoriumError, match="is empty and on another disk"):
        index.update(folder)
    assert len(names(index)) == 12
    index.store.note(name, str(folder.stat().st_dev).encode() + b"\0" + os.fsencode(folder))
    assert index.update(folder).removed == 12


def test_a_folder_that_may_no_longer_be_read_keeps_its_items(
    index: Index, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.update(folder)

    def denied(root: Path):
        yield from find_files(root / "a")
        yield Unreadable(root / "b", "permission denied")  # what the walk says of it, for those who are not root

    monkeypatch.setattr("sensorium.search.update.find_files", denied)
    report = index.update(folder)
    assert report.removed == 0
    assert len(names(index)) == 12
    assert [(Path(each.path).name, each.reason) for each in report.unreadable] == [("b", "permission denied")]
    monkeypatch.undo()
    report = index.update(folder)
    assert (report.unchanged, report.removed, report.unreadable) == (12, 0, [])


def test_unreadable_files_are_listed_and_tried_again_only_when_they_change(index: Index, folder: Path) -> None:
    broken = folder / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff" + b"no picture" * 30)
    shutil.copy(broken, folder / "same.jpg")
    (folder / "empty.png").touch()
    report = index.update(folder)
    assert report.added == 12
    assert {Path(each.path).name for each in report.unreadable} == {"broken.jpg", "same.jpg", "empty.png"}
    assert {path.name: reason for path, reason in index.unreadable()}[
        "broken.jpg"
    ] == "no picture (UnidentifiedImageError)"
    embedded(index)

    tried: list[str] = []
    embed_files = Colours.embed_files

    def watched(self, jobs, *, batch):
        return embed_files(self, (tried.append(job.path.name) or job for job in jobs), batch=batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Colours, "embed_files", watched)
        assert len(index.update(folder).unreadable) == 3
        assert tried == []
        index.update(folder, retry_unreadable=True)
        assert sorted(tried) == ["broken.jpg", "empty.png"]  # same.jpg has the same bytes
        tried.clear()
        broken.chmod(0o600)  # a change of permissions may have been what it waited for
        index.update(folder)
        assert tried == ["broken.jpg"]
    paint(folder / "empty.png", "red", noise=50)
    report = index.update(folder)
    assert (report.updated, len(report.unreadable)) == (1, 2)
    broken.unlink()
    assert [path.name for path, _ in (index.update(folder), index.unreadable())[1]] == ["same.jpg"]


def test_names_that_are_no_text_are_kept_as_they_are(index: Index, folder: Path) -> None:
    odd = [os.fsdecode(b"caf\xe9.png"), "new\nline.png", "emoji 🎉.png", "'quote\" --.png", "%_*?[x].png"]
    for n, name in enumerate(odd):
        try:
            paint(folder / name, "red", noise=100 + n)
        except OSError:
            pytest.skip("this file system takes no such names")
    index.update(folder)
    assert set(odd) <= names(index)
    for name in odd:
        found = index.search("red", 20, where=Filter(below=folder / name)).hits
        assert [hit.path for hit in found] == [folder / name]


def test_a_file_that_changes_or_vanishes_while_it_is_embedded_is_never_stored_wrongly(
    folder: Path, tmp_path: Path
) -> None:
    class Meddling(Colours):
        """Someone edits one file, and deletes another, between its reading and its storing."""

        def embed_files(self, jobs, *, batch):
            for embedded in Colours.embed_files(self, jobs, batch=batch):
                for path, _ in embedded.rows:
                    if path.name == "red0.png" and not marks:
                        marks.append(path)
                        paint(path, "blue", noise=77)
                        os.utime(path, ns=(1, 10**18))
                    if path.name == "green1.png":
                        path.unlink()
                yield embedded

    marks: list[Path] = []
    with Index.open(tmp_path / "index", Meddling()) as index:
        report = index.update(folder)
        assert report.added == 11
        assert "green1.png" not in names(index)
        assert "red0.png" in {hit.path.name for hit in index.search("blue", 3).hits}
        assert index.update(folder).unchanged == 11


def test_a_file_that_never_rests_is_listed(folder: Path, tmp_path: Path) -> None:
    class Restless(Colours):
        def embed_files(self, jobs, *, batch):
            for embedded in Colours.embed_files(self, jobs, batch=batch):
                for path, _ in embedded.rows:
                    if path.name == "red0.png":
                        with path.open("ab") as file:
                            file.write(b"x")
                yield embedded

    with Index.open(tmp_path / "index", Restless()) as index:
        report = index.update(folder)
        assert [(Path(each.path).name, each.reason) for each in report.unreadable] == [
            ("red0.png", "it kept changing while it was read")
        ]
    with Index.open(tmp_path / "index", Colours()) as index:
        assert index.update(folder).unreadable == []  # it is tried again once it differs from what was seen
        assert len(names(index)) == 12


def test_progress_reaches_the_end_and_tells_only_what_is_committed(index: Index, folder: Path) -> None:
    told: list[Progress] = []

    def watch(progress: Progress) -> None:
        told.append(progress)
        if progress.stage == "embedding":
            assert progress.done == index.store.count()

    index.update(folder, progress=watch, batch=4)
    embedding = [progress for progress in told if progress.stage == "embedding"]
    assert [progress.done for progress in embedding] == [0, 4, 8, 12]
    assert all(progress.total == 12 for progress in embedding)
    assert embedding[-1].seconds_left == 0
    assert embedding[-1].rate > 0


def test_interrupting_says_what_remains_and_keeps_what_is_done(index: Index, folder: Path) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.stage == "embedding" and progress.done == 8:
            raise KeyboardInterrupt

    with pytest.raises(Stopped, match="stopped with 4 files to go") as stopped:
        index.update(folder, progress=interrupt, batch=4)
    assert stopped.value.report.remaining == 4
    assert len(names(index)) == 8
    embedded(index)
    assert index.update(folder).added == 4
    assert len(embedded(index)) == 4


def test_the_camera_s_date_is_read_from_exif(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9003] = "2019:07:14 10:30:00"
    Image.new("RGB", (8, 8)).save(tmp_path / "dated.jpg", exif=exif)
    Image.new("RGB", (8, 8)).save(tmp_path / "plain.jpg")
    (tmp_path / "broken.jpg").write_bytes((tmp_path / "dated.jpg").read_bytes()[:40])
    assert taken(tmp_path / "dated.jpg") == 1563100200 * 10**9
    assert taken(tmp_path / "plain.jpg") is None
    assert taken(tmp_path / "broken.jpg") is None


def test_a_million_unchanged_files_would_not_be_read(index: Index, folder: Path) -> None:
    """What is unchanged costs a look at the folder, no opening: unreadable bytes under an old date go unnoticed."""
    index.update(folder)
    path = folder / "a" / "red0.png"
    status = path.stat()
    path.write_bytes(b"\0" * status.st_size)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    began = time.monotonic()
    assert index.update(folder).unchanged == 12
    assert time.monotonic() - began < 5
