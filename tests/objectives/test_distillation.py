import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.objectives import dinov3
from sensorium.objectives.distillation import class_distillation, pair_shares, sinkhorn
from sensorium.objectives.gram import gram
from sensorium.objectives.koleo import koleo


@given(st.integers(2, 9), st.integers(2, 9))
@settings(max_examples=20, deadline=None)
def test_sinkhorn_balances_rows_and_prototypes(rows: int, prototypes: int) -> None:
    probs = sinkhorn(torch.randn(rows, prototypes), 1.0, iterations=100)
    torch.testing.assert_close(probs.sum(1), torch.ones(rows))
    torch.testing.assert_close(probs.sum(0), torch.full((prototypes,), rows / prototypes), atol=1e-3, rtol=1e-3)


def test_the_diagonal_does_not_count_where_it_is_ignored() -> None:
    student, teacher = torch.randn(2, 3, 5), torch.randn(2, 3, 5).softmax(-1)
    crossed = [class_distillation(student[i : i + 1], teacher[1 - i : 2 - i]) for i in range(2)]
    torch.testing.assert_close(class_distillation(student, teacher, ignore_diagonal=True), torch.stack(crossed).mean())


def test_losses_are_float32_under_autocast() -> None:
    x, t = torch.randn(2, 4, 6), torch.randn(2, 4, 6).softmax(-1)
    plain = [class_distillation(x, t), koleo(x[0]), gram(x, t)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = [class_distillation(x, t), koleo(x[0]), gram(x, t)]
    for a, b in zip(plain, cast, strict=True):
        assert torch.equal(a, b)


def test_koleo_is_finite_for_duplicates_and_gathered_rows_agree() -> None:
    x = torch.randn(6, 4)
    twice = torch.cat([x, x]).requires_grad_()
    loss = koleo(twice)
    assert torch.isfinite(loss)
    assert torch.isfinite(torch.autograd.grad(loss, twice)[0]).all()
    parts = [koleo(x[:3], others=x), koleo(x[3:], others=x, offset=3)]
    torch.testing.assert_close(torch.stack(parts).mean(), koleo(x))


def test_gram_sees_neither_rotation_nor_length() -> None:
    x = torch.randn(2, 5, 4)
    turn = torch.linalg.qr(torch.randn(4, 4))[0]
    torch.testing.assert_close(gram(3 * x @ turn, x), torch.tensor(0.0), atol=1e-9, rtol=0)


@given(st.integers(2, 4), st.integers(0, 9), st.booleans())
def test_shares_add_up(crops: int, local: int, ignore: bool) -> None:
    assert abs(sum(pair_shares(crops, local, ignore_diagonal=ignore)) - 1) < 1e-12


def test_a_term_without_weight_does_not_spread() -> None:
    one, nan = torch.tensor(1.0), torch.tensor(float("nan"))
    assert torch.isfinite(dinov3.total(one, one, one, torch.ones(2), nan, local_crops=8))
