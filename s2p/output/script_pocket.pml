set_color s2p_color{{rank}}, [{{color}}]
select {{name}}_pocket{{rank}}, {{name}} and ({{selection}})
color s2p_color{{rank}}, {{name}}_pocket{{rank}}
show sticks, {{name}}_pocket{{rank}} and not name N+C+O
{{net}}pseudoatom {{name}}_center{{rank}}, pos=[{{center}}], color=s2p_color{{rank}}, label={{label}}
show spheres, {{name}}_center{{rank}}
