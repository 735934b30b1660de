"""The protein language model ESM-2 and a cache of its embeddings."""
