from .arrays import binding_residues as binding_residues
from .ligands import ADDITIVES as ADDITIVES
from .ligands import ligand_labels as ligand_labels
from .ligands import ligand_sites as ligand_sites
from .ligands import relevant_ligands as relevant_ligands
from .reading import read_structure as read_structure
from .reading import stem as stem
from .transforms import random_rotation as random_rotation
