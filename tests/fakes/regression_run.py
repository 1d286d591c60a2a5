"""A small run with everything a run has: linear regression by Adam, shuffled by device and step.

As a program (`python -m tests.fakes.regression_run WORKDIR STEPS`) it is what tests kill, stop,
start twice and start in two processes; it prints 'step N' as it goes and the digest of its
parameters last.
"""

import argparse
import itertools
import pathlib
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jax3dgen.core import errors, parallel, rng, tree
from jax3dgen.train import checkpoint, log, loop
from jax3dgen.train import workdir as workdirs

TRUTH = np.arange(6, dtype=np.float32).reshape(3, 2)
TX = optax.adam(1e-2)
ROWS = 4  # per device


def initial():
  """The state before the first step."""
  w = jnp.zeros((3, 2), jnp.float32)
  return {'w': w, 'opt': TX.init(w), 'step': jnp.zeros((), jnp.int32),
          'skipped': jnp.zeros((), jnp.int32)}


def make_step(axis_name, poison_from=None):
  """step(state, truth) -> (state, metrics); gradients are NaN after step `poison_from`."""
  mean = lambda x: jax.lax.pmean(x, axis_name)

  def step(state, truth):
    key = rng.on_device(rng.at_step(0, state['step']), axis_name)
    x = jax.random.normal(key, (ROWS, 3))
    loss, grad = jax.value_and_grad(lambda w: jnp.mean((x @ w - x @ truth) ** 2))(state['w'])
    if poison_from is not None:
      grad = jnp.where(state['step'] >= poison_from, jnp.nan, grad)
    grad, loss = mean(grad), mean(loss)
    good = jnp.isfinite(grad).all()
    update, opt = TX.update(grad, state['opt'], state['w'])
    keep = lambda new, old: jax.tree.map(lambda n, o: jnp.where(good, n, o), new, old)
    skipped = jnp.where(good, 0, state['skipped'] + 1)
    state = {'w': keep(optax.apply_updates(state['w'], update), state['w']),
             'opt': keep(opt, state['opt']), 'step': state['step'] + 1, 'skipped': skipped}
    return state, {'loss': loss, 'skipped': skipped.astype(jnp.float32)}
  return step


def run(workdir, steps, *, log_every=5, checkpoint_every=4, keep=3, poison_from=None,
        fails_alone=None, **options):
  """Runs or resumes in `workdir`; returns (step it started from, final host state)."""
  config = {'train': {'steps': steps}, 'log': {'every': log_every}}
  with workdirs.lock(workdir):
    workdirs.check_config(workdir, config)
    checkpoints = checkpoint.Checkpoints(workdir / 'checkpoints', keep)
    start, state = checkpoints.restore(initial()) or (0, initial())
    writer = log.Writer(workdir, start)
    truth = parallel.broadcast(TRUTH)
    mapped = parallel.map(make_step(parallel.AXIS, poison_from), 1)
    done = itertools.count(1)

    def step(state):
      if next(done) == fails_alone and not parallel.is_main():
        raise errors.ConfigError('Process 1 alone failed.')
      return mapped(state, truth)
    try:
      state = loop.run(step, parallel.replicate(state), start=start,
                       steps=steps, writer=writer, checkpoints=checkpoints, log_every=log_every,
                       checkpoint_every=checkpoint_every, describe='toy', **options)
    finally:
      writer.close()
      checkpoints.close()
  return start, parallel.unreplicate(state)


def main():
  parser = argparse.ArgumentParser()
  parser.add_argument('workdir', type=pathlib.Path)
  parser.add_argument('steps', type=int)
  parser.add_argument('--pause', type=float, default=0.0, help='seconds after each step')
  parser.add_argument('--spoil', type=int, help='step at which metrics.csv becomes a folder')
  parser.add_argument('--fails_alone', type=int, help='step at which process 1 alone fails')
  args = parser.parse_args()

  def show(step, state):
    print('step', step, flush=True)
    time.sleep(args.pause)
    if step == args.spoil:
      (args.workdir / 'metrics.csv').rename(args.workdir / 'metrics.old')
      (args.workdir / 'metrics.csv').mkdir()
  parallel.initialize()
  try:
    start, state = run(args.workdir, args.steps, hooks=[(1, show)], fails_alone=args.fails_alone)
  except errors.Jax3dgenError as error:
    print(error, flush=True)
    parallel.leave(2)
  print('from', start, 'digest', tree.digest(state['w']), flush=True)


if __name__ == '__main__':
  main()
