"""The training of the multi-view prior: what is trained, its pictures, its figures, a run."""

import json

import jax
from ml_collections import FrozenConfigDict
import numpy as np
import pytest

from configs.nets import multiview as configs
from jax3dgen.core import tree, weights
from jax3dgen.data import figurine_examples
from jax3dgen.data import multiview as world
from jax3dgen.prior import embedded
from jax3dgen.prior import multiview as priors
from jax3dgen.recipes.nets import multiview, ship

SIZES = {'size': 32, 'denoiser': {'channels': [8, 16], 'embedding': 16, 'head_width': 8,
                                  'expansion': 2},
         'text': {'words': len(figurine_examples.words()), 'length': 4, 'width': 8, 'depth': 1,
                  'heads': 2}}


@pytest.fixture(scope='module')
def config(tmp_path_factory):
  """The tiny config, on a tiny embedded prior that was not trained."""
  folder = tmp_path_factory.mktemp('prior')
  params = jax.jit(embedded.make(SIZES).init)(jax.random.key(3))
  weights.save(folder / 'weights.safetensors', params)
  for name, value in (('config', SIZES), ('words', figurine_examples.words())):
    (folder / f'{name}.json').write_text(json.dumps(value))
  weights.seal(folder, ('weights.safetensors', 'config.json', 'words.json'))
  config = configs.get_config('tiny')
  config.prior, config.net.joint = str(folder), (1,)
  return config


def test_training_begins_at_the_prior_and_leaves_some_leaves(config):
  cfg = FrozenConfigDict(config)
  trained, (prior, frozen) = multiview.init(cfg), multiview.build(cfg)
  before = tree.named(embedded.read(cfg.prior)[2])
  names, others = tree.named(trained), tree.named(frozen)
  assert not names.keys() & others.keys()
  assert all(name.startswith('text/') or '/cross/' in name or '_res/conv' in name
             for name in others)
  for name, leaf in (names | others).items():
    if name in before:
      np.testing.assert_array_equal(leaf, before[name])
    else:
      assert 'place' in name or 'slot' in name and not leaf.any()
  assert before.keys() <= (names | others).keys()
  whole = jax.eval_shape(prior.init, jax.random.key(0))
  assert tree.named(whole).keys() == (names | others).keys()


@pytest.mark.slow
def test_pictures_are_rendered_once_and_kept(config, tmp_path, monkeypatch):
  cfg = FrozenConfigDict(config)
  first = multiview.data(cfg, tmp_path)
  monkeypatch.setattr(multiview, 'pictures', lambda *args: pytest.fail('rendered again'))
  again = multiview.data(cfg, tmp_path)
  jax.tree.map(np.testing.assert_array_equal, first, again)
  true = np.asarray(world.render(world.draw('train', 1, first=5)))[0]
  assert np.abs(first['pictures'][5] / 255 - true).max() <= 0.5 / 255 + 1e-6
  with pytest.raises(pytest.fail.Exception, match='rendered again'):
    with config.unlocked():
      other = FrozenConfigDict(config.copy_and_resolve_references())
    multiview.data(FrozenConfigDict(other.to_dict() | {'data': {'count': 9}}), tmp_path)


def test_a_sheet_has_the_reference_and_both_rows():
  true = np.random.default_rng(0).uniform(size=(2, 5, 4, 4, 3))
  picture = multiview.sheet(1 - true, true, np.array([3, 1]))
  assert picture.shape == (16, 24, 3)
  np.testing.assert_array_equal(picture[8:12, :4], true[1, 1])
  np.testing.assert_array_equal(picture[:4, 8:12], true[0, 1])
  np.testing.assert_array_equal(picture[12:, 20:], 1 - true[1, 4])
  assert (picture[4:8, :4] == 1).all()


def test_the_shipped_weights_are_small_and_those_of_the_shipped_prior():
  prior, params, condition = priors.load()
  assert (priors.shipped() / 'weights.safetensors').stat().st_size <= 8e6
  cond = jax.eval_shape(condition, params, np.zeros((2, 32, 32, 3)), np.zeros((2, 32, 32, 3)))
  assert cond.picture.shape == (10, 32, 32, 3)
  plain = embedded.read()[2]
  np.testing.assert_array_equal(params['denoiser']['middle_res']['conv_in']['kernel'],
                                plain['denoiser']['middle_res']['conv_in']['kernel'])
  assert all(np.abs(leaf).max() > 0 for name, leaf in tree.named(params).items() if 'slot' in name)


@pytest.mark.slow
def test_the_shipped_weights_have_the_figures_of_their_card():
  """16 of the 200 objects: within three standard errors; hands far above chance."""
  prior, params, _ = priors.load()
  record = json.loads((priors.shipped() / 'config.json').read_text())
  objects, slot = world.draw('test', 16), np.arange(16) % 4
  truth = jax.tree.map(np.asarray, jax.jit(world.truth)(objects))
  views = multiview.samples(prior, params, truth.pictures[np.arange(16), slot],
                            FrozenConfigDict(record['config']).sample)
  figures = multiview.metrics.figures(views, truth, objects, world.HAND_RGB, slot)
  for name in ('psnr', 'ssim'):
    whole, part = record['measured'][name], figures[name]
    assert abs(part['mean'] - whole['mean']) < 3 * whole['half'] / 1.96 * (200 / 16) ** 0.5
  assert figures['hands']['low'] > 0.4 and figures['hat']['share'] > 0.9


@pytest.mark.slow
def test_a_run_writes_a_folder_that_loads_and_repeats_its_figures(config, tmp_path):
  folder = ship.run(multiview.NET, config, tmp_path)
  prior, params, _ = priors.load(folder, config.prior)
  record = json.loads((folder / 'config.json').read_text())
  truth = jax.tree.map(np.asarray, jax.jit(world.truth)(world.draw('test', 2)))
  views = multiview.samples(prior, params, truth.pictures[[0, 1], [0, 1]],
                            FrozenConfigDict(config).sample)
  psnr = multiview.metrics.likeness(views, truth.pictures, np.array([0, 1]))[0].mean()
  assert record['measured']['psnr']['mean'] == pytest.approx(psnr, abs=1e-3)
  text = (folder / 'card.md').read_text()
  assert f'{psnr:.2f}' in text and 'Held-out objects' in text
  assert (tmp_path / 'samples' / '000004.png').is_file()
