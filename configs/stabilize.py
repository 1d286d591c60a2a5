"""Deforming a mesh until it stands.

`:study` does it to random solids that fall, beside the smallest flat cut that does the same:
docs/results/stabilize.md is its page.
"""

from ml_collections import ConfigDict


def get_config(variant=''):
  c = ConfigDict()
  c.mesh = ''  # the file to stabilise; empty: the study of random solids
  c.up = 'auto'  # the axis that is up in the file: y, z, or auto (y for GLB and GLTF, else z)
  c.seconds = 10.0  # simulated to judge whether it stands
  c.study = ConfigDict()
  c.study.solids = 0  # random concave solids that fall; 0: none, the mesh is what is stabilised
  c.study.first_seed = 0  # of the solids
  if variant == 'study':
    c.study.solids = 50
  elif variant == 'tiny':
    c.study.solids = 2
    c.seconds = 2.0
  elif variant:
    raise ValueError(f'configs/stabilize.py has no variant {variant!r}; it has study and tiny.')
  return c
