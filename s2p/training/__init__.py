"""Training of every model: one loop, and fine-tuning of the language model."""
