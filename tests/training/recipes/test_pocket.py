import random

import pytest
import torch
import torch.nn.functional as F

from sensorium.data.errors import SensoriumError
from sensorium.models.pocket import PocketConfig
from sensorium.training.recipes.pocket import (
    Concepts,
    Pictures,
    Sampler,
    Settings,
    bind,
    concepts,
    start,
    start_projections,
    train_projections,
    train_reader,
)
from sensorium.training.recipes.pocket_data import Hierarchy, file_noun, read_wordnet, wordings

TINY = Settings(
    model=PocketConfig(classes=20, width=32, features=12, rank=6, hidden=64, short=10, short_extra=6),
    batch=32,
    reader_steps=60,
    reader_rate=0.01,
    projection_steps=40,
    projection_batch=64,
    remote=0.5,
)
NOUNS = """  1 the licence
00000001 03 n 01 animal 0 000 | a living thing; "it ate"
00000002 05 n 02 cat 0 true_cat 0 001 @ 00000001 n 0000 | feline mammal
00000003 05 n 01 dog 0 001 @ 00000001 n 0000 | canine mammal
00000004 05 n 01 kitten 0 001 @ 00000002 n 0000 | young cat
00000005 03 n 01 stone 0 000 | a lump
00000006 03 n 01 wind 0 000 | moving air
"""


@pytest.fixture
def hierarchy(tmp_path):
    (tmp_path / "data.noun").write_text(NOUNS)
    return Hierarchy(read_wordnet(tmp_path / "data.noun"), ["00000002", "00000003", "00000005"])


@pytest.fixture
def data():
    torch.manual_seed(0)
    names = F.normalize(torch.randn(20, 32), dim=-1)
    classes = torch.eye(20).repeat(3, 1)
    # wordings lie off the names, each the same way: something to learn
    views = F.normalize(names.roll(1, 0).repeat(3, 1)[:, None] + 0.1 * torch.randn(60, 6, 32), dim=-1)
    found = Pictures(
        logits=4 * torch.randn(30, 20),
        features=torch.rand(30, 24),
        caption=torch.arange(30) % 15,
        sentences=F.normalize(torch.randn(15, 32), dim=-1),
    )
    return names, Concepts(views=views, classes=classes, weight=torch.ones(60)), found


def silent(_line):
    pass


def test_the_reader_learns(data):
    names, known, found = data
    losses = train_reader(start(names, found, TINY), known, TINY, silent)
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])


def test_the_projections_learn(data):
    names, known, found = data
    binding = start(names, found, TINY)
    sampler = Sampler(binding, known, found, torch.eye(20), 0)
    with torch.no_grad():
        start_projections(binding, sampler)
    losses = train_projections(binding, sampler, TINY, silent)
    assert sum(losses[-5:]) < sum(losses[:5])


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(data):
    names, known, found = data
    rows = torch.randn(20, 24)
    first, second, other = (
        bind(known, found, names, rows, Settings(**{**vars(TINY), "seed": seed}), silent).state_dict()
        for seed in (0, 0, 1)
    )
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["image.classes.weight"], other["image.classes.weight"])


def test_only_drawings_of_things_that_no_class_names_are_kept(data):
    names, _, found = data
    known = Pictures(
        logits=found.logits,
        features=found.features,
        caption=found.caption,
        sentences=torch.cat([names[:4], found.sentences[4:]]),
    )
    assert start(names, known, TINY).config.extra == 11


def test_wordnet_is_read(hierarchy):
    cat = hierarchy.synsets["00000002"]
    assert cat.names == ("cat", "true cat")
    assert cat.gloss == "feline mammal"
    assert wordings(cat, random.Random(0))[:5] == [
        "cat",
        "true cat",
        "cat, true cat",
        "feline mammal",
        "cat: feline mammal",
    ]


def test_another_file_is_refused_by_name(tmp_path):
    (tmp_path / "data.verb").write_text("nothing | of the kind\n")
    with pytest.raises(SensoriumError, match=r"data.verb is not WordNet's data.noun"):
        read_wordnet(tmp_path / "data.verb")


def test_closeness_is_full_below_a_concept_and_less_beside_it(hierarchy):
    cat, dog, stone = hierarchy.closeness("00000004")
    assert cat > dog > stone == 0
    assert hierarchy.closeness("00000001") == pytest.approx([hierarchy.top, hierarchy.top, 0])


def test_concepts_far_from_every_class_are_left_out(hierarchy):
    names = torch.eye(32)[:3]

    def embed(texts):
        return torch.eye(32)[torch.arange(len(texts)) % 32]

    known = concepts(hierarchy, ["00000001", "00000004", "00000006"], names, embed, TINY)
    torch.testing.assert_close(known.classes[0], torch.tensor([0.5, 0.5, 0.0]))  # an animal: cat or dog
    assert known.classes[1].argmax() == 0  # a kitten: cat
    assert len(known.views) == 2  # and wind stands near none


@pytest.mark.parametrize(
    ("stem", "noun"),
    [
        ("rubber_duck2_ganson", "rubber duck"),
        ("big_house_01", "house"),
        ("eggs_fried", "eggs"),
        ("tux_clemente_01", None),
        ("01_x", None),
    ],
)
def test_what_clip_art_shows_is_told_from_its_file_name(stem, noun):
    assert file_noun(stem, {"rubber duck", "duck", "house", "egg", "x"}) == noun
