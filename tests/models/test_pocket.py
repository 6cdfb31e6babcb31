import pytest
import torch
import torch.nn.functional as F

from sensorium.models.bert import Bert, BertConfig
from sensorium.models.efficientnet import EfficientNetLite, EfficientNetLiteConfig
from sensorium.models.pocket import Binding, Pocket, PocketConfig

SMALL = PocketConfig(classes=12, extra=5, width=8, rank=4, hidden=16, short=7, short_extra=3)


@pytest.fixture
def binding():
    """Names that lie apart, and projections that keep every thing: scores can be told beforehand."""
    torch.manual_seed(0)
    config = PocketConfig(classes=12, extra=5, width=17, rank=4, hidden=16, short=12, short_extra=5)
    binding = Binding(config).requires_grad_(False)
    binding.names.copy_(torch.eye(17)[:12])
    binding.captions.copy_(torch.eye(17)[12:])
    binding.basis.copy_(torch.linalg.qr(torch.randn(2 * config.features, 4)).Q)
    binding.prototypes.copy_(F.normalize(torch.randn(5, 4), dim=-1))
    binding.text_mean.fill_(0.2)
    torch.nn.init.zeros_(binding.reader[2].weight)
    torch.nn.init.zeros_(binding.reader[2].bias)
    for side in (binding.image, binding.text):
        side.classes.weight.copy_(torch.eye(12))
        side.extra.weight.copy_(torch.eye(5))
    return binding


def test_a_picture_of_a_class_is_nearest_to_its_name(binding):
    image = binding.embed_image(10 * torch.eye(12), torch.rand(12, 2560))
    text = binding.embed_text(torch.eye(17)[:12])
    assert (image @ text.T).argmax(1).tolist() == list(range(12))
    torch.testing.assert_close(image.norm(dim=1), torch.ones(12))
    torch.testing.assert_close(text.norm(dim=1), torch.ones(12))


def test_a_thing_known_by_pictures_alone_is_found_among_others_like_it(binding):
    roots = 1 + 0.1 * binding.prototypes @ binding.basis.T
    binding.feature_mean.fill_(1.0)
    image = binding.embed_image(torch.zeros(5, 12), roots**2)
    text = binding.embed_text(torch.eye(17)[12:])
    assert (image @ text.T).argmax(1).tolist() == list(range(5))


def test_of_two_pictures_of_one_class_the_one_more_like_another_is_nearer_to_its_name(binding):
    logits = torch.zeros(2, 12)
    logits[:, 0] = 20.0  # both look like another class, for sure
    logits[0, 3] = 8.0
    image = binding.embed_image(logits, torch.rand(1, 2560).expand(2, -1))
    near, far = image @ binding.embed_text(torch.eye(17)[3:4])[0]
    assert near > far + 0.05


def test_pixels_of_any_size_and_words_of_any_length_reach_one_space():
    torch.manual_seed(0)
    lite = [EfficientNetLite(EfficientNetLiteConfig(classes=12)) for _ in range(2)]
    bert = Bert(BertConfig(width=8, depth=1, heads=2, hidden=16, words=20, positions=32))
    model = Pocket(*lite, bert, SMALL).eval()
    ids, mask = torch.randint(0, 20, (3, 7)), torch.ones(3, 7, dtype=torch.bool)
    with torch.no_grad():
        for size in (64, 96):
            assert model.embed_image(torch.randn(2, 3, size, size)).shape == (2, 10)
        assert model.embed_text(ids, mask).shape == (3, 10)
