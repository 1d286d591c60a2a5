"""The regression error of a rectified flow, of which the preference losses are made.

x_t = (1 - t) x_0 + t eps and the target is v* = eps - x_0 (no sigma_min, as in DSO's tuning).
`velocity` (params, x_t [B, ...], t [B], cond) is a generator's. In float32 throughout: DSO's code
casts t to bfloat16, which moves its time embedding by up to 2 of 1000.

Axes: B samples or pairs, ... the entries of a latent. A pair has one condition and one t.
"""

import jax
import jax.numpy as jnp

from jax3dgen.generator import flow


def levels(key, count):
  """t [count] float32 ~ LogitNormal(1, 1), TRELLIS's and DSO's."""
  return jax.nn.sigmoid(1.0 + jax.random.normal(key, (count,), jnp.float32))


def predict(velocity, params, x0, cond, t, eps):
  """(v, v*) [B, ...] of clean x0 [B, ...] with noise eps [B, ...] at t [B]."""
  return velocity(params, flow.add_noise(x0, t, eps), t, cond), flow.velocity(x0, eps)


def predict_pairs(velocity, params, win, lose, cond, t, eps_win, eps_lose):
  """(v, v*) [2 B, ...] by one call: B rows of winners, then their losers."""
  double = lambda a, b: jnp.concatenate([a, b])
  return predict(velocity, params, double(win, lose), jax.tree.map(double, cond, cond),
                 double(t, t), double(eps_win, eps_lose))


def mean_square(x):
  """The mean [B] over the entries of x [B, ...] of its square."""
  return jnp.mean(x**2, range(1, x.ndim))


def pair_errors(velocity, params, win, lose, cond, t, eps_win, eps_lose):
  """(l of the winners [B], l of the losers [B]), l the mean over entries of (v - v*)^2."""
  v, target = predict_pairs(velocity, params, win, lose, cond, t, eps_win, eps_lose)
  return jnp.split(mean_square(v - target), 2)
