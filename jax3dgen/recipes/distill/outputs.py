"""The results of a distillation run: mesh, turntable, figures and report in its workdir.

Everything is computed from the final field, so a run that was killed here repeats all of it.
result.json is written last: where it exists, all other results exist too.
"""

from collections.abc import Callable
import functools
import hashlib
import json
import math
import time
from typing import Any, NamedTuple

import jax
from matplotlib import image as png
import numpy as np

from jax3dgen.core import camera as cameras
from jax3dgen.core import files, image, parallel, tree
from jax3dgen.core.errors import MeshError
from jax3dgen.core.types import Mesh
from jax3dgen.export import mesh_io, report, turntable
from jax3dgen.metrics import janus, referee
from jax3dgen.physics import body, native
from jax3dgen.prior import words
from jax3dgen.recipes.distill import step as scene_step
from jax3dgen.scene import mesh, render, shading, texture
from jax3dgen.train import memory

PREVIEW_VIEWS = 8
CHUNK = 4096  # rays rendered together
MOTION_FPS = 30  # of the drop that the report plays


def lens(cfg):
  """(distance in units, field of view in radians) in the middle of the ranges of the training
  views."""
  return np.mean(cfg.camera.distance), np.deg2rad(np.mean(cfg.camera.fovy_deg))


def ring(cfg, count):
  """`count` cameras evenly around the object, the first facing its front."""
  return cameras.ring(count, np.deg2rad(cfg.result.elevation_deg), *lens(cfg))


def renderer(parts, size):
  """(field parameters, Camera) -> images [B, size, size, 3], centred samples, compiled once."""
  cfg = parts.cfg
  background = shading.constant(cfg.render.background)

  @functools.partial(jax.jit, static_argnums=2)
  def draw(params, camera, chunk):
    return render.render_image(parts.field.query, params, camera, size,
                               scene_step.render_options(cfg), background, chunk=chunk)

  return lambda params, camera: memory.halve_once(
      lambda chunk: jax.block_until_ready(draw(params, camera, chunk)), CHUNK)


def previewer(parts, workdir):
  """(step, replicated state) -> None: writes previews/STEP.png, a strip of 8 azimuths (of each
  particle)."""
  draw = renderer(parts, parts.cfg.log.preview_size)
  camera = ring(parts.cfg, PREVIEW_VIEWS)

  def write(step, state):
    picture = strip(draw, parts.cfg, parallel.unreplicate(state.field), camera)
    turntable.write_png(workdir / 'previews' / f'{step:06d}.png', picture)
  return write


def strip(draw, cfg, fields, camera):
  """The views [S, V S, 3] of `camera` side by side, drawn by a `renderer`; a row per particle."""
  return np.concatenate([
      image.grid(draw(scene_step.particle(cfg, fields, k), camera), len(camera.azimuth))
      for k in range(cfg.train.particles)])


def previews(workdir):
  """[(step, strip uint8 [H, W, 3])] of the previews written so far, oldest first."""
  paths = sorted((workdir / 'previews').glob('*.png'))
  return [(int(p.stem), png.imread(p)[..., :3]) for p in paths]


def make_judge(parts):
  """(field, prompt) -> the referee's figures of its views from 24 azimuths (see `metrics/janus`).
  """
  draw, judge = renderer(parts, judged_size(parts.cfg)), judge_of_views(parts.cfg)
  return lambda field, prompt: judge(functools.partial(draw, field), prompt)


def judged_size(cfg):
  """Pixels per side of the views that the referee judges: those of the last training views."""
  return scene_step.stage_at(cfg, cfg.train.steps).size


def judge_of_views(cfg):
  """(draw, prompt) -> the referee's figures of what `draw` (Camera) -> images draws from 24
  azimuths."""
  labels, params = referee.labels(), referee.load()
  camera = janus.view_cameras(*lens(cfg))

  def judge(draw, prompt):
    prompt_words = words.with_synonyms(prompt)
    label = lambda names: next((name for name in names if name in prompt_words), None)
    return janus.evaluate_views(params, draw(camera), labels, label(labels.kinds),
                                label(labels.colors))
  return judge


def drop(cfg, surface):
  """(Drop or None, figures) of the mesh dropped upright on the floor in C MuJoCo."""
  try:
    solid = body.from_mesh(surface)
    fall = native.drop(solid, seconds=cfg.result.drop_seconds, threshold_deg=cfg.result.stable_deg,
                       fps=MOTION_FPS)
  except MeshError as e:
    return None, {'stable': None, 'rotation_deg': None, 'body': str(e)}
  return fall, {'stable': fall.stable, 'body': solid.status,
                'rotation_deg': None if fall.diverged else fall.rotation_deg}


def cut_to_stand(cfg, generated, before):
  """(mesh, share of its height cut off below, its `drop`).

  The smallest flat cut, in hundredths of the height and at most config.result.flat_cut, with which
  the mesh stands; the uncut mesh and its drop, `before`, where it stands uncut or no cut helps.
  """
  if before[1]['stable']:
    return generated, 0.0, before
  for share in np.arange(1, 1 + math.floor(100 * cfg.result.flat_cut + 1e-9)) / 100:
    try:
      surface = mesh.flat_cut(generated, float(share))
    except MeshError:
      break
    after = drop(cfg, surface)
    if after[1]['stable']:
      return surface, float(share), after
  return generated, 0.0, before


class Asset(NamedTuple):
  """A finished object: its Mesh; draw (pixels per side) -> (Camera) -> images [B, H, W, 3]; color,
  as in `texture.bake`, with the distance from its surface up to which it holds; and what made it.
  """
  surface: Mesh
  draw: Callable
  color: Callable
  reach: float
  params: Any


def field_asset(parts, field):
  """The Asset of a field."""
  cells, query = parts.cfg.result.mesh_resolution, parts.field.query
  spacing = 2.0 / (cells - 1)
  return Asset(mesh.extract(query, field, cells),
               lambda size: functools.partial(renderer(parts, size), field),
               lambda points, normals: mesh.colors_at(query, field, points, normals, spacing),
               spacing, field)


def textured(cfg, asset, surface):
  """(Texture of a mesh with an Asset's colours, its `texture.psnr`); None, None where
  config.result.texture is 0."""
  size = cfg.result.texture
  if not size:
    return None, None
  color = texture.of_uncut(asset.color, asset.surface, asset.reach)
  baked = texture.bake(color, surface, texture.unwrap(surface, size), size)
  return baked, texture.psnr(color, surface, baked)


def config_digest(config):
  """sha256 of the config without its fields for logs and checkpoints, which change no result."""
  plain = {k: v for k, v in config.to_dict().items() if k not in ('log', 'checkpoint')}
  return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def write_particles(parts, workdir, fields):
  """Writes particles/K.glb of all particles but the first; returns the referee's figures of them.
  """
  figures, judge = [], make_judge(parts)
  for k in range(1, parts.cfg.train.particles):
    field = scene_step.particle(parts.cfg, fields, k)
    surface = mesh.extract(parts.field.query, field, parts.cfg.result.mesh_resolution)
    mesh_io.write(workdir / 'particles' / f'{k}.glb', surface)
    figures.append(judge(field, parts.cfg.prompt))
  return figures


def write(parts, workdir, fields, config, began, command):
  """`write_asset` of the field with the final parameters `fields`; of several particles the first,
  for the others see `write_particles`. MeshError, and no result, where a field has no surface."""
  particles = write_particles(parts, workdir, fields)
  asset = field_asset(parts, scene_step.particle(parts.cfg, fields, 0))
  return write_asset(parts.cfg, workdir, asset, config, began, command, previews(workdir),
                     workdir / 'metrics.csv', {'particles': particles} if particles else {})


def write_asset(cfg, workdir, asset, config, began, command, strips, curves, more=None):
  """Writes mesh.glb, turntable.mp4, report.html and result.json; returns the figures (a dict), with
  those of `more`. `began` is when this process began (time.monotonic()), `strips` and `curves` are
  the previews and curves of `report.write_report`."""
  generated, distance = (texture.simplify(asset.surface, cfg.result.faces) if cfg.result.faces
                         else (asset.surface, None))
  before = drop(cfg, generated)
  surface, flat_cut, (fall, stability) = cut_to_stand(cfg, generated, before)
  judgement = judge_of_views(cfg)(asset.draw(judged_size(cfg)), cfg.prompt)
  draw, camera = asset.draw(cfg.result.turntable_size), ring(cfg, cfg.result.turntable_frames)
  frames = [draw(jax.tree.map(lambda x, i=i: x[i:i + 1], camera))[0]
            for i in range(cfg.result.turntable_frames)]
  picture, texture_db = textured(cfg, asset, surface)
  mesh_io.write(workdir / 'mesh.glb', surface, picture)
  turntable.write_video(workdir / 'turntable.mp4', np.stack(frames))
  figures = {
      'prompt': cfg.prompt, 'steps': cfg.train.steps, 'seed': cfg.seed,
      'seconds': round(time.monotonic() - began, 1),
      'peak_memory_gib': round(memory.peak() / memory.GIB, 3),
      'params_digest': tree.digest(asset.params), 'config_digest': config_digest(config),
      **judgement, **stability, 'flat_cut': flat_cut, 'stable_uncut': before[1]['stable'],
      'rotation_deg_uncut': before[1]['rotation_deg'],
      'vertices': len(surface.vertices), 'faces': len(surface.faces),
      'watertight': mesh.is_watertight(surface.faces)}
  figures |= {name: value for name, value in (('hausdorff', distance), ('texture_psnr', texture_db))
              if value is not None} | (more or {})
  report.write_report(
      workdir / 'report.html', cfg.prompt, figures, config.to_dict(), command, mesh=surface,
      rest=native.path(fall.motion) if fall and not fall.diverged else None, fps=MOTION_FPS,
      film=workdir / 'turntable.mp4', glb=workdir / 'mesh.glb', previews=strips, curves=curves)
  with files.replacing(workdir / 'result.json') as path:
    path.write_text(json.dumps(figures, indent=2) + '\n', encoding='utf-8')
  return figures
