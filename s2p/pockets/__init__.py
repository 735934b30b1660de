"""From residues and surface points to ranked pockets."""
