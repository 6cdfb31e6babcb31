"""Every conformance case, dispatched on its kind; the folder is CONFORMANCE_CASES where that is set."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from sensorium.checkpoints.files import Checkpoint
from sensorium.checkpoints.formats import build
from tests.conformance import (
    clip,
    dinov2,
    dinov3,
    dinov3_training,
    imagebind,
    layoutlmv2,
    videoclip,
    vilbert,
    visualbert,
    vit,
)
from tests.conformance.weights import digest, list_cases, load_case

FOLDER = os.environ.get("CONFORMANCE_CASES")
FAMILIES = (
    dinov3_training,
    clip,
    dinov2,
    dinov3,
    visualbert,
    vilbert,
    layoutlmv2,
    vit,
    videoclip,
    imagebind,
)
KINDS = {kind: check for family in FAMILIES for kind, check in family.KINDS.items()}


@pytest.mark.parametrize("name", list_cases(FOLDER))
def test_case(name: str) -> None:
    case = load_case(name, FOLDER)
    kind = case.meta["kind"].removesuffix("_eps")
    if kind not in KINDS:
        pytest.skip(f"not built: {case.meta['kind']}")
    as_numpy = {key: np.asarray(tensor) for key, tensor in case.state.items()}
    assert digest(as_numpy) == case.meta["weights_sha256"], (
        "this machine makes other weights than the case was run with"
    )
    KINDS[kind](case)


def test_every_case_here_is_built() -> None:
    kinds = {load_case(name).meta["kind"].removesuffix("_eps") for name in list_cases()}
    assert kinds == set(KINDS)


def test_wrong_family_is_named() -> None:
    checkpoint = Checkpoint(path=Path("x.safetensors"), tensors={"backbone.weight": torch.zeros(1)})
    with pytest.raises(Exception, match=r"x\.safetensors: these names are of no family.*backbone\.weight"):
        build(checkpoint)
