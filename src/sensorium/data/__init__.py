"""Media in, typed samples out: decoding, preprocessing and tokens. Knows no model."""
