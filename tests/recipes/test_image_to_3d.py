"""Pictures to meshes with a generator of boxes: the command, its files, its errors."""

import json

import numpy as np
from PIL import Image
import pytest

from experiments import _command
from experiments import image_to_3d as command
from jax3dgen.core import launch
from jax3dgen.core.errors import ConfigError
from jax3dgen.export import mesh_io
from jax3dgen.recipes import image_to_3d
from tests import commands
from tests.fakes import box_generator

BOX = ('--config.generator.name=tests.fakes.box_generator', '--config.sampler.guidance=0.0')


def call(workdir, *args):
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(launch, 'reexecute', lambda: None)
    path = commands.ROOT / 'configs' / 'image_to_3d.py:tiny'
    return _command.call(command.run, command.__doc__, config='configs/image_to_3d.py', argv=[
        f'--config={path}', f'--workdir={workdir}', *BOX, *args])


def picture(path, color, shape=(60, 40)):
  """A box of one colour, seen from its front, in a transparent picture."""
  pixels = np.zeros((100, 120, 4), np.uint8)
  pixels[20:20 + shape[0], 30:30 + shape[1]] = (*color, 255)
  Image.fromarray(pixels).save(path)
  return path


def test_a_picture_becomes_a_mesh_of_its_colour_that_stands(tmp_path, capsys):
  path = picture(tmp_path / 'box.png', (200, 140, 120))
  assert call(tmp_path / 'run', f'--config.image={path}', '--config.count=2') == 0
  assert '1 of 1 pictures have a mesh' in capsys.readouterr().out
  figures = json.loads((tmp_path / 'run' / 'result.json').read_text())
  assert figures['stable'] and figures['stable_uncut'] and figures['samples_stable'] == 2
  assert figures['flat_cut'] == 0 and figures['watertight'] and figures['parts'] == 1
  assert figures['camera_overlap'] > 0.9
  mesh = mesh_io.read(tmp_path / 'run' / 'mesh.glb')
  np.testing.assert_allclose(np.ptp(mesh.vertices, 0), [0.5, 0.5, 0.75], atol=0.03)
  np.testing.assert_allclose(
      mesh.colors, np.tile(np.array([200, 140, 120]) / 255, (len(mesh.vertices), 1)), atol=0.03)
  page = (tmp_path / 'run' / 'report.html').read_text()
  assert 'the mesh from its camera' in page and 'box.png' in page
  assert (tmp_path / 'run' / 'turntable.mp4').stat().st_size > 1000
  views = np.asarray(Image.open(tmp_path / 'run' / 'views.png'))
  size = views.shape[0]
  assert views.shape == (size, 5 * size, 3)
  cells = views.reshape(size, 5, size, 3).transpose(1, 0, 2, 3)
  np.testing.assert_allclose(cells[0, size // 2, size // 2], (200, 140, 120), atol=3)
  assert all((cell < 250).any() and (cell[0] > 250).all() for cell in cells)
  before = (tmp_path / 'run' / 'mesh.glb').stat().st_mtime_ns
  assert call(tmp_path / 'run', f'--config.image={path}', '--config.count=2') == 0
  assert 'is finished' in capsys.readouterr().out
  assert (tmp_path / 'run' / 'mesh.glb').stat().st_mtime_ns == before
  picture(path, (100, 140, 220))  # another picture of that name is not finished
  assert call(tmp_path / 'run', f'--config.image={path}', '--config.count=2') == 0
  assert 'is finished' not in capsys.readouterr().out


def test_a_folder_of_pictures_leaves_out_what_cannot_be_used(tmp_path, capsys):
  picture(tmp_path / 'dark.png', (60, 60, 60))
  picture(tmp_path / 'black.png', (0, 0, 0))
  (tmp_path / 'text.png').write_text('no picture')
  assert call(tmp_path / 'run', f'--config.image={tmp_path}', '--config.result.drop_seconds=3.0',
              '--config.result.flat_cut=0.5') == 3
  out = capsys.readouterr()
  assert '1 of 3 pictures have a mesh' in out.out
  assert 'black.png is left out' in out.err and 'no sample has a surface' in out.err
  assert 'text.png is left out' in out.err and 'Traceback' not in out.err
  figures, = (json.loads(p.read_text()) for p in (tmp_path / 'run').glob('*/result.json'))
  assert not figures['stable_uncut']  # it stands on one corner until that is cut off
  assert figures['stable'] and 0 < figures['flat_cut'] < 0.35


@pytest.mark.parametrize('args, sentence', [
    ((), 'config.image is missing'), (('--config.image=/no/such.png',), 'names no picture'),
    (('--config.image=README.md', '--config.count=0'), 'config.count=0'),
    (('--config.image=README.md', '--config.camera.step_deg=0'), 'step_deg'),
    (('--config.image=README.md', '--config.generator.name=nothing'), 'no such module')])
def test_invalid_settings_are_refused(args, sentence, tmp_path, capsys):
  assert call(tmp_path / 'run', *args) == 2
  assert sentence in capsys.readouterr().err
  assert not (tmp_path / 'run').exists()


def test_samples_differ_by_seed_alone():
  config = image_to_3d.default_config()
  generator, params = box_generator.load(None)
  varied = generator._replace(decode=lambda params, x: x[..., 0],
                              velocity=lambda p, x, t, c: 0 * x)
  image = np.ones((8, 8, 4), np.float32)
  draw = lambda **changes: image_to_3d.sample(_with(config, changes), varied, params, image)
  first, again, other = (draw(count=3, seed=seed) for seed in (0, 0, 1))
  assert first.shape == (3, 2, 2, 2) and not np.allclose(first[0], first[1])
  np.testing.assert_array_equal(first, again)
  assert not np.allclose(first, other)


def _with(config, changes):
  changed = config.copy_and_resolve_references()
  changed.update(changes)
  return changed


def test_a_range_that_is_none_is_refused():
  with pytest.raises(ConfigError, match='not a range'):
    image_to_3d.check(_with(image_to_3d.default_config(), {
        'image': 'x.png', 'camera': {'azimuth_deg': (10.0, -10.0)}}))
