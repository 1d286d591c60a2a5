"""Deformation of a mesh until it stands.

`:study` compares it on random solids that fall with the smallest flat cut that makes them stand:
docs/results/stabilize.md. `:tiny` takes seconds, for tests.
"""

from ml_collections import ConfigDict


def get_config(variant=''):
  c = ConfigDict()
  c.mesh = ''  # the file to stabilise; '': the study of random solids
  c.up = 'auto'  # up axis of the file: y, z, or auto (y for GLB and GLTF, else z)
  c.seconds = 10.0  # simulated, for the label whether it stands
  c.study = ConfigDict()
  c.study.solids = 0  # number of random concave solids that fall; 0: stabilise the mesh
  c.study.first_seed = 0  # first seed of the solids
  if variant == 'study':
    c.study.solids = 50
  elif variant == 'tiny':
    c.study.solids = 2
    c.seconds = 2.0
  elif variant:
    raise ValueError(f'configs/stabilize.py has no variant {variant!r}; it has study and tiny.')
  return c
