"""What one does with a model, by the papers' protocols."""
