from .esm import ResidueModel as ResidueModel
from .esm import load_backbone as load_backbone
from .lora import add_lora as add_lora
from .lora import lora_parameters as lora_parameters
from .lora import merge_lora as merge_lora
from .sequences import BACKBONES as BACKBONES
from .sequences import predict_residues as predict_residues
from .sequences import tokenize as tokenize
