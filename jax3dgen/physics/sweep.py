"""Stability sweeps: one interface to all engines for M bodies released under P tilts.

`native` (C MuJoCo) is the reference, `mjx` the same physics on accelerators, `penalty` has the
fastest gradients, `rest` needs no time steps, and brax's two serve for comparison.
"""

import functools
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jax3dgen.core import parallel, rng
from jax3dgen.core.errors import ConfigError
from jax3dgen.physics import body, brax_check, mjx_batch, native_batch, outcome, penalty, rest

# Default time steps in seconds, for SMALL engines also the largest stable ones; `rest` has none.
TIMESTEPS = {'native': 1e-3, 'mjx': 4e-3, 'penalty': 2e-3, 'rest': 0.0,
             'brax_positional': 2e-3, 'brax_spring': 1e-3}
ENGINES = tuple(TIMESTEPS)
SMALL = ('penalty', 'brax_positional', 'brax_spring')
WORLDS = 1024  # bodies x tilts of one compiled call on all devices together


class Result(NamedTuple):
  """Numpy arrays of M bodies under P tilts; see `outcome.Outcome` for the first five.

  stable [M, P] are the labels of `outcome.stable`, errors [M] the reasons why the engine refuses
  bodies ('' where it does not).
  """
  quaternion: np.ndarray
  position: np.ndarray
  rotation_deg: np.ndarray
  diverged: np.ndarray
  settled: np.ndarray
  stable: np.ndarray
  errors: np.ndarray


def tilts(n, max_deg, key):
  """Rotation vectors [n, 3] (radians) of DSO's perturbation, or [1, 3] zeros where `n` is 0.

  The angle is uniform in [-max_deg, max_deg], the axis horizontal and uniform (DSO App. D.1 does
  not name the axis). Those of at most m degrees are a sample of the same distribution with max_deg
  = m.
  """
  if n == 0:
    return np.zeros((1, 3), np.float32)
  angle = jax.random.uniform(rng.stream(key, 'angle'), (n,), minval=-1.0) * np.deg2rad(max_deg)
  turn = jax.random.uniform(rng.stream(key, 'axis'), (n,)) * 2 * np.pi
  axis = jnp.stack([jnp.cos(turn), jnp.sin(turn), jnp.zeros(n)], -1)
  return np.asarray(angle[:, None] * axis)


def run(bodies, tilts, engine='native', seconds=10.0, timestep=None, threshold_deg=20.0,
        friction=1.0, least=1):
  """`Result` of a `body.Bodies` released under tilts [P, 3] and simulated for `seconds`.

  `timestep` None or 0 is the engine's default, which for SMALL engines is also an upper limit;
  `rest` ignores it, `seconds` and `friction` (its bodies never slide). Bodies are batched in powers
  of two, at least `least` and up to `WORLDS` worlds at a time, so that few compilations serve all
  calls with the same number of tilts and padded hull size. ConfigError for an unknown engine.
  """
  if engine not in ENGINES:
    raise ConfigError(f'engine={engine!r}: the engines are {", ".join(ENGINES)}.')
  tilts = np.asarray(tilts, np.float32)
  chex.assert_shape(tilts, (None, 3))
  timestep = timestep or TIMESTEPS[engine]
  if engine in SMALL:
    timestep = min(timestep, TIMESTEPS[engine])
  if engine == 'native':
    outcomes = native_batch.simulate(bodies, tilts, seconds, timestep, friction)
  else:
    outcomes = _batched(bodies, tilts, _compiled(engine, seconds, timestep, friction), least)
  fields = {name: np.asarray(getattr(outcomes, name))
            for name in ('quaternion', 'position', 'rotation_deg', 'diverged', 'settled')}
  return Result(**fields, stable=np.asarray(outcome.stable(outcomes, threshold_deg)),
                errors=np.array(outcomes.errors or [''] * len(bodies.items), str))


def upright(items, engine='native', seconds=10.0, timestep=None, threshold_deg=20.0, least=1):
  """`run` of `body.Body` records [M] released upright (P = 1), packed where the engine needs it."""
  bodies = body.Bodies(tuple(items), ()) if engine == 'native' else body.pack(items)
  return run(bodies, tilts(0, 0.0, None), engine, seconds, timestep, threshold_deg, least=least)


def margins(bodies, tilts, least=1):
  """Stability margins [M, P] in radians of settled bodies (`rest.margin`), batched as in `run`."""
  return _batched(bodies, np.asarray(tilts, np.float32), _split(rest.margin, 1), least)


def _batched(bodies, tilts, call, least):
  """`call(packed, tilts)` of all bodies, bucket by bucket, a fixed number of them at a time."""
  most = max(WORLDS // len(tilts), 1)
  parts, places = [], []
  for index, packed in bodies.buckets:
    size = min(most, max(least, 1 << (len(index) - 1).bit_length()))
    packed = jax.tree.map(lambda x: np.asarray(x, np.float32), packed)
    for start in range(0, len(index), size):
      rows = np.arange(start, start + size).clip(max=len(index) - 1)  # repeats fill the last call
      parts.append(call(jax.tree.map(lambda x, rows=rows: x[rows], packed), tilts))
      places.append(index[start:start + size])
  order = np.argsort(np.concatenate(places))
  return jax.tree.map(
      lambda *x: np.concatenate([y[:len(k)] for k, y in zip(places, x, strict=True)])[order],
      *parts)


_split = functools.cache(parallel.split)  # one compilation for all durations


def _compiled(engine, seconds, timestep, friction):
  """(packed, tilts) -> Outcome of an engine; over all devices."""
  if engine == 'rest':
    return _split(rest.settle, 1)
  if engine == 'penalty':
    call = _split(penalty.simulate, 4)
    return lambda packed, tilts: call(packed, tilts, seconds, timestep, friction)
  if engine == 'mjx':
    return lambda packed, tilts: mjx_batch.simulate(packed, tilts, seconds, timestep, friction)
  kind = engine.removeprefix('brax_')
  return lambda packed, tilts: brax_check.simulate(packed, tilts, kind, seconds, timestep, friction)
