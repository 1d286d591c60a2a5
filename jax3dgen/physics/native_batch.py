"""Batched drop tests in C MuJoCo on all CPU cores: the reference engine.

Each drop is bit for bit that of `native.drop`, with the whole hull of the body. MuJoCo steps
without Python's lock, so that threads run in parallel.
"""

from concurrent import futures

import chex
import numpy as np

from jax3dgen.core import machine
from jax3dgen.core.errors import MeshError
from jax3dgen.physics import native
from jax3dgen.physics.outcome import Outcome

PIECES = 4  # pieces of work per thread, to balance the load


def simulate(bodies, tilts, seconds=10.0, timestep=1e-3, friction=1.0, threads=None):
  """The Outcome (NumPy, [M, P]) of `body.Bodies` released upright and turned by tilts [P, 3].

  Tilts are axis times angle in radians; positions are in the bodies' own (scaled) units. A body
  that MuJoCo refuses has NaN and the reason in `errors`. `threads` is the number of usable cores
  unless given.
  """
  items, tilts = bodies.items, np.asarray(tilts, np.float64)
  chex.assert_shape(tilts, (None, 3))
  shape = len(items), len(tilts)
  threads = threads or machine.cores()
  outcome = Outcome(np.full((*shape, 4), np.nan), np.full((*shape, 3), np.nan),
                    np.full(shape, np.nan), np.zeros(shape, bool), np.zeros(shape, bool))
  errors = [''] * len(items)
  pieces = np.array_split(range(len(tilts)), -(-PIECES * threads // max(len(items), 1)))

  def fill(task):
    i, piece = task
    try:
      model = native.compile_model(items[i], timestep, friction)
    except MeshError as error:
      errors[i] = str(error)
      return
    data = None
    for j in piece:
      data = native.release(model, items[i], tilts[j], data)
      _, qpos, qvel, diverged = native.follow(model, data, items[i], seconds)
      quaternion = qpos[-1, 3:] / np.linalg.norm(qpos[-1, 3:])
      outcome.quaternion[i, j], outcome.position[i, j] = quaternion, qpos[-1, :3]
      outcome.diverged[i, j] = diverged
      if not diverged:
        outcome.rotation_deg[i, j] = native.rotation_deg(quaternion)
        outcome.settled[i, j] = native.resting(qvel[-1], items[i].hull)

  with native.quiet(), futures.ThreadPoolExecutor(threads) as pool:
    list(pool.map(fill, [(i, piece) for i in range(len(items)) for piece in pieces if len(piece)]))
  return outcome.replace(errors=tuple(errors))
