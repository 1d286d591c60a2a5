"""The rectified flow of the embedded image-to-3D generator, over latents of `occupancy`.

Latents and tokens of all pictures are computed once and kept in the workdir; a step draws objects,
noise levels and noises. The loss is TRELLIS's: squared error of the velocity at logit-normal noise
levels, the condition left out at times for guidance (Xiang et al. 2025).

Axes: B objects of this device, r and c of the latent, L tokens of D channels.
"""

import functools
import hashlib
import json
import pathlib

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np

from jax3dgen.core import image as pictures
from jax3dgen.core import parallel, rng, tree
from jax3dgen.core import weights as weight_files
from jax3dgen.core.types import Cond
from jax3dgen.data import object_splits, objects
from jax3dgen.feedback import flow_loss
from jax3dgen.generator import embedded, flow, networks
from jax3dgen.recipes.nets import occupancy, ship
from jax3dgen.scene import voxels

CARD = """# The embedded image-to-3D generator

A rectified flow over the latents of the `occupancy` weights under the tokens of a 32-pixel picture:
TRELLIS's flow transformer with patches of {patch}, {width} channels, {depth} blocks and {heads}
heads, {count:,} parameters, float16 on disk. The file holds the mean and the spread of the latents,
too. `jax3dgen.generator.embedded.load` reads both folders of weights.

- licence: Apache-2.0, as the project
- data: none fetched; {objects:,} random objects of `jax3dgen.data.objects` with one picture each,
  split 'train'
- condition: class token and patches of the shipped features (`assets/features`), layer-normed,
  beside the pixels of each patch; left out in {dropout:.0%} of the examples
- command: `python -m experiments.train_net --config configs/nets/generator.py \
--workdir runs/generator`
- {steps} steps of {batch} objects, number of devices: {devices}, seed {seed}, averaged weights; the
  config is in config.json. curve.csv has all steps; where the run was resumed with more of them,
  the earlier ones had the learning rates of the shorter run

## Held-out objects

{standing} standing objects of the split 'test', {samples} samples of each picture: {sampler_steps}
Euler steps, rescale_t {rescale_t:g}, guidance {guidance:g} in the form (1 + w) for noise levels in
[{low:g}, {high:g}]. A sample stands where all its parts of at least 3 %, as one body whose lowest
half voxel is cut off, stay within 20 degrees for 10 s in MuJoCo.

| | |
|---|---|
| loss on {validation} objects of the split 'validation' | {loss:.4f} |
| samples that stand | {stands:.1%} |
| intersection over union of voxels with the true object | {iou:.3f} |
| the same after the autoencoder alone | {iou_autoencoder:.3f} |
| parts of a sample | {parts:.2f} |
| samples without an occupied voxel | {empty} |

| kind | samples | stand | intersection over union |
|---|---|---|---|
{rows}

## Limits

It knows this procedural world: pictures of other things give a shape of its kinds at best. Pictures
are on white and cropped to the object with a margin of 1.2.
"""


def default_config():
  """A locked ConfigDict; the defaults made the shipped weights."""
  c = ship.default_config()
  c.name = 'generator'

  c.net = ConfigDict()
  c.net.width = 128  # channels of the tokens of the latent
  c.net.depth = 5  # blocks
  c.net.heads = 4  # heads of attention in each block
  c.net.patch = 2  # voxels per side of a patch of the latent

  c.data = ConfigDict()
  c.data.autoencoder = ''  # a folder of weights of `occupancy`; '': the shipped one
  c.data.count = 12_000  # objects of the split 'train'
  c.data.statistics = 500  # objects whose latents give their mean and spread

  c.loss = ConfigDict()
  c.loss.dropout = 0.1  # share of the examples without a condition

  c.optim.rate = 1.5e-3  # AdamW's largest learning rate
  c.optim.decay = 0.01  # AdamW's weight decay, on matrices only
  c.optim.ema = 0.995

  c.train.steps = 4600
  c.train.batch = 32  # objects per step, over all devices together

  c.sample = ConfigDict()
  c.sample.steps = embedded.SAMPLER['steps']  # Euler steps of a sample
  c.sample.rescale_t = embedded.SAMPLER['rescale_t']  # r of the noise levels r u / (1 + (r - 1) u)
  c.sample.guidance = embedded.SAMPLER['guidance']  # w of (1 + w) v(cond) - w v(null)
  c.sample.interval = embedded.SAMPLER['interval']  # noise levels with guidance

  c.test = ConfigDict()
  c.test.validation = 400  # held-out objects for the loss
  c.test.standing = 100  # held-out objects that stand, from whose pictures samples are drawn
  c.test.samples = 2  # samples of each
  return c.lock()


def parts(cfg):
  """(flow transformer, encoder, decoder, ImageNetwork, their fixed params) of the config."""
  encoder, decoder, params = embedded.read_autoencoder(cfg.data.autoencoder)
  image, params['image'] = embedded.image_network()
  net = embedded.flow_transformer(cfg.net, encoder.latent,
                                  embedded.context(image, params['image']))
  return net, encoder, decoder, image, params


def init(cfg):
  """New parameters {'flow', 'mean' [c], 'spread' [c]}; the last two are those of latents."""
  net, encoder, _, image, fixed = parts(cfg)
  params = jax.jit(lambda key: embedded.init_flow(net, encoder, key))(jax.random.key(cfg.seed))
  latent = examples(object_splits.seeds('train', cfg.data.statistics), encoder, image, fixed,
                    tokens=False)['latent'].astype(np.float32)
  return params | {'mean': jnp.asarray(latent.mean((0, 1, 2, 3))),
                   'spread': jnp.asarray(latent.std((0, 1, 2, 3)))}


def examples(seeds, encoder, image, fixed, tokens=True):
  """{'latent' [N, r, r, r, c], 'tokens' [N, L, D]}, float16, of the objects of N seeds.

  The latent is the posterior's mean.
  """
  encode = jax.jit(lambda params, drawn: encoder.apply({'params': params}, objects.occupancy(
      drawn))[..., :encoder.latent].astype(jnp.float16))
  embed = jax.jit(lambda params, images: image.tokens(params, images).astype(jnp.float16))

  def rows(seeds):
    drawn = objects.draw(seeds)
    latent = {'latent': encode(fixed['encoder'], drawn)}
    return latent | {'tokens': embed(fixed['image'], condition_pictures(drawn))} if (
        tokens) else latent
  return ship.in_chunks(rows, np.array(seeds))


def condition_pictures(drawn):
  """Pictures [B, 32, 32, 3] of Objects, rounded to 8 bits as those of a file are."""
  return pictures.to_uint8(objects.picture(drawn)[0]).astype(np.float32) / 255


def data(cfg, workdir):
  """The `examples` of training, from the workdir if they lie there."""
  _, encoder, _, image, fixed = parts(cfg)
  record = json.dumps([cfg.data.count, objects.LEAN, tree.digest(fixed)])
  path = pathlib.Path(workdir) / f'data_{hashlib.sha256(record.encode()).hexdigest()[:12]}'
  path = path.with_suffix('.safetensors')

  def generate():
    if not path.is_file():
      print(f'Computing the latents and tokens of {cfg.data.count:,} objects.', flush=True)
      seeds = object_splits.seeds('train', cfg.data.count)
      weight_files.save(path, examples(seeds, encoder, image, fixed))
  parallel.from_main(generate)
  return {name: np.array(x) for name, x in weight_files.Tensors(path).items()}


def objective(net, params, key, latent, tokens, dropout):
  """(loss [], its terms) of latents [B, r, r, r, c] and tokens [B, L, D]; t ~ LogitNormal(1, 1)."""
  mean, spread = (jax.lax.stop_gradient(params[name]).reshape(1, 1, 1, 1, -1)
                  for name in ('mean', 'spread'))
  x0 = (latent.astype(jnp.float32) - mean) / spread
  t = flow_loss.levels(rng.stream(key, 'level'), len(x0))
  eps = jax.random.normal(rng.stream(key, 'noise'), x0.shape)
  conditional = jax.random.uniform(rng.stream(key, 'dropout'), t.shape) >= dropout
  velocity = lambda params, x, t, tokens: net.apply({'params': params['flow']}, x, 1000.0 * t,
                                                    tokens)
  v, target = flow_loss.predict(velocity, params, x0,
                                tokens.astype(jnp.float32) * conditional[:, None, None], t, eps)
  return flow_loss.mean_square(v - target).mean(), {}


def loss(cfg, count, axis_name=None):
  """The loss of random examples of `data` on one of `count` devices (see `ship.Net`)."""
  net, batch = parts(cfg)[0], cfg.train.batch // count

  def of_examples(params, key, everything):
    rows = jax.random.randint(rng.stream(key, 'rows'), (batch,), 0, cfg.data.count)
    return objective(net, params, key, everything['latent'][rows], everything['tokens'][rows],
                     cfg.loss.dropout)
  return of_examples


def measure(params, cfg):
  """The figures of the card: the loss of validation objects, and samples of test objects."""
  net, encoder, decoder, image, fixed = parts(cfg)
  key = jax.random.key(ship.HELD_OUT)
  held_out = examples(object_splits.seeds('validation', cfg.test.validation), encoder, image, fixed)
  value = jax.jit(lambda params, latent, tokens: objective(
      net, params, rng.stream(key, 'loss'), latent, tokens, 0.0)[0])
  generator = networks.assemble(net, decoder, encoder, image, embedded.shape(encoder),
                                (params['mean'], params['spread']))
  seeds = object_splits.standing('test', cfg.test.standing)
  sampled = sample(generator, {'flow': params['flow'], **fixed}, rng.stream(key, 'samples'), seeds,
                  cfg.test.samples, cfg.sample)
  return {'loss': float(value(params, held_out['latent'], held_out['tokens'])), **sampled}


def sample(generator, params, key, seeds, count, cfg):
  """The figures of `count` samples of the picture of each object of `seeds`.

  stands, iou, parts: means over samples; iou_autoencoder: mean over objects, encoded and decoded;
  empty: number of samples; kinds: {kind: {'samples', 'stands', 'iou'}}. `cfg` is config.sample.
  """
  fast = generator._replace(velocity=jax.jit(generator.velocity))
  drawn = objects.draw(seeds)
  true = np.asarray(objects.logits(drawn))
  embed, decode = jax.jit(generator.embed), jax.jit(generator.decode)
  recode = functools.partial(jax.jit(lambda params, x: generator.decode(params, generator.encode(
      params, jax.nn.sigmoid(x)))), params)
  tokens = ship.in_chunks(lambda x: embed(params, x).tokens, condition_pictures(drawn))

  def integrate(rows):
    noise, tokens = rows
    return decode(params, flow.integrate(noise, fast, params, Cond(tokens),
                                         Cond(jnp.zeros_like(tokens)), **cfg))
  noise = jax.random.normal(key, (count, len(seeds), *generator.shape))
  logits = np.concatenate([ship.in_chunks(integrate, (x, tokens)) for x in noise])
  kind, stands = np.tile(drawn.kind, count), object_splits.stands(logits)
  pieces = np.array([voxels.parts(x) for x in logits])
  share = np.asarray(occupancy.iou(logits, np.concatenate([true] * count)))
  of_kind = lambda chosen: {'samples': int(chosen.sum()), 'stands': float(stands[chosen].mean()),
                            'iou': float(share[chosen].mean())}
  return {'stands': float(stands.mean()), 'iou': float(share.mean()),
          'iou_autoencoder': float(occupancy.iou(ship.in_chunks(recode, true), true).mean()),
          'parts': float(pieces.mean()), 'empty': int((pieces == 0).sum()),
          'kinds': {objects.KINDS[k]: of_kind(kind == k) for k in np.unique(kind)}}


def card(result):
  """The text of the card."""
  config, figures = result.config, dict(result.figures)
  rows = '\n'.join(f'| {kind} | {x["samples"]} | {x["stands"]:.0%} | {x["iou"]:.3f} |'
                   for kind, x in figures.pop('kinds').items())
  low, high = config.sample.interval
  return CARD.format(
      count=tree.count(result.params), **config.net, objects=config.data.count,
      dropout=config.loss.dropout, steps=config.train.steps, batch=config.train.batch,
      devices=parallel.device_count(), seed=config.seed, standing=config.test.standing,
      samples=config.test.samples, sampler_steps=config.sample.steps,
      rescale_t=config.sample.rescale_t, guidance=config.sample.guidance, low=low, high=high,
      validation=config.test.validation, rows=rows, **figures)


NET = ship.Net('image-to-3D generator', default_config, init, loss, measure, card, ship.adamw,
               occupancy.files, data=data)
