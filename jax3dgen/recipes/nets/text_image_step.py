"""One step of training the text-image model: it draws its own captioned pictures.

Axes: B pairs of this device, D embedding. Which captions of a batch are true of which of its images
is known, so none that is true counts as a contrast. Everything drawn follows from (seed, step,
device).
"""

from flax import struct
import jax
import jax.numpy as jnp
import optax

from jax3dgen.core import rng
from jax3dgen.core.types import Array
from jax3dgen.data import figurine_examples, figurine_views
from jax3dgen.nn import text_image as nets
from jax3dgen.perception import text_image
from jax3dgen.recipes.nets import referee_step

HAT = figurine_examples.words().index('hat')
LOG_SCALE = 4.6  # most of the logarithm of the scale, as CLIP bounds it (ln 100)


@struct.dataclass
class Pairs:
  """B images [B, S, S, 3] and captions: tokens [B, L], truth [B, B] (1 where caption j is true of
  image i), kind, color and view [B] (into `prompts.VIEW_PHRASES`) of the images."""
  images: Array
  tokens: Array
  truth: Array
  kind: Array
  color: Array
  view: Array


def net_config(cfg):
  """The sizes of the towers as plain values, for config.json."""
  return {'widths': list(cfg.net.widths), 'embedding': cfg.net.embedding,
          'text': {'words': len(figurine_examples.words()), 'length': figurine_examples.LENGTH,
                   'width': cfg.text.width, 'depth': cfg.text.depth, 'heads': cfg.text.heads}}


def draw(key, batch, data, strength):
  """Random Pairs [batch] (even), azimuths uniform, spoilt by up to `strength` but for a share.

  `data` is the `data` section of `recipes.nets.text_image_config`.
  """
  e = figurine_examples.draw(rng.stream(key, 'examples'), batch, uniform=1.0, phrase=data.phrase,
                             double_phrase=0.0, degraded=0.0, hat=data.hat, above=data.above,
                             size=nets.SIZE)
  u = jax.random.uniform(rng.stream(key, 'amounts'), (batch, figurine_views.DRAWS))
  grain = jax.random.normal(rng.stream(key, 'grain'), (batch, nets.SIZE, nets.SIZE, 4))
  clean = jax.random.bernoulli(rng.stream(key, 'clean'), data.clean, (batch, 1, 1, 1))
  images = figurine_views.spoil(u, grain, e.image, jnp.where(clean, 0.0, strength))
  figurine = e.figurine
  return Pairs(images, e.tokens, truth(figurine, e.view, e.tokens, e.phrase), figurine.kind,
               figurine.color, e.view)


def truth(figurine, view, tokens, phrase):
  """[B, B] in {0, 1}: whether caption j (tokens [B, L], view phrase said [B]) is true of image i.

  A caption without hat or view is true with and without a hat, and of every view.
  """
  same = lambda x: x[:, None] == x[None]
  says_hat = (tokens == HAT).any(-1)
  hat = (figurine.hat[:, None] > 0) | ~says_hat[None]
  seen = (phrase[None] == 0) | (view[:, None] == phrase[None])
  return (same(figurine.kind) & same(figurine.color) & hat & seen).astype(jnp.float32)


def objective(apply, params, pairs):
  """(loss [], its terms): CLIP's cross entropies between images and captions of a batch, both ways.

  The target is uniform over all that is true, its own entropy is subtracted: a perfect model
  reaches 0. `apply` is (images, texts) of `perception.text_image.network`.
  """
  images, texts = apply
  cosine = images(params, pairs.images) @ texts(params, pairs.tokens).T
  logits = jnp.exp(jnp.minimum(params['log_scale'], LOG_SCALE)) * cosine
  share = lambda x: x / x.sum(-1, keepdims=True)
  loss = lambda logits, target: optax.kl_divergence(jax.nn.log_softmax(logits), target).mean()
  terms = {'to_text': loss(logits, share(pairs.truth)),
           'to_image': loss(logits.T, share(pairs.truth.T))}
  return 0.5 * sum(terms.values()), terms


def init_state(cfg, tx):
  """The state before the first step (`referee_step.RefereeState`)."""
  init = text_image.network(net_config(cfg))[0]
  return referee_step.start(jax.jit(init)(jax.random.key(cfg.seed)), tx)


def make_step(tx, cfg, count, axis_name=None):
  """step(state) -> (state, metrics) for one of `count` devices; each draws train.batch / count."""
  apply = text_image.network(net_config(cfg))[1:]
  batch = cfg.train.batch // count

  def loss(params, key):
    return objective(apply, params, draw(key, batch, cfg.data, cfg.data.strength))
  return referee_step.descend(loss, tx, cfg, axis_name)
