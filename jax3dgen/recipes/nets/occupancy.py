"""The autoencoder of the embedded image-to-3D generator: soft occupancy <-> latents.

TRELLIS's autoencoder of occupancy in small (`generator.embedded.autoencoder`), with its dice loss
(Xiang et al. 2025) and ten times a cross entropy against soft occupancy, so that logits become
signed distances in units of `objects.SOFTNESS` voxels and surfaces lie between voxel centres.

Axes: B objects of this device, R voxels per side, r and c of the latent.
"""

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np
import optax

from jax3dgen.core import parallel, rng, tree
from jax3dgen.data import object_splits, objects
from jax3dgen.generator import embedded
from jax3dgen.recipes.nets import ship

LOG_VARIANCE = (-12.0, 4.0)  # range of the posterior's

CARD = """# The autoencoder of the embedded image-to-3D generator

Occupancy of 32^3 voxels <-> a latent of {side}^3 x {latent}: TRELLIS's autoencoder with the
channels {channels}, {depth} residual blocks at each size and {middle} at the latent's,
{count:,} parameters, float16 on disk.

- licence: Apache-2.0, as the project
- data: none fetched; {objects:,} random objects of `jax3dgen.data.objects`, split 'train'
- loss: {bce:g} x cross entropy of soft occupancy + dice + {kl:g} x KL divergence
- command: `python -m experiments.train_net --config configs/nets/occupancy.py \
--workdir runs/occupancy`
- {steps} steps of {batch} objects on {devices} devices, seed {seed}, averaged weights; the config
  is in config.json

## Held-out objects ({tested} of the split 'validation')

| | |
|---|---|
| intersection over union of voxels | {iou:.3f} |
| lowest of an object | {iou_least:.3f} |
| mean error of the signed distance within a voxel of the surface, in voxels | {error:.3f} |
| objects that stand, of the true ones | {stand_true} |
| objects that stand, decoded | {stand} |
| labels that agree | {agree} |
| stand although the true object falls | {falsely} |

An object stands where all its parts of at least 3 %, as one body whose lowest half voxel is cut
off, stay within 20 degrees for 10 s in MuJoCo.

## Limits

It knows this procedural world: solids of at least two voxels, soles at one height.
"""


def default_config():
  """A locked ConfigDict; the defaults made the shipped weights."""
  c = ship.default_config()
  c.name = 'occupancy'

  c.net = ConfigDict()
  c.net.channels = (4, 16, 64)  # of the encoder's grids of 32, 16 and 8 voxels per side
  c.net.latent = 8  # channels of the latent
  c.net.depth = 0  # residual blocks at each size
  c.net.middle = 2  # residual blocks at the size of the latent

  c.data = ConfigDict()
  c.data.count = 20_000  # objects of the split 'train'

  c.loss = ConfigDict()
  c.loss.bce = 10.0  # weight of the cross entropy
  c.loss.kl = 3e-3  # weight of the KL divergence from a standard normal distribution

  c.optim.warmup = 40
  c.optim.decay = 1e-3  # AdamW's weight decay, on matrices only
  c.optim.ema = 0.99

  c.train.steps = 900
  c.train.batch = 8  # objects per step, over all devices together

  c.checkpoint.every = 100

  c.test = ConfigDict()
  c.test.count = 200  # held-out objects
  return c.lock()


def init(cfg):
  """New parameters {'encoder', 'decoder'}."""
  nets = embedded.autoencoder(cfg.net)
  return jax.jit(lambda key: embedded.init_autoencoder(*nets, key))(jax.random.key(cfg.seed))


def data(cfg, workdir):
  """The Objects of training."""
  return objects.draw(object_splits.seeds('train', cfg.data.count))


def objective(nets, params, key, occupancy, cfg):
  """(loss [], its terms) of soft occupancy [B, R, R, R]."""
  encoder, decoder = nets
  mean, log_variance = jnp.split(encoder.apply({'params': params['encoder']}, occupancy), 2, -1)
  log_variance = jnp.clip(log_variance, *LOG_VARIANCE)
  latent = mean + jnp.exp(0.5 * log_variance) * jax.random.normal(key, mean.shape)
  logits = decoder.apply({'params': params['decoder']}, latent)
  bce = optax.sigmoid_binary_cross_entropy(logits, occupancy).mean()
  guess, voxels = jax.nn.sigmoid(logits), (1, 2, 3)
  overlap = 2 * jnp.sum(guess * occupancy, voxels) / jnp.sum(guess**2 + occupancy**2, voxels)
  dice = 1 - overlap.mean()
  kl = 0.5 * jnp.mean(mean**2 + jnp.exp(log_variance) - 1 - log_variance)
  terms = {'bce': bce, 'dice': dice, 'kl': kl, 'iou': iou(logits, occupancy - 0.5).mean()}
  return cfg.bce * bce + dice + cfg.kl * kl, terms


def iou(logits, true):
  """Intersection over union [B] of the voxels that are occupied by logits and true logits."""
  a, b = logits > 0, true > 0
  return jnp.sum(a & b, (1, 2, 3)) / jnp.maximum(jnp.sum(a | b, (1, 2, 3)), 1)


def loss(cfg, count, axis_name=None):
  """The loss of random objects of `data` on one of `count` devices (see `ship.Net`)."""
  nets, batch = embedded.autoencoder(cfg.net), cfg.train.batch // count

  def of_objects(params, key, everything):
    rows = jax.random.randint(rng.stream(key, 'rows'), (batch,), 0, cfg.data.count)
    chosen = jax.tree.map(lambda x: x[rows], everything)
    return objective(nets, params, rng.stream(key, 'posterior'), objects.occupancy(chosen),
                     cfg.loss)
  return of_objects


def measure(params, cfg):
  """The figures of the card on held-out objects.

  error: mean distance of the decoded logits, as signed distances in voxels, from the true ones,
  over voxels within one voxel of the surface.
  """
  encoder, decoder = embedded.autoencoder(cfg.net)

  @jax.jit
  def reconstruct(occupancy):
    mean, _ = jnp.split(encoder.apply({'params': params['encoder']}, occupancy), 2, -1)
    return decoder.apply({'params': params['decoder']}, mean)
  true = ship.in_chunks(lambda seeds: objects.logits(objects.draw(seeds)),
                        np.array(object_splits.seeds('validation', cfg.test.count)))
  decoded = ship.in_chunks(lambda logits: reconstruct(jax.nn.sigmoid(logits)), true)
  near = np.abs(true) < 1 / objects.SOFTNESS
  stand_true, stand = object_splits.stands(true), object_splits.stands(decoded)
  shares = iou(decoded, true)
  return {'iou': float(shares.mean()), 'iou_least': float(shares.min()),
          'error': float(objects.SOFTNESS * np.abs(decoded - true)[near].mean()),
          'stand_true': int(stand_true.sum()), 'stand': int(stand.sum()),
          'agree': int((stand == stand_true).sum()), 'falsely': int((stand & ~stand_true).sum())}


def files(result):
  """config.json with the sizes of the nets, which `generator.embedded` reads."""
  return {'config.json': ship.json_text({
      'net': result.config.net.to_dict(), 'config': result.config.to_dict(),
      'measured': result.figures})}


def card(result):
  """The text of the card."""
  config = result.config
  sizes = config.net.to_dict()
  return CARD.format(
      count=tree.count(result.params), side=objects.RESOLUTION // 2 ** (len(sizes['channels']) - 1),
      **sizes | {'channels': ', '.join(map(str, sizes['channels']))}, objects=config.data.count,
      bce=config.loss.bce, kl=config.loss.kl, steps=config.train.steps, batch=config.train.batch,
      devices=parallel.device_count(), seed=config.seed, tested=config.test.count,
      **result.figures)


NET = ship.Net('occupancy autoencoder', default_config, init, loss, measure, card, ship.adamw,
               files, data=data)
