"""A contrastive metric of 3D consistency: does a view belong to the object of a reference image?

A function f of the features of both is fitted to 1 for true views and to 0 for generated or
corrupted ones (multi-view preference paper, Section 5); its best value is the probability that the
view is true. The score of a set of views is the sum over all but the reference's own slot.

The paper's f is linear in [e_Y, e_X] (`concat`): it ranks views in the same order for every
reference, so that it measures realness; the other heads are ours. `HEADS` are features in which f
is linear, fitted in closed form to a frozen encoder. `pair_features` are those of the MLP that is
trained together with the encoder.

Axes: N pairs or objects, V views, C channels of a feature, F features of a head.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jax3dgen.core import rng
from jax3dgen.core.errors import ConfigError
from jax3dgen.core.types import Array
from jax3dgen.perception import contrastive


class Linear(NamedTuple):
  """f(x) = x weight + bias: weight [F], bias []."""
  weight: Array
  bias: Array


def _concat(y, x):
  return jnp.concatenate([y, x], -1)


def _outer(y, x):
  return (y[..., :, None] * x[..., None, :]).reshape(*x.shape[:-1], -1)


def _cosine(y, x):
  return jnp.sum(contrastive.unit(y) * contrastive.unit(x), -1, keepdims=True)


HEADS = {  # (e_Y, e_X [..., C]) -> features [..., F] of the pair
    'concat': _concat,
    'product': lambda y, x: jnp.concatenate([y * x, _concat(y, x)], -1),
    'difference': lambda y, x: jnp.concatenate([jnp.abs(y - x), _concat(y, x)], -1),
    'bilinear': lambda y, x: jnp.concatenate([_outer(y, x), _concat(y, x)], -1),
    'cosine': _cosine,
}


def features(head, reference, view):
  """Features [..., F] of a pair by a head of HEADS, of encodings [..., C] of equal shapes."""
  if head not in HEADS:
    raise ConfigError(f'The head {head!r} of the consistency metric is none of {", ".join(HEADS)}.')
  return HEADS[head](reference, view)


def fit(positive, negative, ridge=1e-3):
  """The Linear that minimises the mean of `loss` over features [N, F] and [N', F] of pairs.

  Least squares in float64, with `ridge` per pair on the weights of the standardised features.
  """
  x = np.concatenate([positive, negative]).astype(np.float64)
  target = np.repeat([1.0, 0.0], [len(positive), len(negative)])
  row = np.repeat([1 / len(positive), 1 / len(negative)], [len(positive), len(negative)]) / 2
  centre, mean = row @ x, row @ target  # as if there were as many of either
  spread = np.sqrt(row @ (x - centre) ** 2)
  spread = np.where(spread > 1e-6 * np.abs(x).max(), spread, np.inf)  # constant features: weight 0
  root = np.sqrt(row)[:, None]
  z, rest = root * (x - centre) / spread, root[:, 0] * (target - mean)
  if z.shape[1] <= len(z):
    weight = np.linalg.solve(z.T @ z + ridge * np.eye(z.shape[1]), z.T @ rest)
  else:  # the same solution by a matrix of pairs, where features are more
    weight = z.T @ np.linalg.solve(z @ z.T + ridge * np.eye(len(z)), rest)
  weight = weight / spread
  return Linear(jnp.asarray(weight, jnp.float32), jnp.asarray(mean - centre @ weight, jnp.float32))


def linear(head, x):
  """f [...] of features x [..., F] by a Linear."""
  return x @ head.weight + head.bias


def loss(positive, negative):
  """The paper's: the mean of (f - 1)^2 over true views, plus that of f^2 over the others."""
  return jnp.mean((positive - 1.0) ** 2) + jnp.mean(negative**2)


def pair_features(reference, view, reference_slot, view_slot, views):
  """[e_Y, e_X, e_Y e_X, |e_Y - e_X|, slots] [..., 4 C + 2 V] of encodings [..., C], slots [...]."""
  slots = [jax.nn.one_hot(slot, views, dtype=view.dtype) for slot in (reference_slot, view_slot)]
  return jnp.concatenate([_concat(reference, view), reference * view, jnp.abs(reference - view),
                          *slots], -1)


def pair_init(key, channels, views, hidden=128):
  """Parameters of the MLP head; at the start f = .5 for every pair."""
  inputs = 4 * channels + 2 * views
  draw = jax.random.normal(rng.stream(key, 'pair'), (inputs, hidden)) / inputs**0.5
  return {'in': {'kernel': draw, 'bias': jnp.zeros(hidden)},
          'out': {'kernel': jnp.zeros(hidden), 'bias': jnp.full((), 0.5)}}


def pair_score(params, x):
  """f [...] of `pair_features` x [..., 4 C + 2 V]."""
  hidden = jax.nn.gelu(x @ params['in']['kernel'] + jnp.expand_dims(
      params['in']['bias'], tuple(range(x.ndim - 1))))
  return hidden @ params['out']['kernel'] + params['out']['bias']


def tuned_loss(encode, params, reference, true, false, reference_slot, view_slot, views):
  """`loss` of N references, true and false views [N, H, W, 3] in slots [N], by one call of the
  encoder.

  encode: (params['encoder'], images [B, H, W, 3]) -> [B, C]; params['head'] of `pair_init`.
  Gradients reach both.
  """
  encodings = encode(params['encoder'], jnp.concatenate([reference, true, false]))
  y, *candidates = jnp.split(encodings, 3)
  return loss(*(pair_score(params['head'], pair_features(y, x, reference_slot, view_slot, views))
                for x in candidates))


def score(values, reference_slot):
  """[N]: the sum of values [N, V] over the views but the reference's own slot [N]."""
  other = jnp.arange(values.shape[1])[None] != jnp.asarray(reference_slot)[:, None]
  return jnp.sum(jnp.where(other, values, 0), 1)


def view_scores(function, reference, views):
  """values [N, V] of `function` (references [N V, ...], views [N V, ...]) -> [N V], of a reference
  [N, ...] against each of its views [N, V, ...]: f of encodings, or counts of matches of images."""
  count = views.shape[1]
  values = function(jnp.repeat(reference, count, 0), views.reshape(-1, *views.shape[2:]))
  return values.reshape(len(views), count)
