"""Agreement of the engines with C MuJoCo on random solids: docs/results/engines.md."""

from ml_collections import ConfigDict


def get_config(variant=''):
  c = ConfigDict()
  c.solids = 504  # random solids, the seven kinds in turn
  c.first_seed = 0  # of the solids
  c.engine = 'all'  # all, or one of mjx, penalty, rest, brax_positional, brax_spring
  c.seconds = 10.0  # simulated
  c.hull_vertices = 64  # largest padded hull

  c.tilts = ConfigDict()
  c.tilts.n = 2  # tilted releases in addition to the upright one
  c.tilts.max_deg = 4.58  # largest tilt; 4.58 is DSO's 0.08 rad
  c.tilts.seed = 0  # of the tilts
  if variant == 'tiny':
    c.solids, c.seconds, c.tilts.n = 7, 0.5, 1
  elif variant:
    raise ValueError(f'configs/engine_study.py has no variant {variant!r}; it has tiny.')
  return c
