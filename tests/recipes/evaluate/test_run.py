"""The evaluate command on synthetic runs and pictures, and all that it refuses."""

import csv
import json
import math

from ml_collections import FrozenConfigDict
import numpy as np
import pytest
import trimesh

from configs import evaluate as configs
from experiments import _command, evaluate
from jax3dgen.core import camera as cameras
from jax3dgen.core import image, launch
from jax3dgen.core.errors import ConfigError, WeightError
from jax3dgen.core.types import Mesh
from jax3dgen.data import prompts
from jax3dgen.export import mesh_io, turntable
from jax3dgen.metrics import frechet, janus, referee
from jax3dgen.perception import inception
from jax3dgen.recipes.distill import config as distill_config
from jax3dgen.recipes.evaluate import page as evaluate_page
from jax3dgen.recipes.evaluate import reference_set
from jax3dgen.recipes.evaluate import run as evaluation
from jax3dgen.recipes.evaluate import views as object_views
from jax3dgen.scene import zbuffer
from jax3dgen.train import workdir as workdirs
from tests.fakes import judges, noise_prior

FAKES = [f'--config.judge.{field}=tests.fakes.judges:{name}' for field, name in (
    ('features', 'features'), ('classes', 'classes'), ('poses', 'poses'), ('text_image', 'model'))]


def call(*args):
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(launch, 'reexecute', lambda: None)
    return _command.call(evaluate.run, evaluate.__doc__, config='configs/evaluate.py', argv=[
        f'--config={configs.__file__}:tiny', *FAKES, *map(str, args)])


def shade(rng, size=8, views=8, color=(0.9, 0.1, 0.1)):
  """Views [V, S, S, 3] of one colour with noise."""
  return np.clip(color + rng.normal(0, 0.05, (views, size, size, 3)), 0, 1).astype(np.float32)


def finished_run(folder, prompt='a red bear', color=(0.8, 0.1, 0.1), seed=0):
  """What experiments.distill leaves: config.json, result.json and a coloured mesh."""
  config = distill_config.default_config()
  config.prompt, config.seed = prompt, seed
  workdirs.check_config(folder, config)
  (folder / 'result.json').write_text(json.dumps(
      {'seconds': 12.5, 'peak_memory_gib': 0.5, 'seed': seed, 'steps': 3}))
  ball = trimesh.creation.icosphere(subdivisions=1, radius=0.6)
  mesh_io.write(folder / 'mesh.glb', Mesh(
      np.float32(ball.vertices), np.int32(ball.faces),
      np.tile(np.float32(color), (len(ball.vertices), 1))))
  return folder


@pytest.fixture
def reference(tmp_path):
  folder = tmp_path / 'reference pictures'
  rng = np.random.default_rng(5)
  for i in range(6):
    turntable.write_png(folder / f'{i}.png', image.grid(shade(rng, views=2), 2))
  return folder


def test_cells_of_a_comparison_are_grouped_by_method(tmp_path):
  rng = np.random.default_rng(0)
  for method, seed in (('sds', 0), ('sds', 1), ('usd', 0)):
    path = tmp_path / method / f'a-red-bear-{seed:02d}'
    turntable.write_png(path.with_suffix('.png'), image.grid(shade(rng), 8))
    path.with_suffix('.json').write_text(json.dumps(
        {'method': method, 'prompt': 'a red bear', 'seed': seed}))
  turntable.write_png(tmp_path / 'else.png', image.grid(shade(rng), 8))
  (tmp_path / 'usd' / 'config.json').write_text('{"seed": 1}')
  items = object_views.of_cells(tmp_path)
  assert [item.name for item in items] == ['sds/a-red-bear-00', 'sds/a-red-bear-01',
                                           'usd/a-red-bear-00']
  assert items[0].prompt == 'a red bear' and items[0].views().shape == (8, 8, 8, 3)


def test_a_folder_of_runs(tmp_path, reference, capsys):
  for i, color in enumerate([(0.8, 0.1, 0.1), (0.7, 0.2, 0.1)]):
    finished_run(tmp_path / 'runs' / 'one' / f'{i}', color=color, seed=i)
  finished_run(tmp_path / 'runs' / 'two' / '0', 'a blue car', (0.1, 0.1, 0.9))
  workdirs.check_config(tmp_path / 'runs' / 'two' / 'unfinished', distill_config.default_config())
  assert call(f'--config.runs={tmp_path / "runs"}', f'--config.reference.folder={reference}',
              '--workdir', tmp_path / 'out') == 3  # one is left out
  assert 'not finished' in capsys.readouterr().err
  result = json.loads((tmp_path / 'out' / 'evaluate.json').read_text())
  assert [row['name'] for row in result['objects']] == ['one/0', 'one/1', 'two/0']
  assert [row['name'] for row in result['left_out']] == ['two/unfinished']
  first, _, blue = result['objects']
  assert first['seconds'] == 12.5 and first['peak_memory_gib'] == 0.5
  assert first['source'] == 'mesh' and first['views'] == math.lcm(2, 4, 8)
  ring = lambda name, count: zbuffer.render(
      mesh_io.read(tmp_path / 'runs' / name / 'mesh.glb'), cameras.ring(
          count, np.deg2rad(15.0), 2.9, np.deg2rad(40.0)), 32, (1, 1, 1), object_views.SAMPLES)
  answers, labels = referee.classify(referee.load(), ring('one/0', 8)), referee.labels()
  assert first['reject_rate'] == np.mean(
      np.asarray(answers.kind).argmax(-1) == len(labels.kinds))
  faces = janus.face_count(answers.face[None], np.float32([labels.face_arc_deg['bear']]))
  assert first['face_count'] == int(faces[0])
  views = ring('two/0', 4)
  cosine = judges.unit(views.mean((1, 2))) @ judges.texts(['blue'])[0]
  assert blue['text_distance'] == pytest.approx(1 - cosine.mean(), abs=1e-4)
  assert 'tests.fakes.judges:features' in result['judges']['fid, ufid, cosine']
  assert result['groups']['one']['objects'] == 2 and result['groups']['one']['generated'] == 4
  assert result['groups']['one']['fid'] < result['groups']['two']['fid']  # the reference is red
  (shared,) = result['prompts']
  assert (shared['group'], shared['prompt'], shared['objects']) == ('one', 'a red bear', 2)
  assert shared['cosine'] > 0.9 and shared['iq'] <= shared['iv'] <= shared['bound']
  with open(tmp_path / 'out' / 'evaluate.csv') as file:
    assert [row['prompt'] for row in csv.DictReader(file)][2] == 'a blue car'
  assert '| one/0: a red bear |' in (tmp_path / 'out' / 'evaluate.md').read_text()


def test_the_inception_is_used_where_its_weights_are_named(monkeypatch):
  def load(path):
    assert path == 'weights/inception'
    return (lambda params, x: inception.Outputs(x.mean((1, 2)), params * x[:, 0, 0])), 2.0
  monkeypatch.setattr(inception, 'load', load)
  config = configs.get_config('tiny').judge
  config.features = config.classes = 'weights/inception'
  judges = evaluation.load_judges(config)
  images = np.random.default_rng(0).random((3, 8, 8, 3), np.float32)
  assert judges.features.name == 'features of the FID Inception (2015-12-05)'
  np.testing.assert_allclose(judges.features.ask(images), images.mean((1, 2)), rtol=1e-5)
  logits = np.exp(2 * images[:, 0, 0])
  np.testing.assert_allclose(judges.classes.ask(images), logits / logits.sum(-1, keepdims=True),
                             rtol=1e-5)
  assert judges.poses.name == 'poses of the embedded referee'
  config.features = 'weights/nowhere'
  monkeypatch.undo()
  with pytest.raises(WeightError, match='weights/nowhere'):
    evaluation.load_judges(config)


def test_strips_and_single_pictures(tmp_path, reference):
  rng = np.random.default_rng(0)
  strips, single = tmp_path / 'strips', tmp_path / 'single'
  for i in range(2):
    turntable.write_png(strips / f'{i}.png', image.grid(shade(rng), 8))
  views = shade(rng, views=3)
  for i in range(3):
    turntable.write_png(single / f'{i}.png', views[i])
  common = ['--config.prompt=a red bear', f'--config.reference.folder={reference}']
  assert call(f'--config.runs={strips}', *common, '--workdir', tmp_path / 'a') == 0
  result = json.loads((tmp_path / 'a' / 'evaluate.json').read_text())
  assert [row['views'] for row in result['objects']] == [8, 8]
  # All of it once more, by the direct way.
  pictures = object_views.read_all(sorted(strips.glob('*.png')))
  features = np.concatenate([judges.features(object_views.split(x, ''))[[0, 4]] for x in pictures])
  other = np.concatenate([judges.features(object_views.split(x, ''))
                          for x in object_views.read_all(sorted(reference.glob('*.png')))])
  want = frechet.distance(frechet.moments(features), frechet.moments(other))
  assert result['groups']['all']['fid'] == pytest.approx(want, rel=1e-4)

  assert call(f'--config.runs={single}', *common, '--workdir', tmp_path / 'b') == 0
  result = json.loads((tmp_path / 'b' / 'evaluate.json').read_text())
  assert len(result['objects']) == 1 and result['objects'][0]['views'] == 3


def test_bad_inputs_are_one_sentence(tmp_path, reference, capsys):
  rng = np.random.default_rng(0)
  (tmp_path / 'empty').mkdir()
  for name, other in (('sizes', (9, 9)), ('odd', (8, 12))):
    for i, size in enumerate([(8, 8) if name == 'sizes' else other, other]):
      turntable.write_png(tmp_path / name / f'{i}.png', rng.random((*size, 3)))
  (tmp_path / 'text').mkdir()
  (tmp_path / 'text' / 'a.png').write_text('no picture')
  workdirs.check_config(tmp_path / 'begun', distill_config.default_config())
  good = finished_run(tmp_path / 'good', 'a red xyzzy')
  broken = finished_run(tmp_path / 'broken')
  (broken / 'mesh.glb').write_bytes(b'no mesh')
  prompt = '--config.prompt=a red bear'
  for args, word in [
      ([], 'is no folder'),
      ([f'--config.runs={tmp_path / "empty"}', prompt], 'neither a finished run'),
      ([f'--config.runs={tmp_path / "sizes"}', prompt], '9 x 9 pixels'),
      ([f'--config.runs={tmp_path / "sizes"}'], 'config.prompt is empty'),
      ([f'--config.runs={tmp_path / "odd"}', prompt], 'no row of squares'),
      ([f'--config.runs={tmp_path / "text"}', prompt], 'cannot be read as a picture'),
      ([f'--config.runs={tmp_path / "begun"}'], 'is not finished'),
      ([f'--config.runs={good}'], "does not know the word 'xyzzy'"),
      ([f'--config.runs={good}', '--config.source=previews'], 'holds no previews'),
      ([f'--config.runs={good}', '--config.source=film'], 'none of auto'),
      ([f'--config.runs={good}', '--config.views.fid=0'], 'must be 1 or more'),
      ([f'--config.runs={good}', '--config.views.fid=997'], 'shares of one ring'),
      ([f'--config.runs={broken}'], 'GLB'),
      ([f'--config.runs={reference}', prompt, f'--config.reference.folder={tmp_path / "empty"}'],
       'holds no PNG file')]:
    assert call(*args, '--workdir', tmp_path / 'out') == 2, args
    message = capsys.readouterr().err
    assert word in message and 'Traceback' not in message
  assert not (tmp_path / 'out' / 'evaluate.json').exists()


def test_samples_of_the_prior_are_kept(tmp_path, monkeypatch):
  monkeypatch.setattr(noise_prior, 'TOKENIZED', [])
  config = configs.get_config('tiny').reference
  config.update({'prior': 'tests.fakes.noise_prior', 'size': 8, 'count': 25, 'clip': 0.0,
                 'guidance': 1.0})
  config = FrozenConfigDict(config)
  texts = ['a red bear', 'a blue car']
  first, second = reference_set.samples(config, texts, tmp_path)
  assert first.shape == second.shape == (25, 8, 8, 3)
  assert not np.array_equal(first, second)  # each prompt has its own noise
  assert not np.array_equal(first[0], first[20])  # and each batch
  assert first.mean() == pytest.approx(0.5, abs=0.05)
  forms = [prompts.view_prompts(text) for text in texts]
  assert noise_prior.TOKENIZED == [form[name] for form in forms
                                   for name in ('front', 'side', 'back', 'null')]
  monkeypatch.setattr(reference_set, 'sample_function', lambda *_: pytest.fail('drawn again'))
  again = list(reference_set.samples(config, texts, tmp_path))
  np.testing.assert_array_equal(again[0], first)
  other = FrozenConfigDict(config.to_dict() | {'seed': 1})
  assert len({reference_set.grid_path(c, texts[0], tmp_path) for c in (config, other)}) == 2


def test_each_particle_of_a_run_is_an_object(tmp_path):
  folder = finished_run(tmp_path / 'run')
  plain = json.loads((folder / 'config.json').read_text())
  plain['train']['particles'] = 2
  (folder / 'config.json').write_text(json.dumps(plain))
  other = finished_run(tmp_path / 'other', color=(0.1, 0.8, 0.1))
  (folder / 'particles').mkdir()
  (other / 'mesh.glb').rename(folder / 'particles' / '1.glb')
  turntable.write_png(folder / 'previews' / '9.png', np.concatenate(
      [np.full((4, 32, 3), shade) for shade in (0.2, 0.6)]))
  config = configs.get_config('tiny')
  config.runs = str(folder)
  (first, second), _ = object_views.find(config)
  assert (first.name, second.name) == ('run', 'run:1') and first.source == 'mesh'
  red, green = (item.views().mean((0, 1, 2)) for item in (first, second))
  assert red[0] > red[1] and green[1] > green[0]
  config.source = 'previews'
  views = [item.views() for item in object_views.find(config)[0]]
  assert views[0].shape == (8, 4, 4, 3)
  assert [float(x.mean()) for x in views] == pytest.approx([0.2, 0.6], abs=0.01)


def test_pick_is_even():
  rows = np.arange(120)
  assert object_views.pick(rows, 5).tolist() == [0, 24, 48, 72, 96]
  assert object_views.pick(rows, 10).tolist() == list(range(0, 120, 12))
  assert object_views.pick(rows[:3], 5).tolist() == [0, 1, 2]
  assert object_views.count(configs.get_config().views) == 120


def test_transparent_pixels_lie_on_white(tmp_path):
  from PIL import Image
  Image.fromarray(np.uint8([[[200, 0, 0, 0], [100, 0, 0, 255]]])).save(tmp_path / 'a.png')
  np.testing.assert_allclose(object_views.read_all([tmp_path / 'a.png'])[0],
                             [[[1, 1, 1], [100 / 255, 0, 0]]], atol=1e-6)


def test_config_comes_back_from_a_workdir(tmp_path):
  config = distill_config.default_config()
  config.prompt, config.distill.name, config.field.table_log2 = 'a blue car', 'csd', 12
  from jax3dgen.recipes.distill import run as distill
  config = distill.complete(config)
  workdirs.check_config(tmp_path, config)
  result = object_views.run_config(json.loads((tmp_path / 'config.json').read_text()))
  assert result.to_dict() == config.to_dict()


def test_means_leave_out_what_is_not_known():
  rows = [dict.fromkeys(evaluate_page.COLUMNS) | {'face_count': n, 'seconds': s}
          for n, s in ((1, 2.0), (3, None), (1, 4.0))]
  result = evaluate_page.means(rows)
  assert result['seconds'] == 3.0 and result['one_face'] == pytest.approx(2 / 3)
  assert result['pent'] is None
  with pytest.raises(ConfigError):
    object_views.split(np.zeros((4, 6, 3)), 'here')
