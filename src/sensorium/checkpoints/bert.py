"""BERT's names, which all its children keep: transformers', and those of every code that grew out of the first port."""

from sensorium.checkpoints.rename import Row, linear

AFTER_SCORES = [  # a layer but for queries, keys and values, which some children keep in one matrix
    *linear("attention.output.dense", "attention.out"),
    *linear("attention.output.LayerNorm", "norm1"),
    *linear("intermediate.dense", "mlp.up"),
    *linear("output.dense", "mlp.down"),
    *linear("output.LayerNorm", "norm2"),
]
LAYER = [
    *(row for part in ("query", "key", "value") for row in linear(f"attention.self.{part}", f"attention.{part}")),
    *AFTER_SCORES,
]
EMBEDDING = [
    Row("word_embeddings.weight", "word.weight"),
    Row("position_embeddings.weight", "position.weight"),
    Row("token_type_embeddings.weight", "segment.weight"),
    *linear("LayerNorm", "norm"),
]
WORD_HEAD = [
    Row("bias", "bias"),
    *linear("transform.dense", "dense"),
    *linear("transform.LayerNorm", "norm"),
]
