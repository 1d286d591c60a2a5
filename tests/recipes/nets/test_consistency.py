"""Training of the metric of consistency: its shares, rates and data, and a whole run."""

import json

import jax
import jax.numpy as jnp
from ml_collections import FrozenConfigDict
import numpy as np
import pytest

from configs.nets import consistency as configs
from jax3dgen.core import weights
from jax3dgen.core.errors import ConfigError
from jax3dgen.data import view_corruptions as corruptions
from jax3dgen.perception import consistency as metric
from jax3dgen.prior import multiview
from jax3dgen.recipes.nets import consistency, ship
from jax3dgen.recipes.nets import consistency_checks as checks
from tests.fakes import small_views

SHARES = {'generated': 0.4, 'corrupted': 0.3, 'object': 0.2, 'view': 0.1}


def test_shares():
  config = configs.get_config('tiny')
  config.negatives.view = 0.5
  with pytest.raises(ConfigError, match='their sum 1'):
    consistency.shares_of(config)
  assert consistency.generated_rows(SHARES, 14) == 8
  assert consistency.generated_rows(SHARES | {'generated': 0.0}, 14) == 0
  with pytest.raises(ConfigError, match='1 objects on a device are too few'):
    consistency.generated_rows(SHARES, 1)
  paper = configs.get_config('paper')
  assert consistency.generated_rows(consistency.shares_of(paper), 8) == 8
  assert paper.net.head == 'concat'


def test_the_encoder_has_its_own_rate():
  cfg = FrozenConfigDict(configs.get_config('tiny'))
  params = {'encoder': {'a': jnp.ones(2)}, 'head': {'b': jnp.ones(2)}, 'pool': {'c': jnp.ones(2)}}
  tx = consistency.optimiser(cfg)
  state, grads = tx.init(params), jax.tree.map(lambda x: 0.1 * x, params)
  for _ in range(2):  # the first rate of a warm-up is 0
    step, state = tx.update(grads, state, params)
  assert float(step['head']['b'][0]) == pytest.approx(-cfg.optim.rate, rel=1e-3)
  assert float(step['pool']['c'][0]) == float(step['head']['b'][0])
  assert float(step['encoder']['a'][0]) == pytest.approx(-cfg.optim.rate * cfg.optim.encoder,
                                                         rel=1e-3)


def test_order_counts_judged_views_and_halves_of_ties():
  true, other = np.array([[1, 2, 3], [1, 1, 1]]), np.array([[0, 3, 3], [0, 0, 9]])
  judged = np.array([[True, True, True], [True, True, False]])
  row = checks.order(true, other, judged)
  assert row['auc'] == pytest.approx((1 + 0 + 0.5 + 1 + 1) / 5) and row['count'] == 5
  assert row['low'] == pytest.approx(0.5) and row['high'] == pytest.approx(1.0)


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
  """(workdir, folder of weights, names of what was computed) of a whole tiny run."""
  calls = []

  def logged(name, function):
    def call(*args):
      calls.append(name)
      return function(*args)
    return call
  workdir, config = tmp_path_factory.mktemp('run'), configs.get_config('tiny')
  config.net.features = str(small_views.features_folder(tmp_path_factory.mktemp('features')))
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(checks, 'render', small_views.render)
    patch.setattr(checks, 'generated', logged('sampled', small_views.generated))
    patch.setattr(multiview, 'load', small_views.load)
    folder = ship.run(consistency.NET, config, workdir)
    first = list(calls)
    consistency.data(FrozenConfigDict(config), workdir)  # from the files of the workdir
  assert calls == first == ['sampled'] * 2  # for training, and to measure
  return workdir, folder


@pytest.mark.slow
def test_run_writes_a_folder_that_loads(trained):
  workdir, folder = trained
  apply, params = metric.load(folder)
  assert set(params) == {'encoder', 'head', 'pool'}
  measured = json.loads((folder / 'config.json').read_text())['measured']
  assert set(measured) == {*corruptions.NAMES, checks.SHOWN, 'generated'}
  assert f'| hat | {measured["hat"]["auc"]:.3f} |' in (folder / 'card.md').read_text()
  images = np.random.default_rng(0).uniform(size=(2, 6, 32, 32, 3)).astype(np.float32)
  score = metric.score(apply, params, images[:, 0], images[:, 1:], np.array([0, 1]))
  assert score.shape == (2,) and np.isfinite(score).all()
  rows = np.genfromtxt(workdir / 'metrics.csv', delimiter=',', names=True)
  shares = consistency.shares_of(configs.get_config('tiny'))
  np.testing.assert_allclose(rows['loss'], rows['true'] + sum(
      share * rows[name] for name, share in shares.items()), rtol=1e-4)


@pytest.mark.slow
def test_data_of_changes_are_pairs_of_pictures(trained):
  stored = weights.Tensors(next(trained[0].glob('changed_*.safetensors')))
  assert stored['true'].shape == stored['bad'].shape == (8, 5, 32, 32, 3)
  np.testing.assert_array_equal(stored['slot'], [0, 1, 2, 3] * 2)
  assert (stored['true'] != stored['bad']).any((1, 2, 3, 4)).all()
