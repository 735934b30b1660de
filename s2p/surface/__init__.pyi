from .features import families as families
from .features import feature_names as feature_names
from .features import point_features as point_features
from .features import protein_points as protein_points
from .points import accessible_area as accessible_area
from .points import atom_radii as atom_radii
from .points import sphere as sphere
from .points import surface_points as surface_points
