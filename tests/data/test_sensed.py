"""Own folders and tables of any sense, and the parts of published sets that are measured."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sensorium.data.errors import SensoriumError, Unreadable
from sensorium.data.given import Given, given
from sensorium.data.measured import as_measured, folds_of, known_as, part, usual_sense
from sensorium.data.sensed import as_labelled, open_samples, senses_of
from tests.data.test_published_sets import ego4d_table, sun_view
from tests.data.test_segments import film
from tests.planted_senses import picture, sound


def test_a_folder_of_classes_holds_any_files(tmp_path: Path) -> None:
    sound(tmp_path / "dog/deep/bark.wav", "dog")
    picture(tmp_path / "dog/a.png", "dog")
    film(sound(tmp_path / "rain/x.wav", "rain").with_name("storm.mp4"), [9] * 20, sound=np.zeros((1, 16000)))
    (tmp_path / "rain/notes.txt").write_text("wet")
    data = open_samples(tmp_path)
    assert [(row["key"], row["label"]) for row in data.rows] == [
        ("dog/a.png", 0),
        ("dog/deep/bark.wav", 0),
        ("rain/storm.mp4", 1),
        ("rain/x.wav", 1),
    ]
    assert senses_of(data) == ("image", "video", "audio", "text")
    heard = as_labelled(data, "audio")
    assert [str(each) for each in heard.pictures] == [
        str(tmp_path / name) for name in ("dog/deep/bark.wav", "rain/storm.mp4", "rain/x.wav")
    ]
    assert (heard.labels, heard.classes) == ([(0,), (1,), (1,)], ("dog", "rain"))
    assert as_labelled(data, "image").pictures == [tmp_path / "dog/a.png"]
    with pytest.raises(SensoriumError, match="without samples of depth; there is image, video, audio, text"):
        as_labelled(data, "depth")
    with pytest.raises(SensoriumError, match="holds image, video, audio: say which is meant, such as --from"):
        usual_sense(data)
    (tmp_path / "empty").mkdir()
    with pytest.raises(SensoriumError, match="empty: no file in it that is known"):
        open_samples(tmp_path)
    with pytest.raises(SensoriumError, match="deep: no class folders in it"):
        open_samples(tmp_path / "dog/deep")


def test_a_table(tmp_path: Path) -> None:
    sound(tmp_path / "a.wav", "dog")
    picture(tmp_path / "b.png", "cat")
    (tmp_path / "t.csv").write_text(
        "path,caption,label,fold,Split\na.wav,a bark,dog|loud,1,test\na.wav,again,dog,1,test\nb.png,a cat,cat,2,train\n"
        "gone.wav,gone,dog,1,test\nt.csv,a table,dog,1,test\n"
    )
    data = open_samples(tmp_path / "t.csv")
    assert data.classes == ("cat", "dog", "loud")
    first, second = data.rows
    assert (first["audio"], first["text"], first["labels"]) == (tmp_path / "a.wav", ("a bark", "again"), (1, 2))
    assert (second["label"], second["fold"], second["split"]) == (0, 2, "train")
    assert [problem.rsplit("/", 1)[1] for problem in data.problems] == [
        "gone.wav: no such file",
        "t.csv: neither picture, film, sound, depth, heat nor motion",
    ]
    assert len(part(data, None).rows) == 1, "the part called test is measured"
    assert len(part(data, "2").rows) == 1
    with pytest.raises(SensoriumError, match="no fold 7"):
        part(data, "1,7")
    with pytest.raises(SensoriumError, match=r"no sample with \{'split': 'val'\}; there are"):
        part(data, "val")
    rows = [
        {"image": "b.png", "depth": "d.png", "unit": "mm", "focal": 500, "label": "near"},
        {"motion": "m.csv", "begin": "2.5", "end": 7.5, "label": ["far", "slow"]},
    ]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    other = open_samples(tmp_path / "t.jsonl")
    assert given(other.rows[0], "depth") == Given(tmp_path / "d.png", "depth", (("unit", "mm"), ("focal", 500.0)))
    assert given(other.rows[1], "motion") == Given(tmp_path / "m.csv", "motion", (("begin", 2.5), ("end", 7.5)))
    assert given(other.rows[1], "depth") is None
    assert folds_of(other) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sound,label\na.wav,dog\n", "t.csv:2: no path, image, video, audio, depth, thermal, motion; there is sound"),
        ("audio,fold\na.wav,one\n", "t.csv:2: fold is 'one', no number"),
        ("path,label\ngone.wav,dog\n", "gone.wav: no such file"),
        ("audio\n", "no samples"),
    ],
)
def test_tables_that_make_no_sense(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(SensoriumError, match=said):
        open_samples(tmp_path / "t.csv")


def test_without_labels_there_are_no_classes(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("audio,label\na.wav,dog\nb.wav,\n")
    with pytest.raises(SensoriumError, match="a table with one class: classification needs two"):
        as_labelled(open_samples(tmp_path / "t.csv"), "audio")
    (tmp_path / "t.csv").write_text("audio,label\na.wav,dog\nb.wav,\nc.wav,cat\n")
    labelled = as_labelled(open_samples(tmp_path / "t.csv"), "audio")
    assert (labelled.labels, [str(each) for each in labelled.unreadable]) == (
        [(1,), (0,)],
        [f"{tmp_path}/t.csv:3: no label"],
    )


def test_sun_rgb_d_is_measured_over_its_scenes(tmp_path: Path) -> None:
    for number, scene in enumerate(("living_room", "idk", "office")):
        sun_view(tmp_path / "SUNRGBD", f"kv1/a/{number}", scene)
    data = open_samples(tmp_path)
    assert (known_as(data), usual_sense(data)) == ("sun-rgbd", "depth")
    test = as_labelled(as_measured(data, "depth"), "depth")
    assert test.classes == ("living room", "office")
    assert test.labels == [(0,), (1,)]
    assert test.pictures[0].told == (("unit", "sun"), ("focal", 529.5), ("baseline", 0.075))  # pyright: ignore


def test_nyu_depth_s_ten_classes(tmp_path: Path) -> None:
    for scene in ("bathroom_0001", "foyer_0002", "office_0003"):
        picture(tmp_path / f"test/{scene}/rgb_0.jpg", "dog")
        Image.fromarray(np.full((24, 32), 2500, np.uint16)).save(tmp_path / f"test/{scene}/sync_depth_0.png")
    test = as_labelled(as_measured(open_samples(tmp_path), "depth"), "depth")
    assert len(test.classes) == 10
    assert [test.classes[label].split("|")[0] for (label,) in test.labels] == ["bathroom", "basement", "office"]
    assert len(test.classes[9].split("|")) == 18


def voc(path: Path, boxes: list[tuple[int, int, int, int]]) -> None:
    path.parent.mkdir(exist_ok=True)
    corners = ("xmin", "ymin", "xmax", "ymax")
    inside = ["".join(f"<{c}>{v}</{c}>" for c, v in zip(corners, box, strict=True)) for box in boxes]
    people = "".join(f"<object><name>person</name><bndbox>{each}</bndbox></object>" for each in inside)
    path.write_text(f"<annotation><size><width>64</width><height>48</height></size>{people}</annotation>")


def test_llvip_s_people_and_pieces_of_street(tmp_path: Path) -> None:
    for name in ("190001", "190002", "190003"):
        picture(tmp_path / f"visible/test/{name}.jpg", "dog")
        picture(tmp_path / f"infrared/test/{name}.jpg", "rain")
    voc(tmp_path / "Annotations/190001.xml", [(2, 4, 14, 30), (20, 4, 30, 30), (90, 90, 80, 80)])
    voc(tmp_path / "Annotations/190002.xml", [(0, 0, 64, 48)])
    (tmp_path / "Annotations/190003.xml").write_text("<annotation>")
    data = open_samples(tmp_path)
    cut = as_measured(data, "thermal")
    test = as_labelled(cut, "thermal")
    assert [name.split("|")[0] for name in test.classes] == ["person", "street"]
    assert test.labels == [(0,), (0,), (1,), (1,), (0,)], "where people fill a picture there is no street"
    boxes = [dict(each.told)["box"] for each in test.pictures]  # pyright: ignore
    assert boxes[:2] == [(2, 4, 14, 30), (20, 4, 30, 30)]
    for street, person in zip(boxes[2:4], boxes, strict=False):
        assert (street[2] - street[0], street[3] - street[1]) == (person[2] - person[0], person[3] - person[1])
        assert all(street[0] >= each[2] or street[2] <= each[0] or street[1] >= each[3] or street[3] <= each[1]
                   for each in boxes[:2])  # fmt: skip
    assert as_measured(data, "thermal").rows == cut.rows, "drawn by the picture's name"
    assert "190003.xml: not VOC's annotation" in str(test.unreadable[-1])
    for file in (tmp_path / "Annotations").iterdir():
        file.unlink()
    with pytest.raises(SensoriumError, match=r"no boxes of people: .*190003.xml: no such file"):
        as_measured(data, "thermal")
    (tmp_path / "Annotations").rmdir()
    with pytest.raises(SensoriumError, match="no folder Annotations with the boxes of people"):
        as_measured(data, "thermal")


def test_ego4d_s_scenarios(tmp_path: Path) -> None:
    for uid in ("0a", "1b", "2c"):
        ego4d_table(tmp_path / f"imu/{uid}.csv", 11)
    assert as_measured(open_samples(tmp_path), "motion").classes == ()
    videos = [
        {"video_uid": "0a", "scenarios": ["Cooking"]},
        {"video_uid": "1b", "scenarios": ["Cooking", "Cleaning / laundry"]},
        {"video_uid": "2c", "scenarios": ["Walking the dog"]},
    ]
    (tmp_path / "ego4d.json").write_text(json.dumps({"videos": videos}))
    test = as_labelled(as_measured(open_samples(tmp_path), "motion"), "motion")
    assert (test.classes, test.labels) == (("Cooking", "Walking the dog"), [(0,), (0,), (1,), (1,)])
    (tmp_path / "ego4d.json").write_text('{"videos": [{}]}')
    with pytest.raises(Unreadable, match=r"ego4d.json: not Ego4D's list of videos"):
        as_measured(open_samples(tmp_path), "motion")


def test_msr_vtt(tmp_path: Path) -> None:
    (tmp_path / "MSRVTT_JSFUSION_test.csv").write_text(
        'key,vid_key,video_id,sentence\nret0,msr9770,video9770,"a person is, well"\nret1,msr9771,video9771,gone\n'
    )
    (tmp_path / "all").mkdir()
    film(tmp_path / "all/video9770.mp4", [9] * 20)
    data = open_samples(tmp_path / "MSRVTT_JSFUSION_test.csv")
    assert (known_as(data), usual_sense(data)) == ("msr-vtt", "video")
    assert [(row["key"], row["text"]) for row in data.rows] == [("ret0", "a person is, well")]
    assert data.problems == ("1 of 2 samples are not there: video9771.mp4",)
