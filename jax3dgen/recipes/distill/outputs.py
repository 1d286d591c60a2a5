"""The results of a distillation run: mesh, turntable, figures and report in its workdir.

Everything is computed from the final field, so a run that was killed here repeats all of it.
result.json is written last: where it exists, all other results exist too.
"""

import functools
import hashlib
import json
import math
import time

import jax
from matplotlib import image as png
import numpy as np

from jax3dgen.core import camera as cameras
from jax3dgen.core import files, image, parallel, tree
from jax3dgen.core.errors import MeshError
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
  labels, params = referee.labels(), referee.load()
  draw = renderer(parts, scene_step.stage_at(parts.cfg, parts.cfg.train.steps).size)
  camera = janus.view_cameras(*lens(parts.cfg))

  def judge(field, prompt):
    prompt_words = words.with_synonyms(prompt)
    label = lambda names: next((name for name in names if name in prompt_words), None)
    return janus.evaluate_views(params, draw(field, camera), labels, label(labels.kinds),
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


def few_faces(cfg, surface):
  """(mesh with config.result.faces faces, its Hausdorff distance from `surface` in units)."""
  return texture.simplify(surface, cfg.result.faces) if cfg.result.faces else (surface, 0.0)


def textured(parts, field, surface, uncut):
  """(Texture of a mesh with the field's colours, its `texture.psnr`); None, None where
  config.result.texture is 0."""
  size, spacing = parts.cfg.result.texture, 2.0 / (parts.cfg.result.mesh_resolution - 1)
  if not size:
    return None, None
  query = parts.field.query
  baked = texture.bake(query, field, surface, texture.unwrap(surface, size), size, spacing, uncut)
  return baked, texture.psnr(query, field, surface, baked, spacing, uncut)


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
  """Writes mesh.glb, turntable.mp4, report.html and result.json; returns the figures (a dict).

  `fields` are the final parameters, `began` is when this process began (time.monotonic()). Raises
  MeshError, and writes no result, where a field has no surface. These are the results of the first
  of several particles; for the others see `write_particles`.
  """
  cfg = parts.cfg
  particles = write_particles(parts, workdir, fields)
  field = scene_step.particle(cfg, fields, 0)
  generated, distance = few_faces(cfg, mesh.extract(parts.field.query, field,
                                                    cfg.result.mesh_resolution))
  before = drop(cfg, generated)
  surface, flat_cut, (fall, stability) = cut_to_stand(cfg, generated, before)
  judgement = make_judge(parts)(field, cfg.prompt)
  draw = renderer(parts, cfg.result.turntable_size)
  camera = ring(cfg, cfg.result.turntable_frames)
  frames = [draw(field, jax.tree.map(lambda x, i=i: x[i:i + 1], camera))[0]
            for i in range(cfg.result.turntable_frames)]
  picture, texture_db = textured(parts, field, surface, generated)
  mesh_io.write(workdir / 'mesh.glb', surface, picture)
  turntable.write_video(workdir / 'turntable.mp4', np.stack(frames))
  figures = {
      'prompt': cfg.prompt, 'steps': cfg.train.steps, 'seed': cfg.seed,
      'seconds': round(time.monotonic() - began, 1),
      'peak_memory_gib': round(memory.peak() / memory.GIB, 3),
      'params_digest': tree.digest(field), 'config_digest': config_digest(config), **judgement,
      **stability, 'flat_cut': flat_cut, 'stable_uncut': before[1]['stable'],
      'rotation_deg_uncut': before[1]['rotation_deg'],
      'vertices': len(surface.vertices), 'faces': len(surface.faces),
      'watertight': mesh.is_watertight(surface.faces)}
  if cfg.result.faces:
    figures['hausdorff'] = distance
  if picture:
    figures['texture_psnr'] = texture_db
  if particles:
    figures['particles'] = particles
  report.write_report(
      workdir / 'report.html', cfg.prompt, figures, config.to_dict(), command, mesh=surface,
      rest=native.path(fall.motion) if fall and not fall.diverged else None, fps=MOTION_FPS,
      film=workdir / 'turntable.mp4', glb=workdir / 'mesh.glb', previews=previews(workdir),
      curves=workdir / 'metrics.csv')
  with files.replacing(workdir / 'result.json') as path:
    path.write_text(json.dumps(figures, indent=2) + '\n', encoding='utf-8')
  return figures
