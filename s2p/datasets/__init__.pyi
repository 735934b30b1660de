from .enhancement import EnhanceConfig as EnhanceConfig
from .enhancement import enhance_structures as enhance_structures
from .label_files import Annotation as Annotation
from .label_files import format_annotations as format_annotations
from .label_files import read_annotations as read_annotations
from .label_files import read_labels as read_labels
from .labelled import LabelledChain as LabelledChain
