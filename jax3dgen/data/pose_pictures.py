"""The shipped pose templates: renders of figurines from four sides, and line drawings of them."""

import jax.numpy as jnp
import numpy as np

from jax3dgen.core import camera as cameras
from jax3dgen.core import image
from jax3dgen.data import figurines
from jax3dgen.perception import templates

COLOR = 'gray'  # a colour of few prompts
ELEVATION_DEG, DISTANCE, FOVY_DEG = 15.0, 2.9, 40.0
SIZE = 64
FINE = 4  # resolution of renders for sketches, relative to SIZE
EDGE = 0.1  # colour difference of neighbouring fine pixels at a line


def renders(kind, size=SIZE, samples=4, turned_deg=0.0):
  """The figurine of a kind (a name) from the front, left, back and right, or from `turned_deg`
  further round: [4, size, size, 3], by samples x samples rays a pixel."""
  azimuth = np.deg2rad(turned_deg + 360.0 * np.arange(len(templates.POSES)) / len(templates.POSES))
  camera = cameras.orbit(azimuth, np.deg2rad(ELEVATION_DEG), DISTANCE, np.deg2rad(FOVY_DEG))
  full = lambda i: jnp.full((len(templates.POSES),), i, jnp.int32)
  figurine = figurines.Figurine(kind=full(figurines.KINDS.index(kind)),
                                color=full(figurines.COLORS.index(COLOR)), hat=full(0))
  return np.asarray(figurines.render(figurine, camera, size, samples).rgb)


def sketch(pictures, size=SIZE):
  """Line drawings [B, size, size, 3] of pictures [B, H, H, 3], H a multiple of size: black where
  the colour changes, white elsewhere."""
  down = np.linalg.norm(np.diff(pictures, axis=1, prepend=1.0), axis=-1)
  across = np.linalg.norm(np.diff(pictures, axis=2, prepend=1.0), axis=-1)
  lines = np.where(np.hypot(down, across) > EDGE, 0.0, 1.0).astype(np.float32)
  sketches = image.resize(jnp.asarray(lines)[..., None], (size, size))
  return np.repeat(np.asarray(sketches), 3, -1)


def draw(kind):
  """{path below the folder of templates: picture [SIZE, SIZE, 3]} of a kind: renders, line drawings
  and turned renders."""
  sets = {'': renders(kind), 'sketches/': sketch(renders(kind, FINE * SIZE, 1)),
          'turned/': renders(kind, turned_deg=templates.TURN_DEG)}
  return {f'{folder}{kind}/{name}.png': picture for folder, pictures in sets.items()
          for name, picture in zip(templates.POSES, pictures, strict=True)}
