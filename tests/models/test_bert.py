import torch
from transformers import BertConfig as TheirConfig
from transformers import BertModel

from sensorium.checkpoints.pocket import BERT_ROWS
from sensorium.checkpoints.rename import to_ours
from sensorium.models.bert import Bert, BertConfig

TINY = BertConfig(width=24, depth=2, heads=3, hidden=40, words=50, positions=16)


def ours_and_theirs():
    torch.manual_seed(0)
    theirs = BertModel(
        TheirConfig(
            vocab_size=50,
            hidden_size=24,
            num_hidden_layers=2,
            num_attention_heads=3,
            intermediate_size=40,
            max_position_embeddings=16,
        )
    ).eval()
    ours = Bert(TINY)
    ours.load_state_dict(to_ours(theirs.state_dict(), BERT_ROWS))
    return ours.eval(), theirs


def test_tokens_equal_those_of_transformers_with_padding():
    ours, theirs = ours_and_theirs()
    ids = torch.randint(1, 50, (3, 9))
    mask = torch.arange(9)[None] < torch.tensor([9, 4, 6])[:, None]
    with torch.no_grad():
        reference = theirs(ids, attention_mask=mask.long()).last_hidden_state
        torch.testing.assert_close(ours(ids, mask)[mask], reference[mask], rtol=1e-5, atol=1e-5)
        mean = torch.stack([row[keep].mean(0) for row, keep in zip(reference, mask, strict=True)])
        expected = torch.nn.functional.normalize(mean, dim=-1)
        torch.testing.assert_close(ours.sentence(ids, mask), expected, rtol=1e-5, atol=1e-5)


def test_padding_does_not_change_a_sentence():
    ours, _ = ours_and_theirs()
    ids = torch.randint(1, 50, (1, 5))
    padded = torch.cat([ids, torch.zeros(1, 4, dtype=torch.long)], dim=1)
    mask = torch.arange(9)[None] < 5
    with torch.no_grad():
        torch.testing.assert_close(ours.sentence(padded, mask), ours.sentence(ids, mask[:, :5]), rtol=1e-5, atol=1e-6)
