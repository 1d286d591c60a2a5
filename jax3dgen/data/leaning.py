"""Figurines that may be unstable: sheared sideways, with scaled feet.

Recognisable shapes for stability sweeps. Frame: +z up, the front on +x, inside the ball of radius
1.2 about the origin.
"""

import numpy as np

from jax3dgen.data import figurines

LEAN = 0.5  # largest shear: sideways shift per height
FEET = (0.35, 1.1)  # range of the horizontal scale of the lowest part
ANKLE = 0.25  # share of the height over which the scale of the feet returns to 1


def leaning(seed, resolution=64):
  """A coloured Mesh for a whole number `seed`: random kind, colour and hat, lean and feet."""
  rng = np.random.default_rng(seed)
  mesh = figurines.mesh(int(rng.integers(len(figurines.KINDS))),
                        int(rng.integers(len(figurines.COLORS))), bool(rng.random() < 0.3),
                        resolution)
  azimuth, lean = rng.uniform(0, 2 * np.pi), rng.uniform(0, LEAN)
  feet = rng.uniform(*FEET)
  x = np.asarray(mesh.vertices, np.float64)
  low, height = x[:, 2].min(), np.ptp(x[:, 2])
  share = np.clip((x[:, 2:] - low) / (ANKLE * height), 0, 1)
  middle = x[x[:, 2] < low + 0.05 * height, :2].mean(0)
  flat = middle + (x[:, :2] - middle) * (feet + (1 - feet) * share)
  flat = flat + lean * (x[:, 2:] - low) * np.array([np.cos(azimuth), np.sin(azimuth)])
  return mesh.replace(vertices=np.concatenate([flat, x[:, 2:]], 1).astype(np.float32))


def name(seed):
  """A file name stem with the colour and kind of `leaning(seed)`."""
  rng = np.random.default_rng(seed)
  kind, color = (int(rng.integers(len(names))) for names in (figurines.KINDS, figurines.COLORS))
  return f'{seed:03d}_{figurines.COLORS[color]}_{figurines.KINDS[kind]}'
