"""The hostile corpus: nothing crashes, hangs or fills the memory, and everything is either seen or named."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sensorium.data.errors import Unreadable
from sensorium.data.image import find_images, read_image
from tests.hostile import Hostile, make_hostile, mutations, samples


def attempt(source) -> tuple[Image.Image | None, Unreadable | None]:
    try:
        return read_image(source), None
    except Unreadable as error:
        return None, error


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> Hostile:
    return make_hostile(tmp_path_factory.mktemp("hostile") / "all")


def test_each_file_is_decoded_or_named_with_a_reason_within_seconds(hostile):
    assert len(hostile.files) >= 200
    seen, refused = set(), {}
    for path in hostile.files:
        start = time.monotonic()
        image, error = attempt(path)
        assert time.monotonic() - start < 8, path
        if image is not None:
            assert (image.mode, min(image.size) > 0) == ("RGB", True)
            seen.add(path)
        else:
            assert error.path == str(path)
            assert 0 < len(error.reason) < 140
            assert error.reason.isprintable()
            refused[path] = error.reason
    assert not hostile.readable - seen, {p: refused[p] for p in hostile.readable - seen}
    assert not hostile.unreadable & seen


def test_the_walk_lists_every_file_once(hostile):
    found = list(find_images(hostile.files[0].parent.parent))
    paths = [Path(f.path) if isinstance(f, Unreadable) else f for f in found]
    assert len(paths) == len(set(paths))
    assert set(hostile.files) <= set(paths)
    (beyond,) = [f for f in found if isinstance(f, Unreadable) and str(hostile.deep) in f.path]
    assert beyond.reason == "its name or path is too long"


def test_memory_stays_bounded_and_no_decoder_takes_the_process_along(hostile):
    """In a process of its own: a crash in a decoder's C code would otherwise take the tests with it."""
    program = """
import json, resource, sys
from sensorium.data.errors import Unreadable
from sensorium.data.image import read_image
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for name in json.load(sys.stdin):
    try:
        read_image(name)
    except Unreadable:
        pass
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    names = json.dumps([str(path) for path in hostile.files])
    done = subprocess.run([sys.executable, "-c", program], input=names, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) < 700_000  # kB; the largest picture allowed in has 64 million pixels, 192 MB as RGB


@pytest.mark.parametrize("name", samples())
def test_mutated_files_never_raise_anything_else(name):
    for data in mutations(samples()[name], 60, seed=len(name)):
        assert any(attempt(data))


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(samples())), st.binary(max_size=40), st.floats(0, 1))
def test_any_bytes_anywhere(name, patch, where):
    data = samples()[name]
    at = int(where * len(data))
    assert any(attempt(data[:at] + patch + data[at + len(patch) :]))
