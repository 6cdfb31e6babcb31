"""One file a trained model: its docstring says the command, the cost and the expected score."""
