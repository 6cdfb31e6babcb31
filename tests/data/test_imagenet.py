import hashlib
import re
from importlib import resources

from sensorium.data.imagenet import imagenet_names, templates


def test_names_stand_at_their_class_index():
    names = imagenet_names()
    assert len(names) == 1000
    known = {0: "tench", 134: "crane bird", 281: "tabby cat", 517: "construction crane", 999: "toilet paper"}
    assert {i: names[i] for i in known} == known


def test_templates_take_one_name_each():
    assert (len(templates()), len(templates(7))) == (80, 7)
    assert set(templates(7)) <= set(templates())
    assert all(template.count("{}") == 1 and template.endswith(".") for template in templates())
    assert "a photo of a {}." in templates()


def test_the_files_are_those_the_readme_vouches_for():
    folder = resources.files("sensorium.data.vocabulary")
    rows = re.findall(r"^\| `(\S+)` .* `([0-9a-f]{64})` \|$", (folder / "README.md").read_text(encoding="utf-8"), re.M)
    assert len(rows) == 4
    for name, digest in rows:
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
