# Pockets of {{stem}} for PyMOL: open this file, with {{file}} beside it.
import os, pymol
cmd.load(os.path.join(os.path.dirname(pymol.__script__), '{{file}}'), '{{name}}')
hide everything, {{name}}
show cartoon, {{name}} and not hetatm
show sticks, {{name}} and organic
set_color s2p_low, [{{low}}]
set_color s2p_high, [{{high}}]
# B-factor = residue probability x 100
spectrum b, s2p_low s2p_high, {{name}} and not hetatm, minimum=0, maximum=100
{{case}}{{pockets}}set label_size, 24
deselect
orient {{name}}
