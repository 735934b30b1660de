from .runtime import in_colab as in_colab
from .runtime import pick_device as pick_device
from .runtime import progress_bar as progress_bar
