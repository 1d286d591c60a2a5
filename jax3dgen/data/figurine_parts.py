"""The six figurines as coloured ellipsoids, axis-aligned boxes and upright frusta.

Frame and units are the project's: facing +x, left +y, up +z, everything inside the unit ball
(radius 0.96 at most, so that it fits the image at distance 2.9 and 40 degrees). One pixel of a 32
px image is 0.066 units: nothing that matters is thinner than two pixels.

Each kind has a face only in front, a pack and a tail only behind, a cyan part on its left and a
magenta one on its right, so that every error of a generated object can be counted. The back has as
much contrast as the front, so that it is recognisable.
"""

from typing import NamedTuple

import numpy as np

KINDS = ('bear', 'robot', 'penguin', 'car', 'rabbit', 'rocket')
COLORS = ('red', 'green', 'blue', 'yellow', 'purple', 'gray')
COLOR_RGB = np.array([
    (0.86, 0.12, 0.11), (0.12, 0.58, 0.20), (0.13, 0.30, 0.84),
    (0.95, 0.77, 0.08), (0.47, 0.20, 0.74), (0.50, 0.52, 0.55)], np.float32)

REGIONS = ('none', 'body', 'face', 'back', 'left', 'right', 'hat')
BODY, FACE, BACK, LEFT, RIGHT, HAT = range(1, len(REGIONS))
SHAPES = ('ball', 'box', 'cone')

# Paints are (r, g, b, share of the body colour).
BLACK = (0.06, 0.06, 0.08, 0.0)
CREAM = (0.97, 0.84, 0.62, 0.0)
GLASS = (0.62, 0.83, 0.95, 0.0)
PINK = (0.98, 0.55, 0.60, 0.0)
MOUTH = (0.72, 0.05, 0.08, 0.0)
LAMP = (1.00, 0.93, 0.60, 0.0)
BROWN = (0.40, 0.22, 0.09, 0.0)
TAN = (0.70, 0.47, 0.22, 0.0)
ORANGE = (1.00, 0.52, 0.04, 0.0)
LIME = (0.66, 0.88, 0.12, 0.0)
TAIL_LAMP = (0.90, 0.04, 0.06, 0.0)
CYAN = (0.04, 0.76, 0.82, 0.0)
MAGENTA = (0.88, 0.08, 0.62, 0.0)


class Part(NamedTuple):
  """One primitive. `size` holds the radii of a ball, the half sizes of a box, or the radius at the
  bottom, the radius at the top and the half height of a cone that stands upright."""
  shape: str
  center: tuple
  size: tuple
  paint: tuple
  region: int


def ball(center, size, paint, region=BODY):
  """An ellipsoid with the radii `size`."""
  return Part('ball', center, size, paint, region)


def box(center, size, paint, region=BODY):
  """An axis-aligned box with the half sizes `size`."""
  return Part('box', center, size, paint, region)


def cone(center, size, paint, region=BODY):
  """An upright frustum with `size` (bottom radius, top radius, half height)."""
  return Part('cone', center, size, paint, region)


def tint(share):
  """The paint of the body colour times `share`."""
  return (0.0, 0.0, 0.0, share)


def pair(make, center, size, paint, region=BODY):
  """Two mirrored parts, at +y and at -y."""
  x, y, z = center
  return [make((x, y, z), size, paint, region), make((x, -y, z), size, paint, region)]


def hands(center, size):
  """The cyan part on the left (+y) and the magenta one on the right (-y)."""
  x, y, z = center
  return [ball((x, y, z), size, CYAN, LEFT), ball((x, -y, z), size, MAGENTA, RIGHT)]


def pack(center, width, height, depth=0.15, roll=True):
  """A backpack with a lighter flap, an orange patch and (if `roll`) a lime blanket on top."""
  x, y, z = center
  parts = [
      box((x, y, z), (depth, width, height), BROWN, BACK),
      box((x - 0.03, y, z + 0.62 * height), (depth, width + 0.03, 0.38 * height), TAN, BACK),
      box((x - 0.04, y, z - 0.36 * height), (depth, 0.52 * width, 0.40 * height), ORANGE, BACK)]
  if roll:
    parts.append(ball((x, y, z + height + 0.10), (0.13, width + 0.07, 0.12), LIME, BACK))
  return parts


def top_hat(center, radius, height):
  """A black top hat with a wide brim and an orange band; `center` is the middle of the brim."""
  x, y, z = center
  return [
      cone((x, y, z), (1.55 * radius, 1.55 * radius, 0.035), BLACK, HAT),
      cone((x, y, z + 0.5 * height), (radius, 1.1 * radius, 0.5 * height), BLACK, HAT),
      cone((x, y, z + 0.09), (1.04 * radius, 1.06 * radius, 0.05), ORANGE, HAT)]


# Figurines: () -> (parts, parts of the hat).

def bear():
  return [
      ball((0.0, 0.0, -0.28), (0.35, 0.39, 0.42), tint(1.0)),
      ball((0.02, 0.0, 0.36), (0.36, 0.42, 0.36), tint(1.0)),
      *pair(ball, (0.0, 0.31, 0.67), (0.10, 0.16, 0.16), tint(0.85)),
      *pair(ball, (0.08, 0.31, 0.67), (0.05, 0.09, 0.09), PINK, FACE),
      ball((0.33, 0.0, 0.25), (0.15, 0.20, 0.15), CREAM, FACE),
      ball((0.47, 0.0, 0.31), (0.06, 0.09, 0.07), BLACK, FACE),
      *pair(ball, (0.33, 0.18, 0.45), (0.06, 0.08, 0.10), BLACK, FACE),
      ball((0.19, 0.0, -0.27), (0.21, 0.28, 0.31), CREAM, FACE),
      *pair(ball, (0.08, 0.42, -0.13), (0.15, 0.13, 0.25), tint(0.8)),
      *hands((0.16, 0.50, -0.34), (0.14, 0.14, 0.14)),
      *pair(cone, (0.10, 0.19, -0.72), (0.20, 0.15, 0.14), tint(0.65)),
      *pack((-0.40, 0.0, -0.22), 0.27, 0.29),
      ball((-0.40, 0.0, -0.63), (0.14, 0.14, 0.13), CREAM, BACK),
  ], top_hat((0.0, 0.0, 0.68), 0.17, 0.25)


def robot():
  return [
      box((0.0, 0.0, 0.38), (0.28, 0.34, 0.25), tint(1.0)),
      box((0.04, 0.0, 0.38), (0.28, 0.28, 0.19), CREAM, FACE),
      *pair(ball, (0.32, 0.13, 0.45), (0.05, 0.08, 0.085), BLACK, FACE),
      box((0.06, 0.0, 0.27), (0.28, 0.15, 0.04), MOUTH, FACE),
      box((0.0, 0.0, -0.22), (0.27, 0.34, 0.36), tint(1.0)),
      box((0.04, 0.0, -0.23), (0.26, 0.22, 0.22), CREAM, FACE),
      ball((0.30, 0.0, -0.23), (0.06, 0.12, 0.12), ORANGE, FACE),
      *pair(cone, (0.0, 0.43, -0.16), (0.13, 0.11, 0.27), tint(0.72)),
      *hands((0.05, 0.46, -0.49), (0.15, 0.14, 0.14)),
      *pair(box, (0.02, 0.18, -0.72), (0.18, 0.13, 0.16), tint(0.6)),
      cone((0.0, 0.0, 0.70), (0.04, 0.03, 0.10), BLACK),
      ball((0.0, 0.0, 0.83), (0.09, 0.09, 0.09), ORANGE),
      box((-0.04, 0.0, 0.46), (0.28, 0.07, 0.12), ORANGE, BACK),
      *pack((-0.36, 0.0, -0.24), 0.26, 0.27),
      ball((-0.36, 0.0, -0.58), (0.22, 0.07, 0.07), BLACK, BACK),
      ball((-0.56, 0.0, -0.60), (0.10, 0.11, 0.11), LIME, BACK),
  ], top_hat((0.0, 0.0, 0.65), 0.18, 0.27)


def penguin():
  return [
      ball((0.0, 0.0, -0.24), (0.35, 0.41, 0.54), tint(1.0)),
      ball((0.02, 0.0, 0.43), (0.32, 0.35, 0.31), tint(1.0)),
      ball((0.15, 0.0, -0.25), (0.26, 0.32, 0.44), CREAM, FACE),
      *pair(ball, (0.15, 0.13, 0.42), (0.18, 0.16, 0.20), CREAM, FACE),
      *pair(ball, (0.31, 0.15, 0.48), (0.05, 0.075, 0.09), BLACK, FACE),
      ball((0.40, 0.0, 0.35), (0.19, 0.11, 0.075), ORANGE, FACE),
      *pair(ball, (0.0, 0.41, -0.15), (0.17, 0.10, 0.34), tint(0.62)),
      *hands((0.04, 0.48, -0.46), (0.15, 0.12, 0.14)),
      *pair(cone, (0.13, 0.18, -0.78), (0.20, 0.14, 0.08), ORANGE),
      *pack((-0.40, 0.0, -0.18), 0.26, 0.29),
      ball((-0.42, 0.0, -0.67), (0.24, 0.15, 0.08), tint(0.55), BACK),
      ball((-0.30, 0.0, 0.50), (0.06, 0.07, 0.15), ORANGE, BACK),
  ], top_hat((0.0, 0.0, 0.69), 0.17, 0.25)


def car():
  return [
      box((0.0, 0.0, -0.20), (0.74, 0.36, 0.20), tint(1.0)),
      box((-0.05, 0.0, 0.17), (0.42, 0.33, 0.22), tint(1.0)),
      box((-0.04, 0.0, 0.17), (0.44, 0.27, 0.16), GLASS, FACE),
      *pair(ball, (0.40, 0.12, 0.17), (0.05, 0.085, 0.10), BLACK, FACE),
      *pair(ball, (0.73, 0.25, -0.12), (0.07, 0.11, 0.11), LAMP, FACE),
      box((0.03, 0.0, -0.26), (0.74, 0.20, 0.06), BLACK, FACE),
      box((-0.05, 0.0, 0.18), (0.30, 0.355, 0.13), GLASS),
      *pair(ball, (0.44, 0.34, -0.38), (0.21, 0.09, 0.21), BLACK),
      *pair(ball, (-0.44, 0.34, -0.38), (0.21, 0.09, 0.21), BLACK),
      *pair(ball, (0.44, 0.40, -0.38), (0.09, 0.05, 0.09), TAN),
      *pair(ball, (-0.44, 0.40, -0.38), (0.09, 0.05, 0.09), TAN),
      *hands((0.12, 0.42, 0.00), (0.14, 0.12, 0.12)),
      *pack((-0.57, 0.0, 0.13), 0.28, 0.17, depth=0.13, roll=False),
      ball((-0.55, 0.0, 0.36), (0.12, 0.30, 0.09), LIME, BACK),
      *pair(box, (-0.03, 0.26, -0.13), (0.74, 0.09, 0.07), TAIL_LAMP, BACK),
      box((-0.03, 0.0, -0.28), (0.74, 0.16, 0.06), ORANGE, BACK),
  ], top_hat((-0.05, 0.0, 0.41), 0.20, 0.30)


def rabbit():
  return [
      ball((0.0, 0.0, -0.40), (0.33, 0.36, 0.37), tint(1.0)),
      ball((0.03, 0.0, 0.12), (0.33, 0.37, 0.31), tint(1.0)),
      *pair(ball, (0.0, 0.19, 0.60), (0.09, 0.13, 0.33), tint(0.9)),
      *pair(ball, (0.06, 0.19, 0.60), (0.06, 0.07, 0.24), PINK, FACE),
      ball((0.32, 0.0, 0.03), (0.11, 0.18, 0.12), CREAM, FACE),
      ball((0.42, 0.0, 0.09), (0.05, 0.07, 0.06), PINK, FACE),
      *pair(ball, (0.31, 0.17, 0.20), (0.05, 0.08, 0.10), BLACK, FACE),
      ball((0.18, 0.0, -0.38), (0.19, 0.25, 0.27), CREAM, FACE),
      *pair(ball, (0.10, 0.36, -0.28), (0.14, 0.11, 0.21), tint(0.8)),
      *hands((0.18, 0.44, -0.44), (0.14, 0.14, 0.14)),
      *pair(cone, (0.14, 0.17, -0.76), (0.20, 0.15, 0.10), tint(0.65)),
      *pack((-0.38, 0.0, -0.26), 0.25, 0.25),
      ball((-0.40, 0.0, -0.66), (0.18, 0.18, 0.17), CREAM, BACK),
  ], top_hat((0.06, 0.0, 0.42), 0.15, 0.27)


def rocket():
  return [
      cone((0.0, 0.0, -0.10), (0.36, 0.31, 0.44), tint(1.0)),
      cone((0.0, 0.0, 0.60), (0.31, 0.03, 0.27), tint(0.62)),
      cone((0.0, 0.0, -0.61), (0.27, 0.22, 0.09), BLACK),
      cone((0.0, 0.0, -0.79), (0.28, 0.18, 0.12), ORANGE),
      ball((0.22, 0.0, 0.12), (0.16, 0.25, 0.24), CREAM, FACE),
      *pair(ball, (0.36, 0.10, 0.18), (0.05, 0.07, 0.085), BLACK, FACE),
      ball((0.36, 0.0, 0.02), (0.05, 0.12, 0.045), MOUTH, FACE),
      box((0.12, 0.0, -0.34), (0.25, 0.20, 0.12), CREAM, FACE),
      box((0.14, 0.0, -0.34), (0.25, 0.13, 0.045), BLACK, FACE),
      *pair(box, (0.0, 0.42, -0.48), (0.07, 0.16, 0.20), tint(0.62)),
      *hands((0.0, 0.58, -0.32), (0.13, 0.13, 0.14)),
      box((-0.42, 0.0, -0.58), (0.16, 0.06, 0.14), tint(0.62), BACK),
      *pack((-0.38, 0.0, -0.12), 0.25, 0.27),
      ball((-0.46, 0.0, -0.60), (0.13, 0.16, 0.15), ORANGE, BACK),
  ], top_hat((0.0, 0.0, 0.62), 0.18, 0.29)


class Table(NamedTuple):
  """The primitives of one shape for all kinds, padded to P slots.

  center [K, P, 3], size [K, P, 3], paint [K, P, 4], region [K, P] int32 (0 = empty slot). A
  region of HAT shows only on figurines that wear one.
  """
  center: np.ndarray
  size: np.ndarray
  paint: np.ndarray
  region: np.ndarray


def _table(figurines, shape):
  rows = [[part for part in parts if part.shape == shape] for parts in figurines]
  slots = max(len(row) for row in rows)
  shape = (len(rows), slots)
  table = Table(np.zeros(shape + (3,), np.float32), np.ones(shape + (3,), np.float32),
                np.zeros(shape + (4,), np.float32), np.zeros(shape, np.int32))
  for k, row in enumerate(rows):
    for p, part in enumerate(row):
      table.center[k, p], table.size[k, p] = part.center, part.size
      table.paint[k, p], table.region[k, p] = part.paint, part.region
  return table


PARTS = tuple(parts + hat for parts, hat in (bear(), robot(), penguin(), car(), rabbit(), rocket()))
TABLES = {shape: _table(PARTS, shape) for shape in SHAPES}
