"""transformers, where it is installed, without its progress bars; the same random numbers for every comparison."""

import pytest
import torch


@pytest.fixture
def quiet() -> None:
    transformers = pytest.importorskip("transformers")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.manual_seed(0)
