"""The autoencoder of occupancy: its loss by hand, its examples, a run."""

import json

import jax
import jax.numpy as jnp
from ml_collections import FrozenConfigDict
import numpy as np
import pytest
from scipy import special

from configs.nets import occupancy as configs
from jax3dgen.data import object_splits, objects
from jax3dgen.generator import embedded
from jax3dgen.recipes.nets import occupancy, ship

CFG = FrozenConfigDict(configs.get_config('tiny'))


class Scale:
  """A net that multiplies: of x [B, ...], with `channels` copies of it where they are given."""

  def __init__(self, channels=0):
    self.channels = channels

  def apply(self, variables, x):
    x = x * variables['params']
    return jnp.stack([x] * self.channels, -1) if self.channels else x[..., 0]


def test_loss_by_hand():
  """The encoder gives twice the occupancy as mean and log variance, the decoder three times."""
  soft = np.random.default_rng(0).uniform(0.01, 0.99, (2, 3, 3, 3)).astype(np.float32)
  params = {'encoder': jnp.float32(2.0), 'decoder': jnp.float32(3.0)}
  key = jax.random.key(1)
  value, terms = jax.jit(lambda x: occupancy.objective(
      (Scale(2), Scale()), params, key, x, CFG.loss))(soft)
  x = soft.astype(np.float64)
  mean = log_variance = 2 * x
  noise = np.asarray(jax.random.normal(key, (2, 3, 3, 3, 1)))[..., 0]
  logits = 3 * (mean + np.exp(log_variance / 2) * noise)
  p = special.expit(logits)
  bce = -np.mean(x * np.log(p) + (1 - x) * np.log1p(-p))
  dice = np.mean([1 - 2 * np.sum(a * b) / np.sum(a**2 + b**2) for a, b in zip(p, x)])
  kl = 0.5 * np.mean(mean**2 + np.exp(log_variance) - 1 - log_variance)
  assert float(terms['bce']) == pytest.approx(bce, rel=1e-4)
  assert float(terms['dice']) == pytest.approx(dice, rel=1e-4)
  assert float(terms['kl']) == pytest.approx(kl, rel=1e-4)
  assert float(value) == pytest.approx(10 * bce + dice + 3e-3 * kl, rel=1e-4)
  union = [np.sum((a > 0) & (b > 0.5)) / np.sum((a > 0) | (b > 0.5)) for a, b in zip(logits, x)]
  assert float(terms['iou']) == pytest.approx(np.mean(union), rel=1e-5)


def test_overlap_of_nothing_is_no_number_that_is_not_finite():
  assert np.asarray(occupancy.iou(-jnp.ones((1, 2, 2, 2)), -jnp.ones((1, 2, 2, 2)))).tolist() == [0]


def test_a_step_sees_training_objects_by_its_key(monkeypatch):
  seen = []
  monkeypatch.setattr(occupancy, 'objective', lambda nets, params, key, x, cfg: seen.append(
      np.asarray(x)))
  drawn = occupancy.data(CFG, None)
  everything = np.asarray(objects.occupancy(objects.draw(object_splits.seeds('train', 20))))
  loss = occupancy.loss(CFG, 2)
  for seed in (0, 0, 1):
    loss(None, jax.random.key(seed), drawn)
  rows = [[np.abs(everything - x).max((1, 2, 3)).argmin() for x in batch] for batch in seen]
  assert all(np.abs(everything[r] - x).max() < 1e-5 for r, x in zip(rows, seen))
  assert len(seen[0]) == CFG.train.batch // 2 and rows[0] == rows[1] != rows[2]


@pytest.mark.slow
def test_run_writes_a_folder_that_loads(tmp_path):
  folder = ship.run(occupancy.NET, configs.get_config('tiny'), tmp_path)
  encoder, decoder, params = embedded.read_autoencoder(folder)
  assert tuple(encoder.channels) == CFG.net.channels == tuple(decoder.channels)[::-1]
  measured = json.loads((folder / 'config.json').read_text())['measured']
  again = occupancy.measure(params, CFG)
  assert again == pytest.approx(measured, rel=1e-4)
  true = object_splits.stands(objects.logits(objects.draw(object_splits.seeds('validation', 5))))
  assert measured['stand_true'] == true.sum() and 0 < measured['iou'] < 1
