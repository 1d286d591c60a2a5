"""Images as particles: N images moved by any objective directly, without a scene.

The directions that move the renders of one field in a distillation run here move N separate images
in the prior's space, each with its own camera, evenly round the object (RecDreamer, Appendix E and,
with config.distill.control, C.5). The step is `scene_step`'s. `run(config, workdir)` is what
`python -m experiments.particles` calls; it resumes like a distillation run.
"""

import contextlib
import functools
import json
import pathlib
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict, FrozenConfigDict
import numpy as np
import optax

from jax3dgen.core import camera as cameras
from jax3dgen.core import files, image, parallel
from jax3dgen.core.errors import ConfigError
from jax3dgen.distill import base
from jax3dgen.export import turntable
from jax3dgen.metrics import entropy, janus, referee
from jax3dgen.recipes.distill import config as distill_config
from jax3dgen.recipes.distill import outputs, train_state
from jax3dgen.recipes.distill import parts as distill_parts
from jax3dgen.recipes.distill import run as distill
from jax3dgen.recipes.distill import step as scene_step
from jax3dgen.recipes.particles import page as particles_page
from jax3dgen.train import checkpoint, loop, optim
from jax3dgen.train import workdir as workdirs

complete = distill.complete
LEFT_OUT = ('field', 'render', 'shading', 'regularizers', 'watch', 'result')  # a scene's settings


class Images(NamedTuple):
  """The parameters of a run: init(key) -> {'x0': images in the prior's space [N, h, w, c]}."""
  init: Any


class Parts(NamedTuple):
  """The parts of a run, built from its config before anything compiles."""
  cfg: FrozenConfigDict
  prior: Any
  params: Any
  prompt: Any
  camera: Any
  distillation: base.Distillation
  tx: optax.GradientTransformation
  fit_tx: optax.GradientTransformation
  state: train_state.TrainState
  provide: Any


def default_config():
  """A locked ConfigDict: that of a distillation run without a scene; an unknown field raises."""
  c = distill_config.default_config().unlock()
  for name in LEFT_OUT:
    del c[name]
  del c.train.batch, c.log.preview_size
  c.view_prompts = False
  c.particles = ConfigDict()
  c.particles.count = 16  # images, over all devices together; all of them are in every step
  c.particles.size = 32  # pixels per side, before the prior's encoder
  c.particles.spread = 0.5  # standard deviation of the noise that the images start as
  c.lock()
  c.distill.unlock()
  return c


def check(config):
  """ConfigError for the first field with an invalid value."""
  for name, least in (('count', 1), ('size', 1), ('spread', 0.0)):
    if config.particles[name] < least:
      raise ConfigError(f'config.particles.{name}={config.particles[name]!r} is not {least} or '
                        'more.')
  whole = distill_config.default_config().unlock()
  resolved = config.copy_and_resolve_references()
  whole.update({k: v for k, v in resolved.items() if k != 'particles'})
  distill_config.check(whole)
  count = parallel.device_count()
  if config.particles.count % count:
    raise ConfigError(f'config.particles.count={config.particles.count} cannot be shared evenly by '
                      f'{count} devices.')


def build(config):
  """Parts of a run of a complete config; a Jax3dgenError for an invalid config."""
  distillation, _ = base.load(config.distill.name)
  check(config)
  whole = config.copy_and_resolve_references().unlock()
  whole.train.batch = config.particles.count  # views per step, for `scene_step`
  cfg = FrozenConfigDict(whole)
  prior, params, prompt, provide = distill_parts.load_prior(cfg)
  distill_config.check_levels(cfg, prior.schedule.safe_range)
  c = cfg.particles
  picture = jax.ShapeDtypeStruct((c.count, c.size, c.size, 3), jnp.float32)
  shape = jax.eval_shape(prior.encode, params, picture).shape
  lens = [np.mean(cfg.camera.elevation_deg), np.mean(cfg.camera.fovy_deg)]
  camera = cameras.ring(c.count, np.deg2rad(lens[0]), np.mean(cfg.camera.distance),
                        np.deg2rad(lens[1]))
  key, images_key = distill_parts.keys(cfg)
  tx = optim.adam(cfg.optim.rates, {'x0': picture}, eps=cfg.optim.eps, clip=cfg.optim.clip,
                  accumulate=cfg.train.accumulate)
  fit_tx = optim.fit_adam(cfg.optim)
  images = Images(lambda key: {'x0': c.spread * jax.random.normal(key, shape)})
  start = train_state.init(key, images_key, images, params, distillation, tx, fit_tx, cfg.distill)
  return Parts(cfg, prior, params, prompt, camera, distillation, tx, fit_tx, start,
               provide)


def image_step(parts, axis_name, count=None):
  """The training step of `Parts` for `count` devices, each of which has its share of the images."""
  count = count or parallel.device_count()
  share = parts.cfg.particles.count // count

  def observe(params, shared, local, index, step):
    local_rows = lambda x: jax.lax.dynamic_slice_in_dim(x, index * share, share)

    def show(images):
      x0 = local_rows(images['x0'])
      picture = jnp.clip(parts.prior.decode(params, x0), 0.0, 1.0)
      return (x0, jnp.zeros(())), (picture, jnp.zeros(x0.shape[:3] + (3,)), {})
    return jax.tree.map(local_rows, parts.camera), show
  return scene_step.make_step(observe, parts.prior, parts.distillation, parts.tx, parts.fit_tx,
                              parts.cfg, count, axis_name)


def run(config, workdir, allow_change=False, command=''):
  """Moves config.particles.count images to `config.prompt`; returns the figures of result.json."""
  parallel.initialize()
  config, workdir = complete(config), pathlib.Path(workdir)
  began = time.monotonic()
  parts = build(config)
  axes, fixed = distill_parts.place(parts)
  step = parallel.map(image_step(parts, parallel.AXIS), 3, axes)
  step.lower(parallel.replicate(parts.state), *fixed)  # refusals in tracing, before any file
  with workdirs.lock(workdir):
    workdirs.check_config(workdir, config, allow_change)
    with contextlib.closing(checkpoint.Checkpoints(
        workdir / 'checkpoints', config.checkpoint.keep, config.to_json())) as checkpoints:
      start, state = checkpoints.restore(parts.state) or (0, parts.state)
      figures = parallel.from_main(lambda: distill.complete_figures(workdir, config))
      if figures and start == config.train.steps:
        print(f'{workdir} is finished: {start} steps of {config.prompt!r}.')
        return figures
      if start < config.train.steps:
        parts, fixed = distill_parts.with_templates(parts, axes, fixed, workdir, start == 0)
        preview = previewer(parts, workdir)
        state = loop.optimise(
            config, workdir, [step] * (config.train.steps - start), start, state, checkpoints,
            config.prompt, fixed, lambda writer: [(config.log.preview_every, preview)])
    return parallel.from_main(write, parts, workdir, state, config, began, command)


def pictures(parts, train_state):
  """The particles as images [N, H, W, 3] in [0, 1], on the host."""
  return np.clip(np.asarray(jax.jit(parts.prior.decode)(parts.params, train_state.field['x0'])),
                 0.0, 1.0)


@functools.cache
def judging():
  """The compiled referee: images [N, H, W, 3] -> Judgement."""
  params = referee.load()
  return jax.jit(lambda images: referee.classify(params, images))


def judge(images):
  """Figures of the pictures [N, H, W, 3] by the referee: shares and means, plain Python values.

  `poses` are the shares of front, back, left and right (each picture's likeliest), `pose_entropy`
  that of its mean probabilities in nats; `right_pose` the share whose likeliest pose is that of its
  camera.
  """
  judgement = judging()(jnp.asarray(images))
  p = np.asarray(janus.view_probabilities(judgement.sector), np.float64)
  mean, best = p.mean(0), p.argmax(-1)
  target = np.asarray(cameras.view_class(jnp.arange(len(p)) * (2 * np.pi / len(p))))
  return {
      'poses': {name: float((best == k).mean()) for k, name in enumerate(cameras.VIEWS)},
      'mean_poses': {name: float(mean[k]) for k, name in enumerate(cameras.VIEWS)},
      'pose_entropy': entropy.of_mean(p),
      'right_pose': float((best == target).mean()),
      'rejected': float((judgement.kind.argmax(-1) == judgement.kind.shape[-1] - 1).mean()),
      'face': float((judgement.face > 0.5).mean())}


def previewer(parts, workdir):
  """(step, replicated state) -> None: writes previews/STEP.png, all particles in a row."""
  def preview(step, replicated):
    images = pictures(parts, parallel.unreplicate(replicated))
    turntable.write_png(workdir / 'previews' / f'{step:06d}.png', image.grid(images, len(images)))
  return preview


def averages(buffers):
  """The rectifier's averages [intervals, K] where the objective has them, else None."""
  table = buffers.get('poses') if isinstance(buffers, dict) else None
  return None if table is None else np.asarray(table).tolist()


def write(parts, workdir, train_state, config, began, command):
  """Writes the pictures, particles.md and, last, result.json; returns its figures."""
  images, c = pictures(parts, train_state), parts.cfg
  strips = outputs.previews(workdir)
  turntable.write_png(workdir / 'particles.png',
                      np.concatenate([image.enlarge(strip, 2) for _, strip in strips]))
  table = averages(train_state.distill.buffers)
  figures = {
      'prompt': c.prompt, 'objective': c.distill.name, 'steps': c.train.steps, 'seed': c.seed,
      'particles': c.particles.count, 'control': bool(c.distill.get('control', False)),
      **judge(images), 'averages': table, 'seconds': round(time.monotonic() - began, 1),
      'config_digest': outputs.config_digest(config)}
  timeline = [(step, judge(cells(strip, c.particles.count))) for step, strip in strips]
  particles_page.write_page(workdir, figures, timeline, command)
  with files.replacing(workdir / 'result.json') as beside:
    beside.write_text(json.dumps(figures, indent=2) + '\n', encoding='utf-8')
  return figures


def cells(strip, count):
  """The pictures [N, H, W, 3] of a strip [H, N W, 3] of them."""
  return np.stack(np.split(np.asarray(strip, np.float32), count, axis=1))
