import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sensorium.training.ema import follow
from sensorium.training.parameter_groups import multiplier
from sensorium.training.schedules import cosine, sqrt_wrt_1024, warmup_cosine


@given(st.integers(1, 9), st.integers(2, 20), st.integers(0, 9))
def test_ends(warmup: int, decay: int, rest: int) -> None:
    total = warmup + decay + rest
    values = warmup_cosine(0.1, 1, 0.2, total, warmup=warmup, decay=decay)
    assert len(values) == total
    assert values[[0, warmup, -1]].tolist() == pytest.approx([0.1, 1, 0.2])
    first = cosine(1, 0.2, total, warmup=warmup)
    assert len(first) == total
    assert first[warmup] == 1
    assert first[-1] > 0.2


def test_too_short_a_run_is_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        cosine(1, 0, 3, warmup=4)
    with pytest.raises(ValueError, match="do not fit"):
        warmup_cosine(0, 1, 0, 3, warmup=2, decay=2)


def test_scaling() -> None:
    assert sqrt_wrt_1024(4096) == 8


def test_a_teacher_that_is_its_student_stays() -> None:
    student, teacher = [torch.randn(3)], [torch.zeros(3)]
    follow(teacher, student, 0)
    assert torch.equal(teacher[0], student[0])
    follow(teacher, student, 0.9)
    torch.testing.assert_close(teacher[0], student[0])
    with pytest.raises(ValueError, match="one shape"):
        follow(teacher, [], 0.9)


def test_tokens_decay_and_norms_do_not() -> None:
    assert multiplier("backbone.cls_token", 2, layer_decay=0.5) == (0.125, 1, False)
    assert multiplier("backbone.norm.weight", 2, layer_decay=0.5) == (1, 0, False)
    assert multiplier("dino_head.last_layer.weight", 2, head_weight_decay=0.5) == (1, 0.5, True)
