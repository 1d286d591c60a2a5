"""The embedded prior: text to 32-pixel images of figurines, a denoiser and a caption encoder.

Captioned images are drawn and rendered inside the step, so there is no data set. Axes: B examples
of this device, L words.
"""

import json
import pathlib
import shlex

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np
import optax

from jax3dgen.core import rng, tree
from jax3dgen.core.errors import ConfigError
from jax3dgen.data import figurine_examples, figurines
from jax3dgen.export import curves
from jax3dgen.prior import base, embedded, schedule
from jax3dgen.recipes.nets import prior_samples, ship

CARD = """# Embedded prior: captioned {size}x{size} images of figurines

A text-conditioned denoiser that predicts v ({denoiser:,} parameters, `jax3dgen/nn/unet_small.py`)
and a caption encoder over a closed vocabulary ({text:,} parameters, `jax3dgen/nn/caption.py`),
float16 of the exponential moving average (decay {ema}).

- **Data**: none but the procedural world of `jax3dgen/data/figurine_examples.py`, drawn while
  training: {kinds} in {colors}. The azimuth is biased to the front on purpose (normal,
  {spread_deg:g} degrees; {uniform:.0%} uniform), so that objects with several faces can be studied.
- **Training**: {training}
- **Final loss**: mean squared error of v {final:.4f} (mean over the last {tail} rows of curve.csv);
  the whole curve is in curve.csv and curve.svg, the whole config in training.json.
- **Samples**: of {samples} plain captions (every kind and colour), guidance {guidance:g}, {ddim}
  DDIM steps, {right:.1%} show the right kind in the right colour by the referee.
- **Use**: `jax3dgen.prior.embedded.load()`; guidance 3 to 5. It knows the words of words.json and
  nothing else. Nothing that is measured on it transfers to larger priors without saying so.
- **Licence**: Apache-2.0, like the code that made it.
"""
TAIL = 50  # rows of the curve that the final loss is averaged over
REPEATS = 4  # samples of each kind in each colour in the card's figure


def default_config():
  """A locked ConfigDict; the config of the shipped weights is beside them, in training.json."""
  c = ship.default_config()
  c.name = 'prior'
  c.init = ''  # continue from the EMA weights of this folder, 'shipped' for the package's; '': none

  c.net = ConfigDict()
  c.net.channels = (48, 96, 192)  # channels at 1/2, 1/4 and 1/8 of the image's size
  c.net.embedding = 256  # width of the embedding of noise level and caption
  c.net.head_width = 48  # channels of an attention head
  c.net.expansion = 2  # hidden width of an attention block's MLP, in units of its channels

  c.text = ConfigDict()
  c.text.width = 96  # width of the caption encoder
  c.text.depth = 2  # its layers
  c.text.heads = 4  # its attention heads

  c.data = ConfigDict()
  c.data.size = 32  # pixels per side
  c.data.spread_deg = 30.0  # standard deviation of the azimuth about the front
  c.data.uniform = 0.1  # share of the views whose azimuth is uniform instead
  c.data.above = 0.08  # share of the views from above
  c.data.phrase = 0.5  # share of the captions that name the view
  c.data.double_phrase = 0.03  # share of the captions that name two views, one of them wrongly
  c.data.degraded = 0.05  # share of the images that are spoilt, and say so
  c.data.hat = 0.1  # share of the figurines that wear a hat

  c.loss = ConfigDict()
  c.loss.gamma = 5.0  # min-SNR weighting of the v loss
  c.loss.floor = 0.05  # added to that weight
  c.loss.dropout = 0.1  # share of the captions that are dropped, for guidance

  c.optim.rate = 1.2e-3  # Adam's learning rate after the warm-up
  c.optim.warmup = 200  # steps of linear warm-up
  c.optim.decay = 0.6  # share of all steps, at the end, over which the rate falls to 0

  c.train.steps = 20000
  c.train.batch = 32

  c.sample = ConfigDict()
  c.sample.steps = 24  # DDIM steps of the sample grids
  c.sample.guidance = 4.0  # their guidance scale
  c.sample.every = 1000  # steps between sample grids

  c.checkpoint.every = 500
  return c.lock()


def net_config(cfg):
  """The sizes that `embedded.network` is built from, for config.json."""
  return {'size': cfg.data.size, 'denoiser': dict(cfg.net),
          'text': {'words': len(figurine_examples.words()), 'length': figurine_examples.LENGTH,
                   **cfg.text}}


def init(cfg):
  """New parameters, or those of the folder that config.init names ('shipped': the package's)."""
  net = net_config(cfg)
  if not cfg.init:
    return jax.jit(embedded.network(net)[0])(jax.random.key(cfg.seed))
  other, words, params = embedded.read(None if cfg.init == 'shipped' else cfg.init)
  if other != json.loads(json.dumps(net)) or words != figurine_examples.words():
    raise ConfigError(f'config.init={cfg.init}: those weights are of another network or '
                      'vocabulary; give config.net, config.text and config.data.size as in its '
                      'config.json.')
  return params


def learning_rate(cfg):
  """Linear warm-up, flat, then a half cosine to 0 over the last `decay` of all steps."""
  decay = round(cfg.train.steps * cfg.optim.decay)
  flat = optax.linear_schedule(0.0, cfg.optim.rate, cfg.optim.warmup)
  fall = optax.cosine_decay_schedule(cfg.optim.rate, max(decay, 1))
  return optax.join_schedules([flat, fall], [cfg.train.steps - decay])


def optimiser(cfg):
  """Adam under `learning_rate`, the global gradient norm clipped."""
  return optax.chain(optax.clip_by_global_norm(cfg.optim.clip),
                     optax.adam(learning_rate(cfg), b2=cfg.optim.b2))


def noise_levels(key, batch, index, count):
  """t [batch] in [0, 1): one in each of the strata of device `index` of `count`, of equal width."""
  stratum = index * batch + jnp.arange(batch)
  return (stratum + jax.random.uniform(key, (batch,))) / (batch * count)


def velocity_loss(embed, velocity, draw, cfg, count, axis_name=None):
  """loss(params, key) on one of `count` devices: the min-SNR weighted squared error of v.

  `embed` and `velocity` are those of `prior.embedded.network`; draw(key, batch) -> (image
  [B, H, W, 3] in [0, 1], caption ids [B, L] int32). Noise levels are stratified over the examples
  of all devices; a share of the captions is dropped.
  """
  batch, noise = cfg.train.batch // count, schedule.COSINE

  def of_images(params, key):
    index = jax.lax.axis_index(axis_name) if axis_name else 0
    image, ids = draw(rng.stream(key, 'draw'), batch)
    x0 = 2.0 * image - 1.0
    dropped = jax.random.uniform(rng.stream(key, 'dropout'), (batch,)) < cfg.loss.dropout
    ids = jnp.where(dropped[:, None], 0, ids)
    t = noise_levels(rng.stream(key, 'timestep'), batch, index, count)
    eps = jax.random.normal(rng.stream(key, 'noise'), x0.shape)
    x_t = base.add_noise(noise, x0, t, eps)
    error = velocity(params, x_t, t, embed(params, ids)) - base.velocity(noise, x0, t, eps)
    error = jnp.square(error).mean((1, 2, 3))
    weight = schedule.min_snr_v(noise, t, cfg.loss.gamma) + cfg.loss.floor
    return (weight * error).mean(), {'v_mse': error.mean()}
  return of_images


def loss(cfg, count, axis_name=None):
  """The loss of fresh captioned images on one of `count` devices (see `ship.Net`)."""
  def draw(key, batch):
    example = figurine_examples.draw(key, batch, **cfg.data)
    return example.image, example.tokens
  _, embed, velocity = embedded.network(net_config(cfg))
  return velocity_loss(embed, velocity, draw, cfg, count, axis_name)


def measure(params, cfg):
  """{'samples', 'right', 'guidance', 'ddim'} of `prior_samples.quality`."""
  return prior_samples.quality(params, net_config(cfg), cfg.sample.guidance, cfg.sample.steps,
                               REPEATS)


def hooks(cfg, workdir, writer):
  """A grid of samples every config.sample.every steps."""
  return [(cfg.sample.every, prior_samples.previewer(cfg, net_config(cfg), workdir, writer))]


def files(result):
  """config.json and words.json, which `prior.embedded` reads; training.json, the whole config with
  those of the runs before; the curve of the error of v."""
  steps, error = result.curves['v_mse']
  rows = [f'{int(s)},{w:.5g},{e:.5g}'
          for s, w, e in zip(steps, result.curves['loss'][1], error, strict=True)]
  return {'config.json': _json(net_config(result.config)),
          'words.json': _json(figurine_examples.words()),
          'training.json': _json(result.config.to_dict() | {'earlier': history(result.config)}),
          'curve.svg': curves.svg(steps, error),
          'curve.csv': '\n'.join(['step,loss,v_mse', *rows]) + '\n'}


def card(result):
  """The text of the card."""
  config, ema = result.config, result.params
  error = result.curves['v_mse'][1]
  return CARD.format(
      size=config.data.size, denoiser=tree.count(ema['denoiser']), text=tree.count(ema['text']),
      ema=config.optim.ema, spread_deg=config.data.spread_deg, uniform=config.data.uniform,
      training=_training([*history(config), config.to_dict()]), tail=TAIL,
      final=float(np.mean(error[-TAIL:])), kinds=', '.join(figurines.KINDS),
      colors=', '.join(figurines.COLORS), **result.figures)


def history(config):
  """The configs (dicts) of the runs that produced the initial weights of this one, in order."""
  if not config.init:
    return []
  folder = embedded.shipped() if config.init == 'shipped' else pathlib.Path(config.init)
  before = json.loads((folder / 'training.json').read_text())
  return [*before.pop('earlier', []), before]


def _json(value):
  return json.dumps(value, indent=1, sort_keys=True) + '\n'


def _training(parts):
  """The lines of the card on the runs, oldest first."""
  total = sum(part['train']['steps'] for part in parts)
  start = (f' in {len(parts)} runs, each from the weights of the one before (`shipped`)'
           if len(parts) > 1 else '')
  lines = [f'{total:,} steps of {parts[-1]["train"]["batch"]} images{start}:']
  return '\n'.join(lines + [f'  `{_command(part)}`' for part in parts])


def _command(config):
  """The command that repeats a run: its fields that differ from the defaults."""
  plain = lambda value: list(value) if isinstance(value, tuple) else value
  default = tree.flatten(default_config().to_dict())
  changed = [f' --config.{name}={shlex.quote(str(value))}'
             for name, value in tree.flatten(config).items()
             if plain(default[name]) != plain(value)]
  return ('python -m experiments.train_net --config configs/nets/prior.py' + ''.join(changed)
          + ' --workdir runs/prior')


NET = ship.Net('embedded prior', default_config, init, loss, measure, card, optimiser, files,
               ('config.json', 'words.json'), hooks, grad_norm=True)
