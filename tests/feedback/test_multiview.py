"""L_simple-MV by hand: one noise level an object, references of all sides, some left out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax3dgen.core import rng
from jax3dgen.feedback import multiview
from jax3dgen.prior import multiview as priors
from jax3dgen.prior import schedule

N, V, SIZE = 16, 5, 4


def test_loss_by_hand():
  """A prior that says half of x_t, plus the reference where it is kept, times t."""
  calls = {}

  def condition(params, picture, noise):
    calls['noise'] = noise
    return priors.MultiviewCond(None, None, jnp.repeat(picture, V, 0), jnp.repeat(noise, V, 0),
                                jnp.ones(N * V, bool))

  def predict(params, x_t, t, cond):
    calls['t'], calls['picture'], calls['keep'] = t, cond.picture, cond.keep
    column = lambda x: x[:, None, None, None]
    return 0.5 * x_t + params * column(t * cond.keep) * cond.picture

  fake = priors.MultiviewPrior(None, None, predict, lambda params, x: 2 * x - 1, None,
                               schedule.COSINE, condition, None, None)
  pictures = jax.random.uniform(jax.random.key(1), (N, V, SIZE, SIZE, 3))
  key = jax.random.key(4)
  value = multiview.loss(fake, 0.3, key, pictures, 0.3)
  t, keep = (np.asarray(calls[name]).reshape(N, V) for name in ('t', 'keep'))
  for x in (t, keep):
    assert (x == x[:, :1]).all()
  t, keep = t[:, 0], keep[:, 0]
  low, high = schedule.COSINE.safe_range
  np.testing.assert_array_equal(np.floor((t - low) / (high - low) * N), np.arange(N))
  assert 1 <= (~keep).sum() <= 10
  x0 = 2 * np.asarray(pictures, np.float64) - 1
  reference = np.asarray(calls['picture']).reshape(N, V, SIZE, SIZE, 3)[:, 0]
  side = np.abs(reference[:, None] - x0).max((2, 3, 4)).argmin(1)
  assert np.abs(reference - x0[np.arange(N), side]).max() < 1e-6
  assert set(side) == {0, 1, 2, 3}
  eps = np.asarray(jax.random.normal(rng.stream(key, 'noise'), (N * V, SIZE, SIZE, 3)), np.float64)
  eps = eps.reshape(x0.shape)
  errors = []
  for i in range(N):
    alpha, sigma = np.cos(t[i] * np.pi / 2), np.sin(t[i] * np.pi / 2)
    x_t = alpha * x0[i] + sigma * eps[i]
    said = 0.5 * x_t + 0.3 * t[i] * keep[i] * reference[i]
    v, target = (said - sigma * x_t) / alpha, alpha * eps[i] - sigma * x0[i]
    errors.append(np.mean((v - target) ** 2))
  assert float(value) == pytest.approx(np.mean(errors), rel=1e-4)
  assert np.abs(calls['noise'] - eps[:, 0]).max() > 0.1
