"""What a step of the demo costs beside its denoiser, on one core.

  python -m benchmarks.render

4 views of 32 x 32 rays x 32 samples = 131,072 points of the field of configs/embedded.py: rendering
forward, forward and backward, with the Adam update, against the bare hash-grid encode of the same
points forward and backward. Processor time (lower quartile), one core, the launcher's malloc
settings; the programs take turns.
"""

import argparse
import json
import os
import subprocess
import sys

from benchmarks.hashgrid import interleaved
from jax3dgen.core import launch

VIEWS, SIZE, SAMPLES = 4, 32, 32
GRID = {'levels': 8, 'features': 2, 'table_log2': 14, 'base': 8, 'finest': 64}
GOAL_MS, GOAL_RATIO = 60.0, 2.0


def sample_points(key, rays, opts):
  """The points [3, N] that `render_rays` reads the field at."""
  import jax.numpy as jnp

  from jax3dgen.core import rng
  from jax3dgen.scene import render

  origin, direction = (jnp.moveaxis(a.reshape(-1, 3), -1, 0) for a in (rays.origin, rays.direction))
  edges = render.stratified(*render.intervals(origin, direction, opts.radius, opts.near),
                            opts.n_samples)
  mids = render.places(rng.stream(key, 'samples'), edges)
  return (origin[:, None] + direction[:, None] * mids[None]).reshape(3, -1)


def measure(turns):
  """{program: processor ms} in this process."""
  import jax
  import jax.numpy as jnp
  import optax

  from jax3dgen.core import camera
  from jax3dgen.nn import hashgrid
  from jax3dgen.scene import nerf, render, shading

  key = jax.random.key(0)
  field, grid = nerf.field(**GRID, hidden=32), hashgrid.hash_grid(**GRID)
  params, tx = field.init(key), optax.adam(1e-2)
  state = tx.init(params)
  cams = camera.ring(VIEWS, 0.25, 2.9, 0.7)
  opts, background = render.RenderOptions(SAMPLES), shading.constant((1.0, 1.0, 1.0))
  image_cotangent = jax.random.normal(key, (VIEWS, SIZE, SIZE, 3))
  points = sample_points(key, camera.rays(cams, SIZE, SIZE), opts)
  code_cotangent = jax.random.normal(key, (grid.width, points.shape[1]))

  def forward(params, key):
    rays = camera.rays(cams, SIZE, SIZE)
    out = render.render_rays(key, field.query, params, rays, opts, jnp.float32(1.0))
    return shading.composite(out, background(rays.direction))

  def backward(params, key, cotangent):
    image, pull = jax.vjp(lambda p: forward(p, key), params)
    return image, pull(cotangent)[0]

  def step(params, state, key, cotangent):
    image, grads = backward(params, key, cotangent)
    updates, state = tx.update(grads, state)
    return optax.apply_updates(params, updates), state, image

  def encode(table, points, cotangent):
    code, pull = jax.vjp(lambda t: hashgrid.encode(t, points, grid), table)
    return code, pull(cotangent)[0]

  def timed(function, *args):
    compiled = jax.jit(function)
    return lambda: jax.block_until_ready(compiled(*args))

  times = interleaved({
      'encode': timed(encode, params['grid']['table'], points, code_cotangent),
      'forward': timed(forward, params, key),
      'backward': timed(backward, params, key, image_cotangent),
      'step': timed(step, params, state, key, image_cotangent)}, turns)
  return {name: cpu for name, (cpu, _) in times.items()}


def run(turns=15):
  """Figures measured in a fresh process on one core, with the malloc settings from its start."""
  core = min(os.sched_getaffinity(0))
  done = subprocess.run(
      [sys.executable, '-m', 'benchmarks.render', '--child', '--turns', str(turns)], check=True,
      env={**os.environ, **launch.MALLOC, 'JAX_PLATFORMS': 'cpu'}, stdout=subprocess.PIPE,
      text=True, preexec_fn=lambda: os.sched_setaffinity(0, {core}))
  times = json.loads(done.stdout.splitlines()[-1])
  return times | {'ratio': times['step'] / times['encode']}


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--turns', type=int, default=15, help='measurements of each program')
  parser.add_argument('--child', action='store_true', help=argparse.SUPPRESS)
  args = parser.parse_args()
  if args.child:
    print(json.dumps(measure(args.turns)))
    return
  t = run(args.turns)
  print(f'load average {os.getloadavg()[0]:.1f}; {VIEWS * SIZE**2 * SAMPLES} points, one core')
  print(f"hash-grid encode forward and backward {t['encode']:.1f} ms")
  print(f"render forward {t['forward']:.1f} ms, backward {t['backward'] - t['forward']:.1f} ms, "
        f"optimiser {t['step'] - t['backward']:.1f} ms")
  print(f"all {t['step']:.1f} ms (goal {GOAL_MS:.0f}), {t['ratio']:.2f}x the encode "
        f'(goal {GOAL_RATIO:.0f}x)')


if __name__ == '__main__':
  main()
