"""What the papers claim, re-run in miniature: one file a paper."""
