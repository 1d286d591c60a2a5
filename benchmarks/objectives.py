"""What a step of each objective costs beside SDS, on one core.

  python -m benchmarks.objectives

The whole training step at the settings of `configs/compare_janus.py`; the steps of all objectives
take turns. Rows of the denoiser are counted per view while a step is traced: forward, and those
that gradients go back through. (Inversions loop inside the program and are counted once.)
"""

import argparse
import json
import os

from benchmarks import timing

DETACHED = 'sds_rectified, detached'
LIMITS = (('sds_rectified', 'sds', 1.4), (DETACHED, 'sds', 1.1), ('vsd', 'sds', 2.2),
          ('usd', 'vsd', 1.3))


def counted(prior, counts):
  """The prior, which adds the rows that it is asked for to `counts` as it is traced."""
  import jax

  @jax.custom_vjp
  def predict(params, x_t, t, cond):
    counts['forward'] += len(x_t)
    return prior.predict(params, x_t, t, cond)

  def forward(params, x_t, t, cond):
    counts['forward'] += len(x_t)
    return jax.vjp(prior.predict, params, x_t, t, cond)

  def backward(pull, g):
    counts['backward'] += len(g)
    return pull(g)
  predict.defvjp(forward, backward)
  return prior._replace(predict=predict)


def measure(turns, names):
  """{objective: (processor ms, wall ms, rows forward, rows backward)}."""
  import jax

  from configs import compare_janus
  from jax3dgen.train import distill
  steps, rows = {}, {}
  for name in names:
    config = compare_janus.get_config().copy_and_resolve_references()
    with config.unlocked():
      del config.compare
      config.distill.name = name.partition(',')[0]
      if name == DETACHED:
        config.distill.detach_denoiser = True
    parts = distill.build(distill.complete(config))
    counts = rows[name] = {'forward': 0, 'backward': 0}
    args = parts.state, parts.params, parts.prompt, jax.random.key(0)
    jax.eval_shape(distill.step_of(parts._replace(prior=counted(parts.prior, counts)), None), *args)
    rows[name] = [count / config.train.batch for count in counts.values()]
    step = jax.jit(distill.step_of(parts, None))
    steps[name] = lambda step=step, args=args: jax.block_until_ready(step(*args))
  return {name: (*times, *rows[name]) for name, times in timing.interleaved(steps, turns).items()}


def main(names=('sds', 'sds_rectified', DETACHED, 'vsd', 'usd', 'esd', 'jsd', 'sds_bridge')):
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--turns', type=int, default=9, help='measurements of each objective')
  parser.add_argument('--child', action='store_true', help=argparse.SUPPRESS)
  args = parser.parse_args()
  if args.child:
    print(json.dumps(measure(args.turns, names)))
    return
  print(f'load average {os.getloadavg()[0]:.1f}; one core, processor time')
  found = timing.pinned('benchmarks.objectives', 1, '--child', '--turns', args.turns)
  for name, (cpu, _, forward, backward) in found.items():
    print(f'{name:<26}{cpu:7.1f} ms {cpu / found["sds"][0]:6.2f}x sds {forward:5.0f} rows '
          f'{backward:3.0f} back')
  for name, other, limit in LIMITS:
    print(f'{name} / {other}: {found[name][0] / found[other][0]:.2f} (goal {limit})')


if __name__ == '__main__':
  main()
