from .context import CONTEXT_FEATURES as CONTEXT_FEATURES
from .context import context_features as context_features
from .context import context_logits as context_logits
from .smoothing import candidates as candidates
from .smoothing import smooth as smooth
from .smoothing import smoother_logits as smoother_logits
