import pytest
import torch
import torch.nn.functional as F

from sensorium.objectives.contrastive import contrastive, overlapping


@pytest.fixture
def pair():
    torch.manual_seed(0)
    return F.normalize(torch.randn(2, 6, 8), dim=-1)


def test_one_partner_each_is_the_plain_objective(pair):
    scale = torch.tensor(7.0)
    torch.testing.assert_close(overlapping(*pair, scale, torch.eye(6)), contrastive(*pair, scale))


def test_the_size_of_an_affinity_row_does_not_matter_and_rows_without_partner_are_left_out(pair):
    a, b = pair
    scale = torch.tensor(7.0)
    alone = torch.eye(6)[:, :5]
    torch.testing.assert_close(overlapping(a, b[:5], scale, 3 * alone), overlapping(a, b[:5], scale, alone))
    to_b = -(alone[:5] * (scale * a[:5] @ b[:5].T).log_softmax(1)).sum(1).mean()
    to_a = -(alone.T * (scale * b[:5] @ a.T).log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(overlapping(a, b[:5], scale, alone), (to_b + to_a) / 2)


def test_it_is_least_where_shared_partners_agree():
    texts = torch.eye(3)
    shared = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    scale = torch.tensor(20.0)
    right = overlapping(F.normalize(shared, dim=-1), texts, scale, shared)
    wrong = overlapping(F.normalize(shared.flip(0), dim=-1), texts, scale, shared)
    assert right < 0.8 < wrong
