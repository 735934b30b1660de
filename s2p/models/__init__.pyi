from .encoder import start_encoder as start_encoder

POCKET_FINDERS: tuple[str, ...]
