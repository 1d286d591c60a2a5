"""One step of training the features, by self-supervision: no pose, kind or colour enters the loss.

Two crops of one picture, differently coloured and spoilt, shall have like class tokens, unlike
those of all other pictures of the batch (InfoNCE, van den Oord et al. 2018); where both crops show
the same place, their patches shall be alike, unlike those of other places and of other pictures. A
batch holds few figurines, each from many sides: kind and colour then tell a picture from few of the
others, and what does is how the figurine stands. No crop is mirrored, other than in DINOv2's
recipe: the mirror image of a figurine seen from its left is one seen from its right, and the two
must not look alike.

Axes: B pictures of this device, S compared patches of each, N patches of a crop, C channels, D
pictures of all devices. The step runs under jit, vmap(axis_name) and pmap alike; everything it
draws follows from (seed, step, device), so a resumed run repeats an unbroken one.
"""


import jax
import jax.numpy as jnp
import numpy as np
import optax

from jax3dgen.core import rng, tree
from jax3dgen.data import figurine_views
from jax3dgen.formats import features
from jax3dgen.nn import vit
from jax3dgen.perception import augment
from jax3dgen.recipes.nets import referee_step

SIZE = features.SIZE
INK = 0.06  # a patch whose mean distance from white exceeds this shows something


def network(cfg):
  """The net of the config."""
  return vit.ViT(cfg.net.width, cfg.net.depth, cfg.net.heads, cfg.net.patch, SIZE // cfg.net.patch,
                 branch=cfg.net.branch)


def optimiser(cfg):
  """AdamW with a short warm-up and a cosine decay to 0 over all steps."""
  rate = optax.warmup_cosine_decay_schedule(0.0, cfg.optim.rate, cfg.optim.warmup, cfg.train.steps)
  matrices = lambda params: tree.mask(params, 'kernel$')
  return optax.chain(optax.clip_by_global_norm(cfg.optim.clip), optax.adamw(
      rate, b2=cfg.optim.b2, weight_decay=cfg.optim.decay, mask=matrices))


def init_state(key, net, tx):
  """The state before the first step (a `referee_step.RefereeState`)."""
  return referee_step.start(jax.jit(net.init)(key, jnp.zeros((2, SIZE, SIZE, 3)))['params'], tx)


def crops(key, images, cfg):
  """(crops [B, 32, 32, 3] of images [B, 32, 32, 3], the Crop): moved, recoloured and spoilt."""
  batch = len(images)
  k_place, k_color, k_mix, k_amounts, k_grain = jax.random.split(key, 5)
  u = 2 * jax.random.uniform(k_place, (5, batch)) - 1
  low, high = cfg.scale
  crop = augment.Crop(cfg.shift * u[:2].T, 0.5 * (low + high) + 0.5 * (high - low) * u[2:4].T,
                      cfg.shear * u[4])
  out = augment.cropped(images, crop)
  v = jax.random.uniform(k_color, (8, batch))
  tone = lambda x: 1.0 + cfg.tone * (2 * x - 1)
  angle = jnp.where(v[0] < cfg.hue, np.pi, 0.3) * (2 * v[1] - 1)
  mix = cfg.mix * jax.random.normal(k_mix, (batch, 3, 3))
  matrix = augment.colour_matrix(angle, tone(v[2])) + mix - mix.mean(-1, keepdims=True)
  out = augment.recoloured(out, matrix, jnp.minimum(tone(v[3]), 1.1), tone(v[4]))
  out = augment.outlined(augment.greyed(out, v[5] < cfg.grey), v[7] < cfg.lines)
  strength = jnp.where(v[6] < cfg.clean, 0.0, cfg.strength)[:, None, None, None]
  return figurine_views.spoil(
      jax.random.uniform(k_amounts, (batch, figurine_views.DRAWS)),
      jax.random.normal(k_grain, (batch, SIZE, SIZE, 4)), out, strength), crop


def chosen(key, images, crop, count, per_side):
  """Places (x, y) [B, S] in the first crop, the centres of `count` patches of the picture.

  Patches that show something, in images [B, 32, 32, 3] as the crop shows them, come first: those of
  the white ground cannot be told apart.
  """
  shown = augment.cropped(images, crop)
  side = SIZE // per_side
  ink = (1.0 - shown).mean(-1).reshape(-1, per_side, side, per_side, side).mean((2, 4))
  order = jax.random.uniform(key, (len(images), per_side**2)) + (ink.reshape(len(ink), -1) > INK)
  index = jax.lax.top_k(order, count)[1]
  centre = jnp.asarray(augment.places(per_side))
  return centre[index % per_side], centre[index // per_side]


def looked_up(patches, x, y):
  """patches [B, h, w, C] interpolated at places x, y [B, S]: [B, S, C]."""
  edge = 1.0 - 1.0 / patches.shape[1]  # beyond the outermost centres: theirs
  down, across = (augment.hats(jnp.clip(v, -edge, edge), patches.shape[1]) for v in (y, x))
  return jnp.einsum('bsi,bsj,bijc->bsc', down, across, patches)


def unit(x):
  """x [..., C] divided by its length."""
  return x * jax.lax.rsqrt(jnp.maximum(jnp.sum(x**2, -1, keepdims=True), 1e-12))


def info_nce(anchors, others, first, temperature, weight=None):
  """(InfoNCE of unit vectors, share of the anchors whose likest is the right one), both [].

  anchors [B, C]; others [D, C], of which number first + b belongs to anchor b, and all others are
  negatives. weight [B]: how much each anchor counts.
  """
  logits = anchors @ others.T / temperature
  right = first + jnp.arange(len(anchors))
  weight = jnp.ones(len(anchors)) if weight is None else weight
  mean = lambda x: jnp.sum(weight * x) / jnp.maximum(weight.sum(), 1.0)
  loss = optax.softmax_cross_entropy_with_integer_labels(logits, right)
  return mean(loss), mean(logits.argmax(-1) == right)


def objective(net, params, key, images, cfg, axis_name=None):
  """(loss [], its terms): InfoNCE of class tokens, both ways, and of patches at the same places."""
  batch = len(images)
  k_one, k_two, k_places = jax.random.split(key, 3)
  (one, crop_one), (two, crop_two) = (crops(k, images, cfg.augment) for k in (k_one, k_two))
  token, patches = features.small(net)(params, jnp.concatenate([one, two]))
  a, b = jnp.split(unit(token), 2)
  if axis_name:
    spread = lambda x: jax.lax.all_gather(x, axis_name, tiled=True)
    first = batch * jax.lax.axis_index(axis_name)
  else:
    spread, first = (lambda x: x), 0
  forth, hit = info_nce(a, spread(b), first, cfg.loss.temperature)
  back, _ = info_nce(b, spread(a), first, cfg.loss.temperature)
  p, q = jnp.split(patches, 2)
  x, y = chosen(k_places, images, crop_one, cfg.loss.patches, p.shape[1])
  u, v = augment.target(crop_two, *augment.source(crop_one, x, y))
  seen = (jnp.abs(u) < 1) & (jnp.abs(v) < 1)
  flat = lambda z: unit(z).reshape(-1, z.shape[-1])
  local, local_hit = info_nce(flat(looked_up(p, x, y)), flat(looked_up(q, u, v)), 0,
                              cfg.loss.patch_temperature, seen.reshape(-1).astype(jnp.float32))
  terms = {'token': 0.5 * (forth + back), 'patch': local, 'token_hit': hit, 'patch_hit': local_hit}
  return terms['token'] + cfg.loss.patch_weight * local, terms


def make_step(net, tx, cfg, count, axis_name=None):
  """step(state) -> (state, metrics) for one of `count` devices; each draws train.batch / count."""
  batch, figures = cfg.train.batch // count, cfg.train.figurines // count

  def loss(params, key):
    images = figurine_views.pictures(rng.stream(key, 'pictures'), batch, figures, cfg.views)[0]
    return objective(net, params, rng.stream(key, 'crops'), images, cfg, axis_name)
  return referee_step.descend(loss, tx, cfg, axis_name)
