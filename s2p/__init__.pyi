from .config import PredictConfig as PredictConfig
from .errors import S2PError as S2PError
from .output.explorer import explore as explore
from .output.view import view as view
from .pockets.hits import ligand_table as ligand_table
from .prediction import Pocket as Pocket
from .prediction import Prediction as Prediction
from .predictor import Seq2Pocket as Seq2Pocket
from .predictor import load as load
from .predictor import predict as predict
from .structure.reading import Structure as Structure
from .structure.reading import read_structure as read_structure

__version__: str
