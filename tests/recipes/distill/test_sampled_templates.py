"""Pose templates that a run samples from its prior: files, resume, exchanged pictures, refusals."""

import json

import jax.numpy as jnp
import numpy as np
from PIL import Image
import pytest

from experiments import _command, pose_templates
from experiments import distill as command
from jax3dgen.core import launch
from jax3dgen.core.errors import ConfigError
from jax3dgen.metrics import referee
from jax3dgen.perception import templates
from jax3dgen.recipes.distill import batched, sampled_templates
from jax3dgen.recipes.distill import config as distill_config
from jax3dgen.recipes.distill import run as distill
from tests import commands, published

POSES = ('left', 'back', 'right')
OTHER = np.full((16, 16, 3), 200, np.uint8)
QUICK = ('--config.distill.name=sds_rectified', '--config.distill.templates=prior',
         '--config.distill.samples=3', f'--config.distill.poses={" ".join(POSES)}',
         '--config.distill.classes=3', '--config.prompt=a red bear')


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
  folder = tmp_path_factory.mktemp('tiny') / 'sd'
  published.pipeline(folder)
  return folder


def call(workdir, *args, main=command, config='sd15.py:tiny'):
  """The exit status of a command in this process."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(launch, 'reexecute', lambda: None)
    return _command.call(
        main.run, main.__doc__, config='configs/usd.py', flags=main.flags, complete=main.complete,
        argv=[f'--config={commands.ROOT / "configs" / config}', f'--workdir={workdir}', *args])


def run(workdir, weights, steps):
  """The status of a run of tiny random weights."""
  return call(workdir, f'--config.prior.weights={weights}', *QUICK,
              f'--config.train.steps={steps}', '--config.checkpoint.every=1',
              '--config.log.preview_every=0', '--config.result.mesh_resolution=16',
              '--config.result.turntable_frames=1')


@pytest.mark.slow
def test_a_run_samples_its_templates_once_and_goes_on_with_exchanged_ones(weights, tmp_path,
                                                                         capsys):
  folder = tmp_path / 'templates'
  with pytest.MonkeyPatch.context() as patch:  # dies when its steps are done
    patch.setattr(distill.outputs, 'write', lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
      run(tmp_path, weights, 1)
  assert 'not those with which' not in capsys.readouterr().out
  Image.fromarray(OTHER).save(folder / 'back.png')
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(sampled_templates, 'sample', lambda *args: pytest.fail('sampled again'))
    assert run(tmp_path, weights, 2) == 0
  assert 'are not those with which this run started' in capsys.readouterr().out
  np.testing.assert_array_equal(np.asarray(Image.open(folder / 'back.png')), OTHER)
  (folder / 'back.png').unlink()
  assert run(tmp_path, weights, 2) == 0  # finished: needs none
  assert run(tmp_path, weights, 3) == 2
  assert 'has no back.png: put a picture there' in capsys.readouterr().err


@pytest.mark.parametrize('config, args, words', [
    ('usd.py', (), 'not shipped: name the folder of its weights'),
    ('usd.py', ('--config.prior.weights=/no/such/folder',), 'There is no folder /no/such/folder'),
    ('usd.py', ('--config.prior.weights=/no/such/folder', '--config.distill.templates='),
     'There is no folder /no/such/folder'),
    ('usd.py:tiny', ('--config.distill.templates=prior', '--config.distill.poses=front above'),
     "the prior has no template of 'above'"),
    ('usd.py:tiny', ('--config.distill.templates=prior', '--config.distill.samples=1'),
     'config.distill.samples=1'),
])
def test_refusals_come_before_anything_is_sampled(config, args, words, tmp_path, capsys):
  assert call(tmp_path / 'run', '--config.train.batch=4', *args, config=config) == 2
  error = capsys.readouterr().err
  assert words in error and error.count('\n') == 1
  assert not (tmp_path / 'run').exists()


@pytest.mark.slow
def test_what_tracing_refuses_comes_before_too(tmp_path, capsys):
  assert call(tmp_path / 'run', '--config.distill.templates=prior', '--config.distill.classes=3',
              config='usd.py:tiny') == 2
  assert 'config.distill.classes=3' in capsys.readouterr().err
  assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize('args, words', [
    (('--config.distill.name=sds',), "'sds' has no rectifier"),
    (('--config.distill.name=sds_rectified', '--config.distill.classifier=noisy_pose'),
     "'noisy_pose' has no templates")])
def test_the_command_refuses_what_has_no_templates(args, words, tmp_path, capsys):
  assert call(tmp_path / 'run', *args, main=pose_templates, config='embedded.py') == 2
  assert words in capsys.readouterr().err and not (tmp_path / 'run').exists()


def test_the_command_writes_the_templates_that_a_run_uses_exchanged_or_not(tmp_path, capsys):
  """On noise; the figures are those of noise too."""
  arguments = (*QUICK[2:], '--config.prior.name=tests.fakes.text_prior')
  write = lambda: call(tmp_path, *arguments, main=pose_templates, config='usd.py:tiny')
  assert write() == 0
  folder = tmp_path / 'templates'
  assert templates.read(folder)[0] == POSES
  record = json.loads((folder / 'choice.json').read_text())
  assert record['agreement'].keys() == record['margin'].keys() == {'side', 'back'}  # no front
  for name in POSES:
    choice = record['poses'][name]
    picture, sample = (np.asarray(Image.open(folder / path))
                       for path in (f'{name}.png', choice['picture']))
    np.testing.assert_array_equal(picture, sample[:, ::-1] if choice['mirrored'] else sample)
  assert record['poses']['left']['mirrored'] != record['poses']['right']['mirrored']
  assert {path.name for path in (folder / 'samples').iterdir()} == {'sheet.png'} | {
      f'{name}-0{i}.png' for name in ('back', 'side') for i in range(3)}

  Image.fromarray(OTHER).save(folder / 'back.png')
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(sampled_templates, 'sample', lambda *args: pytest.fail('sampled again'))
    (folder / 'back.png').rename(folder / 'back-2.png')  # names of further pictures are good too
    assert write() == 0 and 'are the pictures in' in capsys.readouterr().out
    np.testing.assert_array_equal(np.asarray(Image.open(folder / 'back-2.png')), OTHER)
    (folder / 'back-2.png').unlink()
    assert write() == 2
    assert f'{folder} has no back.png: put a picture there' in capsys.readouterr().err


def test_a_resumed_run_says_where_its_templates_are_others(tmp_path, capsys):
  folder = tmp_path / sampled_templates.FOLDER
  folder.mkdir()
  for name in POSES:
    Image.fromarray(OTHER).save(folder / f'{name}.png')
  note = lambda starts: sampled_templates.note_change(tmp_path, 32, starts)
  note(True)
  note(False)
  assert capsys.readouterr().out == ''
  Image.fromarray(OTHER // 2).save(folder / 'left.png')
  note(False)
  note(False)
  assert capsys.readouterr().out.count('not those with which this run started') == 2
  note(True)
  note(False)
  assert capsys.readouterr().out == ''


def test_a_comparison_is_told_to_sample_them_first():
  config = distill_config.default_config()
  config.distill.update({'name': 'sds_rectified', 'templates': 'prior'})
  with pytest.raises(ConfigError, match='experiments.pose_templates'):
    batched.build([distill.complete(config)])


def test_recdreamer_s_prompts_bring_phrases_and_poses_where_there_is_a_rectifier():
  config = distill_config.default_config()
  assert distill_config.recdreamer(distill.complete(config))[7] == {'prompt': 'A kingfisher bird'}
  config.distill.name = 'usd'
  changes = distill_config.recdreamer(distill.complete(config))[7]
  assert changes == {'prompt': 'A kingfisher bird', 'distill.poses': 'left right',
                     'distill.classes': 2, 'auxiliary': 'from side view, from back view'}
  seen = []
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(distill, 'run', lambda config, folder, *rest: seen.append((config, rest[-1])))
    distill.run_prompts(distill.complete(config), 'runs', [changes, 'a red bear'], False,
                        lambda folder, changes: f'{folder.name} {sorted(changes)}')
  (bird, command), (bear, _) = seen
  assert (bird.prompt, bird.distill.poses, bird.distill.classes) == (
      'A kingfisher bird', 'left right', 2)
  assert (bear.prompt, bear.distill.poses, bear.auxiliary) == ('a red bear', '', '')
  assert command.startswith('a-kingfisher-bird') and 'distill.poses' in command


@pytest.mark.slow
@pytest.mark.parametrize('prompt', ['a red bear', 'a blue penguin', 'a purple robot'])
def test_templates_of_the_embedded_prior_show_their_poses(prompt, tmp_path):
  """By the referee, which the choice never sees; left may be called right."""
  assert call(tmp_path, f'--config.prompt={prompt}', main=pose_templates,
              config='usd.py:embedded') == 0
  names, pictures = templates.read(tmp_path / 'templates')
  sector = np.asarray(referee.classify(referee.load(), jnp.concatenate(pictures)).sector)
  azimuth = dict(zip(names, 45 * ((sector.argmax(-1) + 4) % 8 - 4), strict=True))
  assert abs(azimuth['front']) <= 45 and abs(azimuth['back']) >= 135
  sides = azimuth['left'], azimuth['right']
  assert all(45 <= abs(side) <= 135 for side in sides) and sides[0] * sides[1] < 0
