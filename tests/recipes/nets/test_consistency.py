"""Training of the metric of consistency: loss by hand, data, a whole run; the table of heads."""

import json

import jax
import jax.numpy as jnp
from ml_collections import FrozenConfigDict
import numpy as np
import pytest

from configs import consistency as table_configs
from configs.nets import consistency as configs
from jax3dgen.core import weights
from jax3dgen.core.errors import ConfigError
from jax3dgen.data import view_corruptions as corruptions
from jax3dgen.formats import features
from jax3dgen.nn import vit
from jax3dgen.perception import consistency as metric
from jax3dgen.prior import multiview
from jax3dgen.recipes.nets import consistency, consistency_table, ship
from jax3dgen.recipes.nets import consistency_checks as checks
from tests import nets

SHARES = {'generated': 0.4, 'corrupted': 0.3, 'object': 0.2, 'view': 0.1}


def encode(params, images):
  """Features that compile in no time: mean colours."""
  return features.Features(images.mean((1, 2)), images[:, :1, :1])


def embed(params, each, slots):
  return each.cls * (1 + slots[:, None])  # the slots must be those of the places, not of the views


def pair(params, y, x, slots_y, slots_x):
  return (y * x) @ params['w'] + 0.1 * slots_y - 0.2 * slots_x


MODEL = metric.Model(None, encode, embed, pair)


def test_loss_is_that_of_all_pairs():
  rng = np.random.default_rng(0)
  true, bad = rng.uniform(size=(2, 4, 5, 6, 6, 3)).astype(np.float32)
  bad[2, 3] = true[2, 3]  # a change that does not affect this view
  changed, slot, key = np.array([False, False, True, True]), np.array([0, 2, 0, 1]), (
      jax.random.key(3))
  params = {'w': jnp.array([1.0, -2.0, 0.5])}
  loss, terms = jax.jit(lambda a, b: consistency.objective(
      MODEL, params, key, a, b, jnp.asarray(changed), jnp.asarray(slot), SHARES))(true, bad)
  wrong = np.asarray(corruptions.wrong_slots(key, 4))
  e = {'t': true.mean((2, 3)), 'b': bad.mean((2, 3))}
  f = lambda y, r, x, v: float((np.array([1, -2, 0.5]) * y * (1 + r) * x * (1 + v)).sum()
                               + 0.1 * r - 0.2 * v)
  rows = {name: [] for name in ('true', *SHARES)}
  for n in range(4):
    t, b, other = e['t'][n], e['b'][n], e['t'][n - 1]
    for r in range(4):
      for v in set(range(5)) - {r}:
        rows['true'].append((f(t[r], r, t[v], v) - 1)**2)
        rows['object'].append(f(t[r], r, other[v], v)**2)
        rows['view'].append(f(t[r], r, t[wrong[n, v]], v)**2)
        if not changed[n]:
          rows['generated'] += [f(t[r], r, b[v], v)**2] if v != slot[n] else []
          continue
        rows['true'].append((f(b[r], r, b[v], v) - 1)**2)
        if (n, v) != (2, 3):
          rows['corrupted'] += [f(t[r], r, b[v], v)**2, f(b[r], r, t[v], v)**2]
  for name, values in rows.items():
    assert float(terms[name]) == pytest.approx(np.mean(values), rel=1e-4), name
  want = np.mean(rows['true']) + sum(SHARES[name] * np.mean(rows[name]) for name in SHARES)
  assert float(loss) == pytest.approx(want, rel=1e-4)


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


def noise(objects):
  """Pictures by the fields of objects: they compile in no time."""
  rows = [x.reshape(len(x), -1)[:, 0] for x in jax.tree.leaves(objects)]
  seed = np.asarray(sum((i + 1) * np.asarray(x, np.float64) for i, x in enumerate(rows)) * 1e3, int)
  return np.stack([np.random.default_rng(abs(s)).uniform(size=(5, 32, 32, 3)) for s in seed]
                  ).astype(np.float32)


def sampled(prior, params, held, sampler, samples=1):
  rng = np.random.default_rng(samples)
  return rng.integers(0, 256, (len(held.slot), samples, 5, 32, 32, 3)).astype(np.uint8)


@pytest.fixture(scope='module')
def small(tmp_path_factory):
  """A folder of features of a small network."""
  folder, net = tmp_path_factory.mktemp('small'), vit.ViT(8, 1, 2, 16, 2)
  image = jnp.zeros((1, 32, 32, 3))
  params = nets.random_parameters(lambda: net.init(jax.random.key(0), image)['params'], scale=0.3)
  weights.save(folder / 'weights.safetensors', params)
  sizes = {name: getattr(net, name) for name in features.SIZES}
  (folder / 'config.json').write_text(json.dumps({'net': sizes}))
  weights.seal(folder, ('weights.safetensors', 'config.json'))
  return folder


@pytest.fixture(scope='module')
def trained(small, tmp_path_factory):
  """(workdir, folder of weights, names of what was computed) of a whole tiny run."""
  calls = []

  def logged(name, function):
    def call(*args):
      calls.append(name)
      return function(*args)
    return call
  workdir, config = tmp_path_factory.mktemp('run'), configs.get_config('tiny')
  config.net.features = str(small)
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(checks, 'render', noise)
    patch.setattr(checks, 'generated', logged('sampled', sampled))
    patch.setattr(multiview, 'load', lambda path: (None, {'w': np.zeros(1)}, None))
    folder = ship.run(consistency.NET, config, workdir)
    first = list(calls)
    consistency.data(FrozenConfigDict(config), workdir)  # from the files of the workdir
  assert calls == first == ['sampled'] * 2  # for training, and to measure
  return workdir, folder


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


def test_data_of_changes_are_pairs_of_pictures(trained):
  stored = weights.Tensors(next(trained[0].glob('changed_*.safetensors')))
  assert stored['true'].shape == stored['bad'].shape == (8, 5, 32, 32, 3)
  np.testing.assert_array_equal(stored['slot'], [0, 1, 2, 3] * 2)
  assert (stored['true'] != stored['bad']).any((1, 2, 3, 4)).all()


def test_table(trained, small, tmp_path, monkeypatch):
  monkeypatch.setattr(checks, 'render', noise)
  monkeypatch.setattr(checks, 'generated', sampled)
  monkeypatch.setattr(multiview, 'load', lambda path: (None, {'w': np.zeros(1)}, None))
  config = table_configs.get_config('tiny')
  config.features, config.metrics = str(small), (str(trained[1]),)
  rows = consistency_table.run(config, tmp_path, 'command')
  heads = [(row['head'], row['negatives']) for row in rows]
  assert len(dict.fromkeys(heads)) == 4 * 3 + 2 + 1 + 1
  cases = {row['case'] for row in rows if row['head'] == 'trained'}
  assert {*corruptions.NAMES, 'generated', consistency_table.AGREEMENT} <= cases
  assert [json.loads(line) for line in (tmp_path / 'consistency.jsonl').read_text().splitlines()
          ] == rows
  lines = (tmp_path / 'consistency.md').read_text().splitlines()
  assert lines[0] == '`command`' and len(lines) == 2 + 2 + 16
  config.test.samples = 1
  with pytest.raises(ConfigError, match='must be 2 or more'):
    consistency_table.run(config, tmp_path)


def test_agreement_by_hand():
  psnr = np.array([[20.0, 21.5, 22.0], [30.0, 29.9, 28.0]])
  value = np.array([[1.0, 2.0, 2.0], [1.0, 2.0, 0.0]])  # one tie, one wrong pair
  rows = {row['case']: row for row in consistency_table._agreement(value, psnr)}
  assert rows[consistency_table.AGREEMENT]['auc'] == pytest.approx(4 / 5)
  wide = rows[consistency_table.WIDE]
  assert wide['auc'] == 1 and wide['count'] == 4
