"""A picture to views to an asset: the command, from a picture and from a folder of views."""

import json

import jax
import numpy as np
from PIL import Image
import pytest

from configs import views_to_3d as configs
from experiments import _command
from experiments import views_to_3d as command
from jax3dgen.core import launch
from jax3dgen.core.errors import ConfigError
from jax3dgen.data import multiview as world
from jax3dgen.export import turntable
from jax3dgen.recipes import views_to_3d
from jax3dgen.recipes.distill import views
from tests import published
from tests.commands import ROOT

true = jax.jit(world.render)


def test_settings_that_exclude_each_other_are_one_sentence(tmp_path):
  config = configs.get_config('tiny')
  with pytest.raises(ConfigError, match='one of the two'):
    views_to_3d.run(config, tmp_path)
  config.image = config.views = 'x'
  with pytest.raises(ConfigError, match='one of the two'):
    views_to_3d.run(config, tmp_path)


def test_a_picture_is_framed_by_the_size_of_its_object(tmp_path):
  picture = np.ones((400, 600, 3), np.float32)
  picture[100:200, 50:150] = (1.0, 0.0, 0.0)
  turntable.write_png(tmp_path / 'a.png', picture)
  shares = (0.5, 0.8)
  framed = views_to_3d.read(tmp_path / 'a.png', shares)
  assert framed.shape == (2, 32, 32, 3)
  for image, share in zip(framed, shares, strict=True):
    red = image[..., 1] < 0.5
    rows, columns = np.nonzero(red)
    assert abs(rows.mean() - 15.5) < 1 and abs(columns.mean() - 15.5) < 1
    assert abs(red.sum() ** 0.5 - 32 * share) < 1
  whole = views_to_3d.read(tmp_path / 'a.png')[0]
  assert (whole[..., 1] < 0.5).mean() < 0.08 and whole.min() >= 0 and whole.max() <= 1


def test_the_framing_is_that_of_the_side_most_like_the_reference():
  """Relative to the object: half the error of a small object is more than that of a large one."""
  references = np.ones((3, 32, 32, 3), np.float32)
  for n, half in enumerate((4, 8, 12)):
    references[n, 16 - half:16 + half, 16 - half:16 + half] = 0
  views = np.ones((3, 5, 32, 32, 3), np.float32)
  views[:, 4] = references  # the top does not count
  views[0, 3, 12:20, 12:18] = views[1, 0, 8:24, 8:24] = views[2, 1, 4:28, 4:24] = 0
  assert views_to_3d.choose(references, views) == 1
  views[1, 0, 8:24, 14:24] = 1
  assert views_to_3d.choose(references, views) == 2  # misses 1/6, the first 1/4, the second 5/8


@pytest.mark.slow
def test_the_command_makes_an_asset_of_a_picture(tmp_path, monkeypatch, capsys):
  """The views of the shipped prior look like the object; again, the run is finished."""
  picture = np.asarray(true(world.draw('validation', 1)))[0]
  turntable.write_png(tmp_path / 'front.png', picture[0])
  monkeypatch.setattr(launch, 'reexecute', lambda: None)
  argv = ['--config', str(ROOT / 'configs' / 'views_to_3d.py:tiny'), '--workdir',
          str(tmp_path / 'run'), f'--config.image={tmp_path / "front.png"}', '--config.crop=False',
          '--config.sampler.steps=12', '--config.asset.train.batch=4']
  call = lambda: _command.call(command.run, command.__doc__, config='configs/views_to_3d.py',
                               argv=argv)
  assert call() == 0
  read = views.read(tmp_path / 'run' / 'views')
  white = read.rgb * read.alpha[..., None] + 1 - read.alpha[..., None]
  assert np.square(white - picture).mean() < 0.02
  assert (tmp_path / 'run' / 'views.png').is_file() and (tmp_path / 'run' / 'mesh.glb').is_file()
  with Image.open(tmp_path / 'run' / 'overview.png') as file:
    assert file.size == (10 * 128, 128)
    mesh = np.asarray(file)[:, 6 * 128:]
  assert all((tile < 250).any() and (tile[[0, -1]] == 255).all() for tile in np.split(mesh, 4, 1))
  assert json.loads((tmp_path / 'run' / 'result.json').read_text())['faces'] > 0
  capsys.readouterr()
  assert call() == 0 and 'is finished' in capsys.readouterr().out


@pytest.mark.slow
def test_views_may_come_from_a_published_u_net(tmp_path):
  """Tiny random weights: five pictures of their size, with cameras."""
  published.pipeline(tmp_path / 'sd')
  picture = np.ones((60, 60, 3), np.float32)
  picture[10:40, 20:50] = (0.2, 0.5, 0.8)
  turntable.write_png(tmp_path / 'a.png', picture)
  config = configs.get_config('tiny')
  config.image, config.prior.weights = str(tmp_path / 'a.png'), str(tmp_path / 'sd')
  views_to_3d.make_views(config, tmp_path / 'run', False)
  files = [Image.open(tmp_path / 'run' / 'views' / f'{name}.png') for name in world.SLOTS]
  assert {file.size for file in files} == {(16, 16)}
  assert len({file.tobytes() for file in files}) == 5
  assert len(json.loads((tmp_path / 'run' / 'views' / views.CAMERAS).read_text())) == 5
