from .explorer import Explorer as Explorer
from .palette import OUTSIDE as OUTSIDE
from .palette import POCKETS as POCKETS
from .pictures import static_figure as static_figure
from .pictures import static_png as static_png
from .viewers import chimerax_selection as chimerax_selection
from .viewers import docking_box as docking_box
from .viewers import pymol_selection as pymol_selection
