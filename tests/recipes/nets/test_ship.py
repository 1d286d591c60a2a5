"""A net of one file through the command: trained, resumed, written, read; and the shipped nets."""

import json
import pathlib
import re
import shlex
import sys

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict, FrozenConfigDict
import numpy as np
import pytest

from experiments import _command, _config, train_net
from jax3dgen.core import launch, parallel, weights
from jax3dgen.core.errors import ConfigError, WeightError
from jax3dgen.metrics import referee
from jax3dgen.recipes.nets import ship
from jax3dgen.train import descent

ROOT = pathlib.Path(__file__).resolve().parents[3]
NAMES = ('referee', 'features', 'noisy_pose', 'text_image', 'prior', 'occupancy', 'generator',
         'multiview', 'consistency')
DEVICES = {'generator': 1}  # of those that trained the weights, where not 2
ASSETS = {name: name for name in NAMES} | {'prior': 'embedded_prior'}

SINE = '''
"""A small net of one file: a sine by a polynomial."""

import jax
import jax.numpy as jnp

from jax3dgen.recipes.nets import ship


def default_config():
  c = ship.default_config()
  c.degree = 3  # of the polynomial
  c.optim.rate = 0.1
  c.optim.warmup = 2
  c.train.steps = 8
  c.train.batch = 16
  c.log.every = 2
  c.checkpoint.every = 4
  return c.lock()


def init(cfg):
  return {'coefficients': jnp.zeros(cfg.degree + 1)}


def value(params, x):
  return jnp.polyval(params['coefficients'], x)


def loss(cfg, count, axis_name=None):
  batch = cfg.train.batch // count

  def of_numbers(params, key):
    x = jax.random.uniform(key, (batch,), minval=-1.0)
    error = value(params, x) - jnp.sin(x)
    return jnp.mean(error**2), {'bias': error.mean()}
  return of_numbers


def measure(params, cfg):
  return {'at_half': float(value(params, 0.5))}


def card(result):
  return f"sin(0.5) is {result.figures['at_half']:.6f} after {result.config.train.steps} steps."


NET = ship.Net('sine', default_config, init, loss, measure, card)
'''


@pytest.fixture
def sine(tmp_path, monkeypatch):
  """A file `sine_net.py` on the path and nothing else; the command's options to train it."""
  (tmp_path / 'sine_net.py').write_text(SINE)
  monkeypatch.syspath_prepend(tmp_path)
  monkeypatch.delitem(sys.modules, 'sine_net', raising=False)
  monkeypatch.setattr(launch, 'reexecute', lambda: None)
  return ['--config.name=sine_net', '--config.seed=3']


def train(*argv):
  """Exit status of `python -m experiments.train_net ARGV` in this process."""
  return _command.call(train_net.run, train_net.__doc__, config=ROOT / 'configs' / 'train_net.py',
                       complete=train_net.complete, argv=[str(x) for x in argv])


def test_a_new_net_is_one_file(sine, tmp_path, capsys):
  assert train(*sine, '--config.degree=5', '--workdir', tmp_path / 'run') == 0
  folder = tmp_path / 'run' / 'weights'
  assert str(folder) in capsys.readouterr().out
  weights.check_seal(folder, ('weights.safetensors', 'config.json'))
  coefficients = weights.load_tree(folder / 'weights.safetensors')['coefficients']
  assert coefficients.shape == (6,) and coefficients.any()
  record = json.loads((folder / 'config.json').read_text())
  assert record['config'] | {'name': 'sine_net', 'seed': 3, 'degree': 5} == record['config']
  # figures and card are of the rounded weights that the file holds
  at_half = np.polyval(np.asarray(coefficients, np.float64), 0.5)
  assert record['measured']['at_half'] == pytest.approx(at_half, rel=1e-5)
  assert (folder / 'card.md').read_text() == f'sin(0.5) is {at_half:.6f} after 8 steps.'
  assert (folder / 'curve.csv').read_bytes() == (tmp_path / 'run' / 'metrics.csv').read_bytes()
  assert (folder / 'curve.csv').read_text().startswith('step,bias,loss,nonfinite,skipped\n')
  assert '<svg' in (folder / 'curve.svg').read_text()


def test_the_weights_are_the_average_after_a_plain_loop(sine, tmp_path):
  """The moving average after the config's steps with its seed, on all devices."""
  net = ship.find('sine_net')
  config = net.default_config()
  config.seed = 3
  cfg, count = FrozenConfigDict(config), parallel.device_count()
  tx = net.optimiser(cfg)
  step = jax.jit(jax.vmap(descent.build_step(
      net.loss(cfg, count, 'devices'), tx, cfg.seed, cfg.optim.ema, 'devices'),
      axis_name='devices'))
  state = jax.tree.map(lambda x: jnp.stack([x] * count), descent.start(net.init(cfg), tx))
  for _ in range(cfg.train.steps):
    state, _ = step(state)
  folder = ship.run(net, config, tmp_path / 'run')
  coefficients = weights.load_tree(folder / 'weights.safetensors')['coefficients']
  np.testing.assert_allclose(coefficients, state.ema['coefficients'][0], rtol=2e-3)
  assert np.abs(coefficients - state.params['coefficients'][0]).max() > 0.01


def test_a_stopped_run_ends_like_an_unbroken_one(sine, tmp_path, monkeypatch):
  assert train(*sine, '--workdir', tmp_path / 'whole') == 0
  with monkeypatch.context() as patch:
    patch.setattr('jax3dgen.train.stop.Preemption.requested', lambda self, step: step == 5)
    with pytest.raises(SystemExit):
      train(*sine, '--workdir', tmp_path / 'parts')
  assert not (tmp_path / 'parts' / 'weights').exists()
  assert train(*sine, '--workdir', tmp_path / 'parts') == 0
  for name in ('weights/weights.safetensors', 'weights/sha256', 'metrics.csv'):
    assert (tmp_path / 'whole' / name).read_bytes() == (tmp_path / 'parts' / name).read_bytes()


def test_a_finished_run_measures_and_writes_again(sine, tmp_path, monkeypatch):
  assert train(*sine, '--workdir', tmp_path) == 0
  digests = (tmp_path / 'weights' / 'sha256').read_text()
  (tmp_path / 'weights' / 'sha256').unlink()
  with pytest.raises(WeightError, match='sha256'):
    weights.check_seal(tmp_path / 'weights', ('weights.safetensors',))
  monkeypatch.setattr(ship.loop, 'optimise', lambda *args, **kwargs: pytest.fail('trained again'))
  assert train(*sine, '--workdir', tmp_path) == 0
  assert (tmp_path / 'weights' / 'sha256').read_text() == digests


def test_files_of_a_net_replace_the_common_ones(sine, tmp_path):
  net = ship.find('sine_net')._replace(
      files=lambda result: {'card.md': 'another card', 'words.json': '["sine"]\n'},
      sealed=('words.json',), hooks=lambda cfg, workdir, writer: [
          (0, lambda step, state: (workdir / 'last').write_text(f'{cfg.degree} {step}'))])
  folder = ship.run(net, net.default_config(), tmp_path / 'run')
  weights.check_seal(folder, ('weights.safetensors', 'words.json'))
  assert 'config.json' not in (folder / 'sha256').read_text()
  assert (folder / 'card.md').read_text() == 'another card'
  assert (tmp_path / 'run' / 'last').read_text() == '3 8'


def test_a_data_set_is_an_argument_of_the_step(sine, tmp_path, monkeypatch):
  """The same weights from a net whose examples are rows of arrays as from one that knows them."""
  rows = jnp.linspace(-1.0, 1.0, 7)
  net = ship.find('sine_net')

  def of_rows(rows):
    def loss(params, key, x=rows):
      return jnp.mean((jnp.polyval(params['coefficients'], x) - jnp.sin(x)) ** 2), {}
    return lambda cfg, count, axis_name=None: loss
  folders = []
  fixed = net._replace(data=lambda cfg, workdir: folders.append(workdir) or rows,
                       loss=of_rows(jnp.zeros(7)))
  constant = net._replace(loss=of_rows(rows))
  weights_of = {name: ship.run(each, net.default_config(), tmp_path / name)
                for name, each in (('fixed', fixed), ('constant', constant))}
  assert folders == [tmp_path / 'fixed']
  trees = [weights.load_tree(folder / 'weights.safetensors')['coefficients']
           for folder in weights_of.values()]
  np.testing.assert_allclose(*trees, rtol=2e-3, atol=1e-4)
  assert trees[0].any()


@pytest.mark.parametrize('argv, sentence', [
    (['--config.name='], "config.name='': there is no such module"),
    (['--config.name=sine_met'], "config.name='sine_met': there is no such module"),
    (['--config.name=json'], 'has no NET'), (['--config.name=ship'], 'has no NET'),
    (['--config.name=sine_net', '--config.train.batch=0'], 'config.train.batch=0 is not 1'),
    (['--config.name=sine_net', '--config.checkpoint.keep=0'], 'config.checkpoint.keep=0 is not 1'),
    (['--config.name=sine_net', '--config.train.steps=2'], 'config.optim.warmup=2 must be less'),
    ([f'--config={ROOT / "configs" / "nets" / "referee.py"}:tiny', '--config.name=sine_net'],
     "the net 'sine_net' has no such field."),
    (['--config.name=sine_net', '--config.degre=3'], 'config.degre: there is no such field; did '
     'you mean config.degree'),
    (['--config.name=sine_net', '--config.train.batch=6'], 'config.train.batch=6')])
def test_what_cannot_be_trained_is_refused(sine, tmp_path, argv, sentence, capsys):
  assert train(*argv, '--workdir', tmp_path / 'run') == 2
  assert sentence in capsys.readouterr().err


def test_a_batch_that_leaves_an_odd_share_is_refused():
  config = ConfigDict({'train': {'batch': 12}})
  assert ship.even_share(config, 3) == 4
  with pytest.raises(ConfigError, match='config.train.batch=12 must be a multiple of 8'):
    ship.even_share(config, 4)


@pytest.mark.parametrize('name', NAMES)
def test_a_shipped_net_has_a_config_and_a_command(name):
  """The config file, the generic config and the module have the same defaults; help explains them;
  the command on the card of the shipped weights is one that works."""
  path = ROOT / 'configs' / 'nets' / f'{name}.py'
  module, config = _config.load(str(path))
  default = ship.find(name).default_config()
  assert config == default == ship.complete(ConfigDict({'name': name}))
  assert config.name == name and default.is_locked
  explained = _config.explanations(module, config)
  assert {field for field, _ in _config.leaves(config)} <= explained.keys()
  tiny = _config.load(f'{path}:tiny')[1]
  assert tiny.train.steps <= 20 and tiny.keys() == config.keys()
  with pytest.raises(ConfigError, match='tiny'):
    _config.load(f'{path}:huge')
  card = (ROOT / 'jax3dgen' / 'assets' / ASSETS[name] / 'card.md').read_text()
  commands = re.findall(r'`python -m experiments\.(\w+) --config (\S+?) (.*?)--workdir', card)
  assert commands
  for command, file, overrides in commands:
    assert command == 'train_net' and ROOT / file == path
    _config.override(_config.load(str(ROOT / file))[1], _config.split(shlex.split(overrides))[1])


@pytest.mark.parametrize('name', sorted(set(NAMES) - {'prior'}))
def test_a_shipped_card_is_that_of_the_recorded_figures(name, monkeypatch):
  """Word by word, from the files beside it (`test_prior_samples` has the prior's)."""
  monkeypatch.setattr(parallel, 'device_count', lambda: DEVICES.get(name, 2))
  folder = ROOT / 'jax3dgen' / 'assets' / name
  record = json.loads((folder / 'config.json').read_text())
  labels = {'labels': referee.labels(folder)} if name == 'referee' else {}
  figures = record['measured'] | labels if labels else record['measured']
  card = ship.find(name).card(ship.Result(
      ConfigDict(record['config']), weights.load_tree(folder / 'weights.safetensors'), figures, {}))
  assert card.split() == (folder / 'card.md').read_text().split()
