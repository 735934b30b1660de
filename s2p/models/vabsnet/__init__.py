"""Vabs-Net: multi-level protein graphs, pre-trained by span masking."""
