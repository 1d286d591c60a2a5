"""The objects of an evaluation: finished runs and folders of pictures, as views round an object.

Axes: V views evenly round the object, the first from its front, counter-clockwise; S pixels.
"""

from collections.abc import Callable
import contextlib
import functools
import json
import math
import pathlib
from typing import NamedTuple

from ml_collections import ConfigDict
import numpy as np
from PIL import Image

from jax3dgen.core import camera as cameras
from jax3dgen.core import image
from jax3dgen.core.errors import ConfigError, Jax3dgenError
from jax3dgen.export import mesh_io
from jax3dgen.recipes.distill import config as distill_config
from jax3dgen.recipes.distill import outputs
from jax3dgen.recipes.distill import parts as distill_parts
from jax3dgen.recipes.distill import step as scene_step
from jax3dgen.scene import zbuffer
from jax3dgen.train import checkpoint

SOURCES = ('auto', 'mesh', 'field', 'previews')
SAMPLES = 3  # rays per side of a pixel of a mesh


class Item(NamedTuple):
  """One object: its name, its prompt, the figures of its run, the source of its pictures (one of
  SOURCES, or 'pictures'), and views() -> [V, S, S, 3] in [0, 1]."""
  name: str
  prompt: str
  figures: dict
  source: str
  views: Callable


def count(views):
  """The least common multiple of the numbers of views in the section `views`."""
  return math.lcm(views.fid, views.entropy, views.janus, views.diversity)


def pick(rows, number):
  """`number` evenly spaced rows of [V, ...]; all of them where there are fewer."""
  if len(rows) <= number:
    return rows
  return rows[np.arange(number) * len(rows) // number]


def find(config):
  """([Item], [(name, reason)]) of config.runs: the objects, and what cannot be used. config.runs is
  a run, a folder of runs, `cells` in a workdir of experiments.compare, or a folder of pictures.

  A single run that cannot be used raises its ConfigError.
  """
  root = pathlib.Path(config.runs)
  if not config.runs or not root.is_dir():
    raise ConfigError(f'config.runs={config.runs!r} is no folder; name a workdir of '
                      'experiments.distill, a folder of them, or a folder of pictures.')
  if _settings(root):
    return of_run(root, root.name, config), []
  folders = sorted(p.parent for p in root.rglob('config.json') if _settings(p.parent))
  if not folders:
    return of_cells(root) or of_pictures(root, config), []
  items, faults = [], []
  for folder in folders:
    name = str(folder.relative_to(root))
    try:
      items += of_run(folder, name, config)
    except Jax3dgenError as error:
      faults.append((name, str(error)))
  if not items:
    raise ConfigError(f'None of the {len(faults)} runs in {root} can be used; the first: '
                      f'{faults[0][1]}')
  return items, faults


def _settings(folder):
  """The config.json of a distillation's workdir as a dict; None where `folder` is none."""
  try:
    settings = json.loads((folder / 'config.json').read_text(encoding='utf-8'))
  except (OSError, ValueError):
    return None
  fields = {'distill', 'camera', 'prompt', 'train'}
  return settings if isinstance(settings, dict) and fields <= set(settings) else None


def of_run(folder, name, config):
  """[Item], one for each particle, of the workdir `folder` of experiments.distill; ConfigError
  where the run is not finished."""
  settings = _settings(folder)
  try:
    figures = json.loads((folder / 'result.json').read_text(encoding='utf-8'))
  except (OSError, ValueError) as error:
    raise ConfigError(f'{folder} is not finished: it has no whole result.json; the same command '
                      'again resumes it.') from error
  available = {'mesh': (folder / 'mesh.glb').is_file(), 'field': (folder / 'checkpoints').is_dir(),
               'previews': bool(list((folder / 'previews').glob('*.png')))}
  source = config.source
  if source == 'auto':
    source = next((name for name in available if available[name]), None)
  if source is None or not available[source]:
    raise ConfigError(f'{folder} holds no {"mesh, field or previews" if source is None else source}'
                      ' to evaluate.')
  load_views = {'mesh': _of_mesh, 'field': _of_field, 'previews': _of_previews}[source]
  return [Item(f'{name}:{k}' if k else name, settings['prompt'], figures, source,
               lambda k=k: load_views(folder, settings, config.views, k))
          for k in range(settings['train'].get('particles', 1))]


def of_cells(root):
  """[Item] of the finished runs of experiments.compare below `root`, the folder `cells` of its
  workdir: their last strips of views.

  Empty without any; a failed run has no strip.
  """
  items = []
  for strip in sorted(root.rglob('*.png')):
    try:
      row = json.loads(strip.with_suffix('.json').read_text(encoding='utf-8'))
      name = f'{row["method"]}/{strip.stem}'
      items.append(Item(name, row['prompt'], row, 'previews', functools.partial(_of_strip, strip)))
    except (OSError, ValueError, TypeError, KeyError):
      continue
  return items


def _of_strip(path):
  return split(read_all([path])[0], path)


def _ring(cfg, views):
  return cameras.ring(count(views), np.deg2rad(views.elevation_deg), *outputs.lens(cfg))


def _of_mesh(folder, settings, views, particle):
  cfg = ConfigDict(settings)
  mesh = mesh_io.read(folder / (f'particles/{particle}.glb' if particle else 'mesh.glb'))
  return zbuffer.render(mesh, _ring(cfg, views), views.size, cfg.render.background, SAMPLES)


def _of_field(folder, settings, views, particle):
  config = run_config(settings)
  parts = distill_parts.build(config)
  with contextlib.closing(checkpoint.Checkpoints(folder / 'checkpoints', config.checkpoint.keep,
                                                 config.to_json())) as checkpoints:
    latest = checkpoints.restore(parts.state)
  if latest is None:
    raise ConfigError(f'{folder} holds no checkpoint to render.')
  field = scene_step.particle(config, latest[1].field, particle)
  return np.asarray(outputs.renderer(parts, views.size)(field, _ring(config, views)))


def _of_previews(folder, settings, views, particle):
  strips = np.split(outputs.previews(folder)[-1][1], settings['train'].get('particles', 1))
  return split(strips[particle], folder)


def run_config(settings):
  """The complete config of a run from `settings`, the dict of its config.json."""
  config = distill_config.default_config()
  with config.unlocked():
    for name, value in settings.items():
      if name == 'devices':
        continue
      if not isinstance(value, dict):
        config[name] = value
        continue
      for field, inner in value.items():
        config[name][field] = tuples(inner)
  return distill_config.complete(config)


def tuples(value):
  """`value` with tuples for JSON's lists, which were tuples in the config."""
  return tuple(map(tuples, value)) if isinstance(value, list) else value


def of_pictures(root, config):
  """[Item] of a folder of PNG files of one size, all to be config.prompt.

  Strips (several squares beside each other, as previews are) are an object each; square pictures
  are the views of one object, in the order of their names.
  """
  paths = sorted(root.glob('*.png'))
  if not paths:
    raise ConfigError(f'{root} holds neither a finished run of experiments.distill nor a PNG file.')
  if not config.prompt.strip():
    raise ConfigError('config.prompt is empty: name the prompt of the pictures.')
  pictures = read_all(paths)
  if pictures[0].shape[0] == pictures[0].shape[1]:
    return [Item(root.name, config.prompt, {}, 'pictures', lambda: np.stack(pictures))]
  views = [split(picture, path) for picture, path in zip(pictures, paths, strict=True)]
  return [Item(path.stem, config.prompt, {}, 'pictures', lambda x=x: x)
          for path, x in zip(paths, views, strict=True)]


def read_all(paths):
  """Pictures [H, W, 3] in [0, 1] of PNG files, all of one size; transparent ones lie on white."""
  pictures = []
  for path in paths:
    try:
      with Image.open(path) as file:
        rgba = np.asarray(file.convert('RGBA'), np.float32) / 255
    except OSError as error:
      raise ConfigError(f'{path} cannot be read as a picture.') from error
    pictures.append(image.over(rgba, 1.0))
    if pictures[-1].shape != pictures[0].shape:
      (h, w), (height, width) = pictures[-1].shape[:2], pictures[0].shape[:2]
      raise ConfigError(f'{path} is {w} x {h} pixels, but {paths[0].name} is {width} x {height}: '
                        'all pictures of a folder have one size.')
  return pictures


def split(strip, where):
  """The squares [V, H, H, 3] of a strip [H, V H, 3]; ConfigError where it is none."""
  height, width = strip.shape[:2]
  if width % height:
    raise ConfigError(f'{where}: a picture of {width} x {height} pixels is no row of squares.')
  return np.asarray(strip, np.float32).reshape(height, -1, height, 3).transpose(1, 0, 2, 3)
