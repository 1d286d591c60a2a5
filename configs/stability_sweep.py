"""Which meshes of a folder stand, released upright or tilted.

The defaults are DSO's protocol (10 s, a turn of more than 20 degrees is a fall, up to 0.08 rad of
tilt) but for the time step of bulk work, 4 ms, which gives the labels of 1 ms; `:dso` is the
protocol to the letter. `:tiny` takes seconds, for tests.
"""

from ml_collections import ConfigDict


def get_config(variant=''):
  c = ConfigDict()
  c.meshes = ''  # a glob such as 'assets/**/*.glb', or a text file with one path per line
  c.engine = 'native'  # native, mjx, penalty, rest, brax_positional, brax_spring, or all
  c.up = 'auto'  # the axis that is up in the files: y, z, or auto (y for GLB and GLTF, else z)
  c.normalize = 'unit_cube'  # unit_cube (largest extent 1), dso, or none
  c.inertia = 'exact'  # of the true solid, or mujoco_legacy for label parity with DSO
  c.density = 1000.0  # mass per cubed unit of length, as simulated
  c.friction = 1.0  # sliding friction of mesh and plane
  c.seconds = 10.0  # simulated
  c.timestep = 4e-3  # seconds; 0: the engine's own; penalty and brax take at most theirs, 1 or 2 ms
  c.threshold_deg = 20.0  # a mesh that turns less than this stands
  c.hull_vertices = 64  # largest padded hull; native always has the full one
  c.rollouts = 0  # meshes whose drop in C MuJoCo gets a page; what falls most often comes first

  c.tilts = ConfigDict()
  c.tilts.n = 20  # releases of each mesh; 0: one, upright as generated
  c.tilts.max_deg = 4.58  # largest tilt; 4.58 is DSO's 0.08 rad
  c.tilts.seed = 0  # of the tilts, which are the same for all meshes
  if variant == 'dso':
    c.tilts.n, c.timestep, c.normalize, c.inertia = 0, 1e-3, 'dso', 'mujoco_legacy'
  elif variant == 'tiny':
    c.tilts.n, c.seconds = 3, 1.0
  elif variant:
    raise ValueError(f'configs/stability_sweep.py has no variant {variant!r}; it has dso and tiny.')
  return c
