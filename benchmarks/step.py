"""Time of the parts of a training step of the demo, on one core.

  python -m benchmarks.step

The demo's views, rays and samples (131,072 of them), its field and its prior; the parts of a step
are compiled separately and take turns with each other and with the bare hash-grid encode. "All but
the denoiser" is the whole training step, regularisers and cameras included, with a prior whose
network answers at once.
"""

import argparse
import json
import os

from benchmarks import timing

ROWS = (('denoiser', 'denoiser, guided (2 rows a view)'), ('forward', 'render forward'),
        ('backward', 'render backward'), ('optimiser', 'optimiser'),
        ('rest', 'all but the denoiser, the whole step'),
        ('encode', 'bare hash-grid encode, forward and backward'))
LIMIT_MS, LIMIT_RATIO = 60.0, 2.0  # for everything but the denoiser


def measure(turns):
  """{part: (processor ms, wall ms)} on the cores that this process is pinned to."""
  import jax
  import jax.numpy as jnp
  from ml_collections import FrozenConfigDict

  from configs import embedded
  from jax3dgen.core import camera as cameras
  from jax3dgen.nn import hashgrid
  from jax3dgen.prior import base
  from jax3dgen.prior import embedded as prior_module
  from jax3dgen.recipes.distill import parts as distill_parts
  from jax3dgen.recipes.distill import run as distill
  from jax3dgen.recipes.distill import step as scene_step
  from jax3dgen.train import optim

  config = distill.complete(embedded.get_config())
  cfg = FrozenConfigDict(config)
  key = jax.random.key(0)
  field = distill_parts.build_field(cfg)
  params = field.init(key)
  camera = scene_step.cameras_of(cfg, key, key, cfg.train.batch, 0, 1)
  rays = cameras.rays(camera, cfg.render.size, cfg.render.size)
  draw = lambda p: scene_step.render_views(cfg, field, p, rays, camera, key, 1.0, 0)[0]

  def both(p):
    picture, pull = jax.vjp(draw, p)
    return pull(picture)[0]

  tx = optim.adam(cfg.optim.rates, params, eps=cfg.optim.eps)
  opt = tx.init(params)
  prior, weights, tokenize = prior_module.load()
  cond = prior.embed(weights, tokenize([cfg.prompt] * cfg.train.batch))
  x = jnp.zeros((cfg.train.batch, cfg.render.size, cfg.render.size, 3))
  t = jnp.full((cfg.train.batch,), 0.5)
  grid = hashgrid.hash_grid(cfg.field.levels, cfg.field.features, cfg.field.table_log2,
                            cfg.field.base, cfg.field.finest, cfg.field.interpolation)
  points = rays.direction.size // 3 * cfg.render.n_samples
  xyz = jax.random.uniform(key, (3, points), minval=-1.0)

  cotangent = jax.random.normal(key, (grid.width, points))

  def encode(table, xyz, cotangent):
    code, pull = jax.vjp(lambda table: hashgrid.encode(table, xyz, grid), table)
    return code, pull(cotangent)[0]

  parts = distill_parts.build(config)
  silent = parts.prior._replace(predict=lambda params, x_t, t, cond: 0.1 * x_t)
  step = distill_parts.field_step(parts._replace(prior=silent), None)
  # A step of the last third of the run, where all regularisers are on.
  state = parts.state.replace(step=jnp.int32(1000))

  calls = {
      'denoiser': (lambda w, x: base.predict_guided(prior, w, x, t, cond, cond, 4.0), weights, x),
      'forward': (draw, params),
      'both': (both, params),
      'optimiser': (lambda g, s, p: optim.update(tx, g, s, p), params, opt, params),
      'rest': (step, state, parts.params, parts.prompt, key),
      'encode': (encode, params['grid']['table'], xyz, cotangent),
  }
  ready = {name: (jax.jit(function), args) for name, (function, *args) in calls.items()}
  return timing.interleaved(
      {name: lambda f=f, args=args: jax.block_until_ready(f(*args))
       for name, (f, args) in ready.items()}, turns)


def run(turns=15):
  """{part: processor ms on one core}."""
  times = timing.pinned('benchmarks.step', 1, '--child', '--turns', turns)
  times = {name: cpu for name, (cpu, _) in times.items()}
  return times | {'backward': times['both'] - times['forward']}


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--turns', type=int, default=15, help='measurements of each part')
  parser.add_argument('--child', action='store_true', help=argparse.SUPPRESS)
  args = parser.parse_args()
  if args.child:
    print(json.dumps(measure(args.turns)))
    return
  print(f'load average {os.getloadavg()[0]:.1f}; one core, processor time')
  times = run(args.turns)
  for name, label in ROWS:
    print(f'{label:<46}{times[name]:7.1f} ms')
  print(f'all but the denoiser: goal {LIMIT_MS:.0f} ms; '
        f'{times["rest"] / times["encode"]:.2f}x the bare encode (goal {LIMIT_RATIO:.0f}x)')


if __name__ == '__main__':
  main()
