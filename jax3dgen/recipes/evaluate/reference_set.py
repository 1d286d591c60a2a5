"""The reference set of FID and uFID: a folder of pictures, or samples of the prior.

Samples have a fixed seed, are in equal shares of the front, side and back forms of each prompt
(RecDreamer: 60 of each prompt with directional suffixes), and are stored in the workdir.
"""

import hashlib
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from jax3dgen.core import image, modules, rng
from jax3dgen.core.errors import ConfigError
from jax3dgen.data import prompts
from jax3dgen.export import turntable
from jax3dgen.prior import sampler, words
from jax3dgen.recipes.evaluate import views as object_views

SIDES = ('front', 'side', 'back')
COLUMNS = 12  # pictures in a row of a stored grid
CHUNK = 20  # samples per batch


def pictures(config, texts, workdir):
  """Yields pictures [B, S, S, 3]: the PNG files of config.folder, or samples for each of `texts`.

  `config` is the section `reference` of the evaluation's config.
  """
  if not config.folder:
    yield from samples(config, texts, workdir)
    return
  paths = sorted(pathlib.Path(config.folder).glob('*.png'))
  if not paths:
    raise ConfigError(f'config.reference.folder={config.folder!r} holds no PNG file.')
  for picture, path in zip(object_views.read_all(paths), paths, strict=True):
    yield object_views.split(picture, path)


def samples(config, texts, workdir):
  """Yields config.count pictures [B, S, S, 3] of the prior for each text.

  They are read from the grids in workdir/reference; a missing grid is sampled and written first, so
  that the figures are always those of the stored pictures, of 8 bits.
  """
  missing = [text for text in texts if not grid_path(config, text, workdir).exists()]
  if missing:
    prior, params, tokenize = modules.find(
        'jax3dgen.prior', config.prior, 'config.reference.prior').load(config.weights or None)
    sample = sample_function(config, prior, params, tokenize)
    for text in missing:
      turntable.write_png(grid_path(config, text, workdir), image.grid(sample(text), COLUMNS))
  for text in texts:
    path = grid_path(config, text, workdir)
    grid = object_views.read_all([path])[0]
    size = grid.shape[1] // COLUMNS
    rows = [object_views.split(row, path) for row in np.split(grid, grid.shape[0] // size)]
    yield np.concatenate(rows)[:config.count]


def grid_path(config, text, workdir):
  """The file of the samples of a text; its name depends on the settings."""
  digest = hashlib.sha256(json.dumps(config.to_dict(), sort_keys=True).encode()).hexdigest()
  return workdir / 'reference' / f'{words.slug(text)}-{digest[:8]}.png'


def sample_function(config, prior, params, tokenize):
  """The function text -> config.count samples [N, S, S, 3]; it compiles once."""
  pixels = jnp.zeros((1, config.size, config.size, 3))
  shape = (CHUNK, *jax.eval_shape(prior.encode, params, pixels).shape[1:])

  @jax.jit
  def draw(params, key, cond, null):
    x0 = sampler.ddim(key, prior, params, cond, null, shape, config.steps, config.guidance,
                      clip=config.clip or None)
    return jnp.clip(prior.decode(params, x0), 0.0, 1.0)

  def sample(text):
    forms = prompts.view_prompts(text)
    rows = prior.embed(params, tokenize([*(forms[side] for side in SIDES), forms['null']]))
    pick = lambda index: jax.tree.map(lambda leaf: leaf[jnp.asarray(index)], rows)
    key = rng.stream(jax.random.key(config.seed), text)
    batches = [draw(params, jax.random.fold_in(key, start),
                    pick((start + np.arange(CHUNK)) % len(SIDES)), pick([len(SIDES)] * CHUNK))
               for start in range(0, config.count, CHUNK)]
    return np.concatenate(batches)[:config.count]
  return sample
