"""Engines of the drop test against C MuJoCo, the reference.

  python -m benchmarks.physics

Three ratios: `native_batch` on two threads against one (random solids, 10 s at 1 ms, wall time);
`mjx_batch`, a batch of 256 worlds with 64 hull vertices, against native at the same step of 4 ms
(figurines, steps a second on one core); `rest`, a batch of 4,096 such worlds, against native with
10 s at 1 ms (worlds a second on one core). The two of a pair take turns in one process that is
pinned to its cores; a figure is the median over the turns, on one core of processor time. Compile
time is reported separately: it occurs once for all sweeps of a bucket (each turn of the JAX engines
has new tilts, and `tests/physics/test_mjx_batch.py` checks it).
"""

import argparse
import itertools
import json
import os
import time

from benchmarks import timing

SOLIDS = 32  # of all kinds, for the threads
FIGURINES, HULL = 16, 64  # for the JAX engines, and the vertices of their hulls
BATCH, SHORT, STEP = 256, 2.0, 4e-3  # worlds, seconds and time step of mjx
WORLDS = 4096  # of rest; native simulates one of each figurine
GOALS = {'threads': 1.6, 'mjx': 0.3, 'rest': 1000.0}


def figurines():
  """`body.Bodies` of FIGURINES leaning figurines; all engines get hulls of HULL vertices."""
  import jax

  from jax3dgen.data import leaning
  from jax3dgen.physics import body
  [(_, packed)] = body.pack(list(map(leaning.leaning, range(FIGURINES))), HULL).buckets
  whole = packed.hull + packed.center[:, None]
  rows = (jax.tree.map(lambda x, i=i: x[i], packed.replace(hull=whole)) for i in range(FIGURINES))
  return body.pack([body.Body(x.hull, x.mass, x.center, x.inertia) for x in rows], HULL)


def fresh(count):
  """An endless iterator of different tilts [count, 3]."""
  import jax

  from jax3dgen.physics import sweep
  for seed in itertools.count():
    yield sweep.tilts(count, 4.58, jax.random.key(seed))


def threads(turns):
  """{threads: (processor s, wall s)} of native on solids of all kinds, upright."""
  import numpy as np

  from jax3dgen.data import solids
  from jax3dgen.physics import body, native_batch
  bodies = body.pack([solids.random_solid(seed) for seed in range(SOLIDS)])
  call = lambda count: native_batch.simulate(bodies, np.zeros((1, 3)), threads=count)
  return timing.medians({count: lambda count=count: call(count) for count in (1, 2)}, turns)


def mjx(turns):
  """Processor s of a batch in mjx and in native, and wall s of compiling."""
  from jax3dgen.physics import mjx_batch, native_batch
  bodies, tilts = figurines(), fresh(BATCH // FIGURINES)
  [(_, packed)] = bodies.buckets
  ours = lambda: mjx_batch.simulate(packed, next(tilts), SHORT, STEP, iterations=2, ls_iterations=4)
  theirs = lambda: native_batch.simulate(bodies, next(tilts), SHORT, STEP, threads=1)
  return compare(ours, theirs, turns)


def rest(turns):
  """Processor s of WORLDS in rest and of FIGURINES in native, and wall s of compiling."""
  import jax

  from jax3dgen.physics import native_batch
  from jax3dgen.physics import rest as engine
  bodies = figurines()
  many, few = fresh(WORLDS // FIGURINES), fresh(1)
  [(_, packed)] = bodies.buckets
  settle = jax.jit(engine.settle)
  ours = lambda: jax.block_until_ready(settle(packed, next(many)))
  return compare(ours, lambda: native_batch.simulate(bodies, next(few), threads=1), turns)


def compare(ours, theirs, turns):
  """{'ours', 'theirs': processor s, 'first': wall s of the call of `ours` that compiles}."""
  began = time.perf_counter()
  ours()
  first = time.perf_counter() - began
  times = timing.medians({'ours': ours, 'theirs': theirs}, turns)
  return {name: cpu for name, (cpu, _) in times.items()} | {'first': first}


PARTS = {'threads': (threads, 2), 'mjx': (mjx, 1), 'rest': (rest, 1)}  # and cores


def run(turns=7):
  """{part: its figures, with 'ratio'}."""
  figures = {name: timing.pinned('benchmarks.physics', cores, '--child', name, '--turns', turns)
             for name, (_, cores) in PARTS.items()}
  figures['threads']['ratio'] = figures['threads']['1'][1] / figures['threads']['2'][1]
  figures['mjx']['ratio'] = figures['mjx']['theirs'] / figures['mjx']['ours']
  per_world = figures['rest']['theirs'] / FIGURINES
  figures['rest']['ratio'] = per_world / (figures['rest']['ours'] / WORLDS)
  return figures


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--turns', type=int, default=7, help='measurements of each engine')
  parser.add_argument('--child', choices=PARTS, help=argparse.SUPPRESS)
  args = parser.parse_args()
  if args.child:
    os.environ['JAX_ENABLE_COMPILATION_CACHE'] = 'false'  # compiling is timed
    print(json.dumps(PARTS[args.child][0](args.turns)))
    return
  print(f'load average {os.getloadavg()[0]:.1f}')
  figures = run(args.turns)
  ratio = lambda name: f'{figures[name]["ratio"]:.2f}x (goal {GOALS[name]:g}x)'
  single, double = (figures['threads'][count][1] for count in '12')
  print(f'native, {SOLIDS} solids at 1 ms: one thread {single:.2f} s, two {double:.2f} s, '
        f'{ratio("threads")}')
  steps = BATCH * SHORT / STEP
  ours, theirs, first = (figures['mjx'][name] for name in ('ours', 'theirs', 'first'))
  print(f'mjx, {BATCH} worlds at 4 ms, one core: {steps / ours:,.0f} steps/s, native '
        f'{steps / theirs:,.0f}, {ratio("mjx")}; compiling {first - ours:.0f} s')
  ours, theirs, first = (figures['rest'][name] for name in ('ours', 'theirs', 'first'))
  print(f'rest, {WORLDS} worlds, one core: {WORLDS / ours:,.0f} worlds/s, native at 1 ms '
        f'{FIGURINES / theirs:.1f}, {ratio("rest")}; compiling {first - ours:.0f} s')


if __name__ == '__main__':
  main()
