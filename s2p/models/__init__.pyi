from .encoder import start_encoder as start_encoder
