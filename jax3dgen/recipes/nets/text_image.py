"""Training the text-image model in one call.

`run(config, workdir)` is what `python -m experiments.train_text_image` calls. Calling it again
resumes from the newest whole checkpoint; a run whose steps are done measures and writes its weights
again.
"""

import functools
import pathlib

import jax
import jax.numpy as jnp
from ml_collections import FrozenConfigDict
import numpy as np

from jax3dgen.core import camera as cameras
from jax3dgen.core import parallel, rng
from jax3dgen.core.errors import ConfigError
from jax3dgen.data import figurine_examples, figurines, prompts
from jax3dgen.metrics import entropy
from jax3dgen.perception import text_image
from jax3dgen.recipes.nets import (
  referee_step,
  small_nets,
  text_image_assets,
  text_image_config,
  text_image_step,
)
from jax3dgen.train import workdir as workdirs

default_config = text_image_config.default_config
HELD_OUT = 2**31 - 1  # seed of the pictures that measure; training seeds are small
BATCH = 200  # pictures judged at once
RING = 10  # views of the entropies, as RecDreamer has them
SIDES = (1, 2, 3)  # of `prompts.VIEW_PHRASES`: front, side, back


def run(config, workdir, allow_change=False):
  """Trains into `workdir` and returns the folder of weights, `workdir`/weights."""
  parallel.initialize()
  workdir, cfg = pathlib.Path(workdir), FrozenConfigDict(config)
  count = parallel.device_count()
  if cfg.train.batch % (2 * count):
    raise ConfigError(f'config.train.batch={cfg.train.batch} must be a multiple of {2 * count}: an '
                      f'even number of pairs for each of {count} devices.')
  tx = referee_step.optimiser(cfg)
  with workdirs.lock(workdir):
    workdirs.check_config(workdir, config, allow_change)
    state = text_image_step.init_state(cfg, tx)
    step = text_image_step.make_step(tx, cfg, count, parallel.AXIS)
    state = small_nets.trained(config, workdir, state, step, 'text-image')
    if parallel.is_main():
      net, params = text_image_step.net_config(cfg), small_nets.as_shipped(state.ema)
      text_image_assets.write(workdir / 'weights', params, net, figurine_examples.words(),
                              measure(params, net, cfg), config, workdir / 'metrics.csv')
  return workdir / 'weights'


def measure(params, net, cfg):
  """{'clean', 'spoilt': {'object', 'side'}, 'entropy', 'distance', 'wrong_distance', 'scale'}.

  object: share of held-out pictures whose kind and colour are chosen among all; side: whose view is
  chosen among the front, side and back forms of the right words (views from above left out); both
  plain, though a view near a border is ambiguous. entropy: cEnt of correct figurines, mean and
  least. distance, wrong_distance: 1 - cosine to the right prompt and to that of another colour.
  """
  model = text_image.model(net, figurine_examples.words(), params)
  names = [f'a {color} {kind}' for kind in figurines.KINDS for color in figurines.COLORS]
  plain = np.asarray(model.texts(names))
  sides = np.stack([model.texts([f'{name}, {prompts.VIEW_PHRASES[s]}' for name in names])
                    for s in SIDES], 1)  # [objects, 3, D]
  key = jax.random.key(HELD_OUT)
  shares = lambda name, strength: _shares(model, plain, sides, rng.stream(key, name), cfg, strength)
  return {'clean': shares('clean', 0.0), 'spoilt': shares('spoilt', cfg.data.strength),
          **_rings(model, names, plain, sides), 'scale': model.scale}


def _shares(model, plain, sides, key, cfg, strength):
  draw = _drawer(cfg)
  objects, views = [], []
  for k in jax.random.split(key, -(-cfg.test.count // BATCH)):
    pairs = draw(k, strength)
    image = np.asarray(model.images(pairs.images))
    which = np.asarray(pairs.kind * len(figurines.COLORS) + pairs.color)
    view = np.asarray(pairs.view)
    objects.append((image @ plain.T).argmax(1) == which)
    seen = np.einsum('bd,bsd->bs', image, sides[which]).argmax(1)
    views.append((seen == view - 1)[view <= max(SIDES)])
  return {'object': float(np.concatenate(objects).mean()),
          'side': float(np.concatenate(views).mean())}


@functools.cache
def _drawer(cfg):
  return jax.jit(lambda key, strength: text_image_step.draw(key, BATCH, cfg.data, strength))


def _rings(model, names, plain, sides):
  """cEnt and distances of every kind x colour, without a hat, seen from RING even views."""
  camera = cameras.ring(RING, np.deg2rad(15.0), 2.9, np.deg2rad(40.0))

  @jax.jit
  def draw(kind, color):
    full = lambda x: jnp.full((RING,), x, jnp.int32)
    return figurines.render(figurines.Figurine(full(kind), full(color), full(0)), camera, 32).rgb

  colors, rows = len(figurines.COLORS), []
  for i in range(len(names)):
    image = np.asarray(model.images(draw(i // colors, i % colors)))
    other = i // colors * colors + (i + 1) % colors
    p = entropy.zero_shot(image, sides[i], model.scale)
    rows.append((entropy.of_mean(p), 1 - (image @ plain[i]).mean(),
                 1 - (image @ plain[other]).mean()))
  rows = np.array(rows, np.float64)
  return {'entropy': {'mean': float(rows[:, 0].mean()), 'least': float(rows[:, 0].min())},
          'distance': float(rows[:, 1].mean()), 'wrong_distance': float(rows[:, 2].mean())}
