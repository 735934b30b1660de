from .config import VabsNetConfig as VabsNetConfig
from .graph import build_graph as build_graph
from .graph import local_frames as local_frames
from .graph import nodes_of as nodes_of
from .network import Gaussians as Gaussians
from .network import VabsNet as VabsNet
from .network import residue_logits as residue_logits
from .predictor import VabsNetPredictor as VabsNetPredictor
