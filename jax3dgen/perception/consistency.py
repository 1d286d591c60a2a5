"""3D consistency of views with a reference, learned by contrast (MV-D3PO-C).

A score f(e_Y, e_X) of features of a reference Y and of a view X is regressed to 1 for the true view
and to 0 for a view that another generator, or the model itself, made: L = (f(e_Y, e_true) - 1)^2 +
f(e_Y, e_generated)^2. Its optimum is the probability that X is true. An object's score is the sum
over the views other than the reference's.

`HEADS` are linear in features of the pair. `concat`, on [e_Y, e_X], is the paper's. It is additive,
f = u e_Y + w e_X + b, so that for a given reference the order of views does not depend on that
reference: it can measure how real a view is, not whether it is consistent. The other heads are
ours, and so is `pair`: parts of both views by attention, compared by a small MLP that knows both
slots.

Axes: N objects, V views, S pixels per side, C features of an image, D features of a pair.
"""

import importlib.resources
import pathlib
from typing import Any, NamedTuple

from flax import struct
import jax
import jax.numpy as jnp
import numpy as np

from jax3dgen.core import hub
from jax3dgen.core import weights as weight_files
from jax3dgen.core.errors import ConfigError, WeightError
from jax3dgen.core.types import Array
from jax3dgen.formats import features
from jax3dgen.nn import view_pairs
from jax3dgen.perception import contrastive

VIEWS, SIDES = 5, 4  # front, right, back, left, top; the first four are references
HEADS = ('concat', 'product', 'difference', 'bilinear', 'cosine')
WEIGHTS, BESIDE = 'weights.safetensors', ('config.json',)


def joined(head, y, x):
  """Features [..., D] of pairs for a linear head: y of references and x of views, both [..., C].

  concat [y, x]; product, difference and bilinear have y x, |y - x| and the outer product of y and x
  before them; cosine is that of y and x alone, D = 1.
  """
  if head == 'cosine':
    return (contrastive.unit(y) * contrastive.unit(x)).sum(-1, keepdims=True)
  outer = lambda: (y[..., :, None] * x[..., None, :]).reshape(*y.shape[:-1], -1)
  extra = {'concat': lambda: y[..., :0], 'product': lambda: y * x,
           'difference': lambda: jnp.abs(y - x), 'bilinear': outer}
  if head not in extra:
    raise ConfigError(f'{head!r} is no linear head; there are {", ".join(HEADS)}.')
  return jnp.concatenate([extra[head](), y, x], -1)


@struct.dataclass
class Linear:
  """score = features [..., D] of a pair @ weight [D] + bias []."""
  weight: Array
  bias: Array

  def __call__(self, pairs):
    return pairs @ self.weight + self.bias


def fit(positive, negative, ridge=1e-3):
  """The Linear of least squares that has 1 on positive [N, D] and 0 on negative pairs [M, D].

  Both sets weigh the same. `ridge` penalises the weights of standardised features, per pair; the
  bias is free. In double precision on the host, with the smaller of the two systems of normal
  equations: that of the features or that of the pairs.
  """
  count, width = len(positive) + len(negative), positive.shape[1]
  rows = np.concatenate([positive, negative]).astype(np.float64)
  share = np.repeat([0.5 / len(positive), 0.5 / len(negative)], [len(positive), len(negative)])
  target = np.repeat([0.5, -0.5], [len(positive), len(negative)])
  mean = share @ rows
  spread = np.sqrt(share @ np.square(rows - mean[None]))
  spread = np.where(spread > 1e-9 * (1 + np.abs(mean)), spread, np.inf)  # no weight on constants
  rows = (rows - mean[None]) / spread[None] * np.sqrt(share)[:, None]
  target = target * np.sqrt(share)
  if width <= count:
    weight = np.linalg.solve(rows.T @ rows + ridge * np.eye(width), rows.T @ target)
  else:
    weight = rows.T @ np.linalg.solve(rows @ rows.T + ridge * np.eye(count), target)
  weight = weight / spread
  return Linear(jnp.asarray(weight, jnp.float32), jnp.asarray(0.5 - mean @ weight, jnp.float32))


class Model(NamedTuple):
  """A metric: features of images, and a score of pairs of them.

  init(key, encoder) -> params {'encoder', 'head', ...} with the parameters `encoder`;
  encode(params, images [N, S, S, 3]) -> features.Features; embed(params, Features, slots [N]) ->
  e [N, C]; pair(params, y [..., C], x [..., C], slots_y [...], slots_x [...]) -> scores [...].
  """
  init: Any
  encode: Any
  embed: Any
  pair: Any


def make(head, encoder, parts=0, width=0, hidden=0):
  """The Model of a head of HEADS, or of `pair` with its sizes, on a `formats.features.Apply`.

  parts: the number of parts of a view, width: their features, hidden: those of the MLP.
  """
  if head != 'pair':
    return _linear(head, encoder)
  pool = view_pairs.Parts(VIEWS, parts, width)
  net = view_pairs.PairScore(VIEWS, hidden)

  def init(key, params):
    slot = jnp.zeros((1,), jnp.int32)
    shapes = jax.eval_shape(encoder, params, jnp.zeros((1, 32, 32, 3)))
    each = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    k_pool, k_head = jax.random.split(key)
    pool_params = pool.init(k_pool, *each, slot)['params']
    e = pool.apply({'params': pool_params}, *each, slot)
    return {'encoder': params, 'pool': pool_params,
            'head': net.init(k_head, e, e, slot, slot)['params']}

  encode = lambda params, images: encoder(params['encoder'], images)
  embed = lambda params, each, slots: pool.apply({'params': params['pool']}, *each, slots)
  pair = lambda params, y, x, slots_y, slots_x: net.apply(
      {'params': params['head']}, y, x, slots_y, slots_x)
  return Model(init, encode, embed, pair)


def _linear(head, encoder):
  def init(key, params):
    del key
    token = jax.eval_shape(encoder, params, jnp.zeros((1, 32, 32, 3))).cls
    width = jax.eval_shape(lambda x: joined(head, x, x), token).shape[-1]
    return {'encoder': params, 'head': {'weight': jnp.zeros(width), 'bias': jnp.full((), 0.5)}}

  encode = lambda params, images: encoder(params['encoder'], images)
  embed = lambda params, each, slots: each.cls
  pair = lambda params, y, x, slots_y, slots_x: Linear(**params['head'])(joined(head, y, x))
  return Model(init, encode, embed, pair)


def scores(model, params, references, views, slots):
  """Scores [N, V] of views [N, V, S, S, 3] with references [N, S, S, 3], that show slots [N]."""
  count, each = views.shape[:2]
  slot = jnp.tile(jnp.arange(each), count)
  y = model.embed(params, model.encode(params, references), slots)
  flat = views.reshape(-1, *views.shape[2:])
  x = model.embed(params, model.encode(params, flat), slot).reshape(count, each, -1)
  broad = lambda value: jnp.broadcast_to(value, (count, each) + value.shape[2:])
  return model.pair(params, broad(y[:, None]), x, broad(slots[:, None]),
                    slot.reshape(count, each))


def losses(model, params, true, bad, changed, affected, slot, wrong):
  """Mean squared errors {'true', 'generated', 'corrupted', 'object', 'view'} of pairs of views.

  Of true views [N, V, S, S, 3] to 1, all others, negatives, to 0; the first SIDES views are
  references of all views but their own. `bad` are, where changed [N] bool, the true views of a
  changed object: positives among themselves, and negatives of `true` in the views that are affected
  [N, V] bool; elsewhere views that were generated from the reference in slot [N]. Negatives are
  also the views of another object, and those of the wrong slots [N, V] of the same object. Every
  picture is encoded once for all its pairs.
  """
  count, each = true.shape[:2]
  own = jnp.tile(jnp.arange(each), count)
  encoded = jax.tree.map(lambda x: x.reshape(2, count, each, *x.shape[1:]), model.encode(
      params, jnp.stack([true, bad]).reshape(-1, *true.shape[2:])))
  flat = lambda x: x.reshape(-1, *x.shape[2:])
  embed = lambda pick: model.embed(params, jax.tree.map(lambda x: flat(pick(x)), encoded),
                                   own).reshape(count, each, -1)
  t, b = embed(lambda x: x[0]), embed(lambda x: x[1])
  turned = embed(lambda x: x[0][jnp.arange(count)[:, None], wrong])

  slots_y, slots_x = jnp.arange(SIDES)[None, :, None], jnp.arange(each)[None, None]
  broad = lambda x: jnp.broadcast_to(x, (count, SIDES, each) + x.shape[3:])
  pair = lambda y, x: model.pair(params, broad(y[:, :SIDES, None]), broad(x[:, None]),
                                 broad(slots_y), broad(slots_x))
  away, of_change = slots_y != slots_x, changed[:, None, None]
  visible = away & affected[:, None] & of_change
  generated = away & ~of_change & (slots_x != slot[:, None, None])

  def mean(*parts):
    parts = [(jnp.square(x), broad(mask).astype(jnp.float32)) for x, mask in parts]
    total = sum((x * mask).sum() for x, mask in parts)
    return total / jnp.maximum(sum(mask.sum() for _, mask in parts), 1.0)
  forth = pair(t, b)
  return {'true': mean((pair(t, t) - 1, away), (pair(b, b) - 1, away & of_change)),
          'generated': mean((forth, generated)),
          'corrupted': mean((forth, visible), (pair(b, t), visible)),
          'object': mean((pair(t, jnp.roll(t, 1, 0)), away)),
          'view': mean((pair(t, turned), away))}


def total(values, slots):
  """The sum [N] of values [N, V] over the views other than the reference's, slots [N]."""
  own = jnp.arange(values.shape[1])[None] == slots[:, None]
  return jnp.where(own, 0.0, values).sum(1)


def score(apply, params, references, views, slots):
  """Scores [N] of objects by the `apply` of `load`: sums over the views other than the reference's.

  references [N, S, S, 3] and views [N, V, S, S, 3] in [0, 1]; slots [N], the references' views.
  """
  return total(apply(params, references, views, slots), slots)


def load(path=None):
  """(apply, params) of a folder of weights; None or '' is the shipped one.

  apply(params, references [N, S, S, 3], views [N, V, S, S, 3], slots [N]) -> scores [N, V], of
  which that of the reference's own slot has no meaning. WeightError where the folder is incomplete,
  damaged or of another network.
  """
  path = hub.resolve(path or shipped())
  weight_files.check_seal(path, (WEIGHTS, *BESIDE))
  config = hub.read_json(path / 'config.json').get('net')
  params = weight_files.load_tree(path / WEIGHTS)
  try:
    sizes = {name: config[name] for name in ('parts', 'width', 'hidden')}
    model = make(config['head'], features.of(config['encoder']), **sizes)
    target = jax.eval_shape(model.init, jax.random.key(0), params['encoder'])
  except (ConfigError, AttributeError, KeyError, TypeError, ValueError) as error:
    raise WeightError(f'{path / "config.json"} does not describe this network '
                      f'({str(error).splitlines()[0]}).') from error
  weight_files.load_tree(path / WEIGHTS, target)
  return jax.jit(lambda *arguments: scores(model, *arguments)), params


def shipped():
  """The folder of the shipped weights."""
  return pathlib.Path(str(importlib.resources.files('jax3dgen') / 'assets' / 'consistency'))
