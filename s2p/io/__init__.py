"""Files: written whole or not at all, fetched, and weights in safetensors."""
