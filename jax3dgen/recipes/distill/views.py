"""Pictures of the object from known cameras, which a run's field is fitted to beside its objective.

A folder holds the pictures, with an alpha channel or over an even background, and cameras.json: a
list with an object for each picture: file, azimuth_deg, elevation_deg, distance, fovy_deg, and
whether it is orthographic, as in `core/camera.orbit`. All are square, of one size and one kind of
projection.
"""

import json
import pathlib

from flax import struct
import jax
import jax.numpy as jnp
import numpy as np
from scipy import ndimage

from jax3dgen.core import camera as cameras
from jax3dgen.core import files, rng
from jax3dgen.core.errors import ConfigError
from jax3dgen.core.types import Array, Camera
from jax3dgen.export import turntable
from jax3dgen.generator import pictures
from jax3dgen.scene import render, shading
from jax3dgen.train import optim

CAMERAS = 'cameras.json'
FIELDS = ('file', 'azimuth_deg', 'elevation_deg', 'distance', 'fovy_deg', 'orthographic')


@struct.dataclass
class Views:
  """rgb [V, S, S, 3] and alpha [V, S, S] of V pictures, in [0, 1], and their Camera."""
  rgb: Array
  alpha: Array
  camera: Camera


def read(folder):
  """The Views of a folder; ConfigError, which names the file, for what cannot be used."""
  folder = pathlib.Path(folder).expanduser()
  path = folder / CAMERAS
  try:
    rows = json.loads(path.read_text(encoding='utf-8'))
    table = {name: [row[name] for row in rows] for name in FIELDS}
    numbers = [np.asarray(table[name], float) for name in FIELDS[1:5]]
  except FileNotFoundError as error:
    raise ConfigError(f'config.views.folder={str(folder)!r} has no {CAMERAS}.') from error
  except (ValueError, KeyError, TypeError) as error:
    raise ConfigError(f'{path} is not a list of objects with {", ".join(FIELDS)}.') from error
  if not rows:
    raise ConfigError(f'{path} names no picture.')
  kinds = set(map(bool, table['orthographic']))
  if len(kinds) != 1:
    raise ConfigError(f'The cameras of {path} are not all orthographic, or all not.')
  rgba = [_rgba(folder / file) for file in table['file']]
  if len({image.shape for image in rgba}) > 1 or rgba[0].shape[0] != rgba[0].shape[1]:
    raise ConfigError(f'The pictures in {folder} are not square and of one size.')
  azimuth, elevation, distance, fovy = numbers
  camera = cameras.orbit(np.deg2rad(azimuth), np.deg2rad(elevation), distance, np.deg2rad(fovy),
                         orthographic=kinds.pop())
  rgba = np.stack(rgba)
  return Views(rgba[..., :3], rgba[..., 3], camera)


def _rgba(path):
  image = pictures.rgba(pictures.read(path))
  if np.asarray(image)[..., 3].min() < 255:
    return np.asarray(image, np.float32) / 255
  try:
    return unmixed(np.asarray(pictures.without_background(image), np.float32) / 255)
  except ConfigError as error:
    raise ConfigError(f'{path}: {error}') from error


def unmixed(rgba):
  """rgba [H, W, 4] of a picture over an even background, whose alpha is 0 there and 1 elsewhere,
  without the background's share in the object's outermost pixels.

  Such a pixel x is a mix of the background b, the median, and of a colour like that of the nearest
  pixel further inside, c: alpha = (x - b).(c - b) / |c - b|^2, at most 1 and at least so large that
  the colour, b + (x - b) / alpha, has channels in [0, 1].
  """
  rgb, alpha = rgba[..., :3], rgba[..., 3]
  inside = ndimage.binary_erosion(alpha > 0)
  if not inside.any() or alpha.all():
    return rgba
  nearest = ndimage.distance_transform_edt(~inside, return_distances=False, return_indices=True)
  color, behind = rgb[tuple(nearest)], np.median(rgb[alpha == 0], 0)[None, None]
  away = color - behind
  share = ((rgb - behind) * away).sum(-1) / np.maximum(np.square(away).sum(-1), 1e-6)
  room = np.where(rgb < behind, behind, 1.0 - behind)
  least = (np.abs(rgb - behind) / np.maximum(room, 1e-6)).max(-1)
  share = np.clip(share, np.minimum(least, 1.0), 1.0)[..., None]
  object_rgb = np.clip(behind + (rgb - behind) / np.maximum(share, 1e-6), 0.0, 1.0)
  edge = ((alpha > 0) & ~inside)[..., None]
  return np.where(edge, np.concatenate([object_rgb, share], -1), rgba)


def write(folder, images, names, azimuth_deg, elevation_deg, distance, fovy_deg, orthographic):
  """Writes `read`'s folder of pictures [V, S, S, 3] in [0, 1] with `names` and the angles [V]; the
  other settings are those of all."""
  rows = [dict(zip(FIELDS, (f'{name}.png', float(azimuth), float(elevation), distance, fovy_deg,
                            orthographic), strict=True))
          for name, azimuth, elevation in zip(names, azimuth_deg, elevation_deg, strict=True)]
  for row, image in zip(rows, images, strict=True):
    turntable.write_png(folder / row['file'], image)
  with files.replacing(folder / CAMERAS) as beside:
    beside.write_text(json.dumps(rows, indent=1) + '\n', encoding='utf-8')


def penalty(cfg, options, field, params, views, key, frac, step):
  """(weighted penalty [], {'views_color', 'views_opacity'}) of one of the pictures, at random.

  The mean square error of the field's colours over a random colour, and of its opacity; `options`
  are the renderer's. Over the colour of the picture's own background, fog of that colour is free.
  """
  k = jax.random.randint(rng.stream(key, 'picture'), (), 0, len(views.alpha))
  rgb, alpha, camera = jax.tree.map(lambda x: jnp.asarray(x)[k][None],
                                    (views.rgb, views.alpha, views.camera))
  rays = cameras.rays(camera, *alpha.shape[1:])
  out = render.render_rays(rng.stream(key, 'ray'), field.query, params, rays, options, frac)
  background = shading.random_color(rng.stream(key, 'color'))(rays.direction)
  true = rgb * alpha[..., None] + background * (1.0 - alpha[..., None])
  errors = {'views_color': jnp.mean((shading.composite(out, background) - true) ** 2),
            'views_opacity': jnp.mean((out.opacity - alpha) ** 2)}
  weights = {f'views_{name}': optim.scalar(cfg.views[name], step) for name in ('color', 'opacity')}
  return sum(weights[name] * errors[name] for name in errors), errors
