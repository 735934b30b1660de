"""CrossBind: nucleic-acid binding residues from point clouds and sequences."""
