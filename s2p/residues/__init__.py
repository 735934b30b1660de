"""From embeddings to binding residues: structure context and smoothing."""
