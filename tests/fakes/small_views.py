"""Pictures of objects, views of a prior and a network of features that compile in no time."""

import json

import jax
import jax.numpy as jnp
import numpy as np

from jax3dgen.core import weights
from jax3dgen.formats import features
from jax3dgen.nn import vit
from tests import nets

NET = vit.ViT(8, 1, 2, 16, 2)


def render(objects):
  """In place of `consistency_checks.render`: noise [N, 5, 32, 32, 3] that follows from the fields.
  """
  rows = [np.asarray(x, np.float64).reshape(len(x), -1)[:, 0] for x in jax.tree.leaves(objects)]
  seeds = np.abs(1e3 * sum((i + 1) * x for i, x in enumerate(rows))).astype(int)
  draw = lambda seed: np.random.default_rng(seed).uniform(size=(5, 32, 32, 3))
  return np.stack([draw(seed) for seed in seeds]).astype(np.float32)


def generated(prior, params, held, sampler, samples=1):
  """In place of `consistency_checks.generated`: noise."""
  rng = np.random.default_rng(samples)
  return rng.integers(0, 256, (len(held.slot), samples, 5, 32, 32, 3)).astype(np.uint8)


def load(path):
  """In place of `prior.multiview.load`."""
  return None, {'w': np.zeros(1)}, None


def parameters():
  """Those of NET."""
  image = jnp.zeros((1, 32, 32, 3))
  return nets.random_parameters(lambda: NET.init(jax.random.key(0), image)['params'], scale=0.3)


def features_folder(folder):
  """Writes NET as a folder that `formats.features.load` reads; returns it."""
  weights.save(folder / 'weights.safetensors', parameters())
  sizes = {name: getattr(NET, name) for name in features.SIZES}
  (folder / 'config.json').write_text(json.dumps({'net': sizes}))
  weights.seal(folder, ('weights.safetensors', 'config.json'))
  return folder
