"""Stability of the meshes of a folder, released upright or tilted.

The defaults are DSO's protocol (10 s, a rotation of more than 20 degrees is a fall, up to 0.08 rad
of tilt) except for the time step, 4 ms, which gives the same labels as 1 ms; `:dso` is the exact
protocol. `:tiny` takes seconds, for tests.
"""

from ml_collections import ConfigDict


def get_config(variant=''):
  c = ConfigDict()
  c.meshes = ''  # a file, a folder, a glob such as 'assets/**/*.{glb,obj}', or a text file of paths
  c.engine = 'native'  # native, mjx, penalty, rest, brax_positional, brax_spring, or all
  c.up = 'auto'  # up axis of the files: y, z, or auto (y for GLB and GLTF, else z)
  c.normalize = 'unit_cube'  # unit_cube (largest extent 1), dso, or none
  c.inertia = 'exact'  # exact: of the true solid; mujoco_legacy: for label parity with DSO
  c.density = 1000.0  # mass per cubed unit of length, as simulated
  c.friction = 1.0  # sliding friction of mesh and plane
  c.seconds = 10.0  # simulated
  c.timestep = 4e-3  # seconds; 0: the engine's own; at most 1 or 2 ms for penalty and brax
  c.threshold_deg = 20.0  # a mesh that rotates by less than this stands
  c.hull_vertices = 64  # largest padded hull; native always uses the full one
  c.rollouts = 0  # meshes whose drop in C MuJoCo gets a page, those that fall most often first

  c.tilts = ConfigDict()
  c.tilts.n = 20  # releases of each mesh; 0: one, upright as generated
  c.tilts.max_deg = 4.58  # largest tilt; 4.58 is DSO's 0.08 rad
  c.tilts.seed = 0  # seed of the tilts, which are the same for all meshes
  if variant == 'dso':
    c.tilts.n, c.timestep, c.normalize, c.inertia = 0, 1e-3, 'dso', 'mujoco_legacy'
  elif variant == 'tiny':
    c.tilts.n, c.seconds = 3, 1.0
  elif variant:
    raise ValueError(f'configs/stability_sweep.py has no variant {variant!r}; it has dso and tiny.')
  return c
