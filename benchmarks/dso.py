"""Costs of preference tuning: a DRO step in forward passes, and a label in MuJoCo's own steps.

  python -m benchmarks.dso

On one core, processor time, medians of turns in one process. The step tunes LoRA adapters of the
embedded generator's flow transformer (random weights) on 16 pairs; a forward pass is that of its 32
rows. Labels are of noisy occupancies of the embedded objects: mesh, flat cut, body, 10 s of MuJoCo
at 4 ms; MuJoCo's own steps are the same ones on ready models.
"""

import argparse
import json
import os

from benchmarks import timing

PAIRS, TOKENS, CONTEXT, GRID = 16, 65, 144, 8
OBJECTS, NOISE = 32, 0.3  # of the labels, and the noise of their logits
GOALS = {'step': 4.0, 'label': 1.5}


def step(turns):
  """{'ours', 'theirs': processor s} of a step of DRO and of a forward pass of its batch."""
  import jax
  import jax.numpy as jnp

  from jax3dgen.core.types import Cond
  from jax3dgen.feedback import pairs
  from jax3dgen.nn import dit
  from jax3dgen.recipes.preference import adapters, tune, tuning
  from jax3dgen.recipes.preference import config as settings
  from jax3dgen.train import descent
  cfg = settings.default_config()
  cfg.loss.name, cfg.train.batch = 'dro', PAIRS
  net = dit.FlowTransformer(width=128, depth=5, heads=4, patch=2, context=CONTEXT)
  normal = lambda seed, *shape: jax.random.normal(jax.random.key(seed), shape)
  x, tokens = normal(0, 2 * PAIRS, *3 * (GRID,), 8), normal(1, 2 * PAIRS, TOKENS, CONTEXT)
  t = jnp.full(2 * PAIRS, 0.5)
  params = {'flow': net.init(jax.random.key(2), x, t, tokens)['params']}
  velocity = lambda p, x, t, cond: net.apply({'params': p['flow']}, x, 1000 * t, cond.tokens)
  table, _ = pairs.by_label(jnp.arange(2 * PAIRS) % 2 == 0, jnp.arange(2 * PAIRS) // 2)
  tx = tuning.optimiser(cfg)
  state = descent.start(adapters.start(params['flow'], cfg.lora, 0), tx)
  call = jax.jit(descent.build_step(tune.objective(velocity, cfg, 1), tx, 0, 0.0))
  forward = jax.jit(velocity)
  pool = {'latent': x, 'cond': Cond(tokens)}
  return compare(lambda: jax.block_until_ready(call(state, params, pool, table)),
                 lambda: jax.block_until_ready(forward(params, x, t, Cond(tokens))), turns)


def label(turns):
  """{'ours', 'theirs': processor s} of OBJECTS labels and of MuJoCo's steps for them."""
  import mujoco
  import numpy as np

  from jax3dgen.data import objects
  from jax3dgen.physics import body, native
  from jax3dgen.recipes.preference import config as settings
  from jax3dgen.recipes.preference import label as labels
  from jax3dgen.scene import voxels
  cfg = settings.default_config().label
  true = np.asarray(objects.logits(objects.draw(range(OBJECTS))))
  noise = NOISE * np.random.default_rng(0).standard_normal(true.shape)
  logits = (true + noise).astype(np.float32)
  solids = {}
  for judge in labels.JUDGES[:2]:
    height = cfg.cut / logits.shape[1] if judge == 'cut' else 0.0
    solids[judge] = [body.of_surface(voxels.mesh(grid), height) for grid in logits]
  items = [item for column in solids.values() for item in column]
  models = [native.compile_model(item, cfg.timestep) for item in items]
  data = [mujoco.MjData(model) for model in models]

  def steps():
    for item, model, state in zip(items, models, data):
      native.release(model, item, data=state)
      mujoco.mj_step(model, state, nstep=round(cfg.seconds / cfg.timestep))
  return compare(lambda: labels.label(logits, cfg), steps, turns)


def compare(ours, theirs, turns):
  """{'ours', 'theirs': processor s}."""
  times = timing.medians({'ours': ours, 'theirs': theirs}, turns)
  return {name: cpu for name, (cpu, _) in times.items()}


PARTS = {'step': step, 'label': label}


def run(turns=7):
  """{part: its figures, with 'ratio'}."""
  figures = {name: timing.pinned('benchmarks.dso', 1, '--child', name, '--turns', turns)
             for name in PARTS}
  return {name: row | {'ratio': row['ours'] / row['theirs']} for name, row in figures.items()}


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--turns', type=int, default=7, help='measurements of each part')
  parser.add_argument('--child', choices=PARTS, help=argparse.SUPPRESS)
  args = parser.parse_args()
  if args.child:
    print(json.dumps(PARTS[args.child](args.turns)))
    return
  print(f'load average {os.getloadavg()[0]:.1f}')
  for name, row in run(args.turns).items():
    what = {'step': f'DRO step of {PAIRS} pairs, against its forward pass',
            'label': f'labels of {OBJECTS} samples by two judges, against MuJoCo alone'}[name]
    print(f'{what}: {1e3 * row["ours"]:.0f} ms, {1e3 * row["theirs"]:.0f} ms, '
          f'{row["ratio"]:.2f}x (goal {GOALS[name]:g}x at most)')


if __name__ == '__main__':
  main()
