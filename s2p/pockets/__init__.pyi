from .clustering import mean_shift as mean_shift
from .clustering import rank_clusters as rank_clusters
from .clustering import vote as vote
from .published import find_clusters as find_clusters
from .published import positive_points as positive_points
from .scored import find_point_pockets as find_point_pockets
from .scored import peak_features as peak_features
from .scored import peaks as peaks
