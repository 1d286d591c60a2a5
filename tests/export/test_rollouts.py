"""Pages of rollouts: which meshes get one, under which name, with C MuJoCo's motion in it."""

import re

from ml_collections import ConfigDict
import numpy as np
import pytest
import trimesh

from jax3dgen.core.types import Mesh
from jax3dgen.export import mesh_io, rollouts, sweep_tables
from jax3dgen.physics import body, native, normalize, sweep
from tests.export import test_report_browser
from tests.export.test_viewer import scene

TILTS = np.array([(0.02, 0, 0), (0, 0.3, 0), (0, -0.01, 0)], np.float32)
NAMES = ['box.glb', 'Box.glb', 'a/box.glb', 'a_box.glb', '../../etc/x.obj', '.hidden.obj', '///',
         '', 'b\u00f6x \u2603.ply', r'b\xffx.obj', '"><script>.stl', '%2e%2e', 'n' * 300 + '.glb']
CONFIG = {'up': 'auto', 'normalize': 'unit_cube', 'timestep': 4e-3, 'seconds': 2.0, 'friction': 1.0,
          'threshold_deg': 20.0, 'rollouts': 9}
LOOK = '''
const seen = { faults: window.faults, state: document.querySelector('.viewer').dataset.state };
document.querySelectorAll('[data-pose]')[2].click();
seen.chosen = document.querySelector('[data-pose][aria-pressed=true]').textContent;
document.documentElement.dataset.seen = JSON.stringify(seen);
'''


def box(size, middle=0.0):
  surface = trimesh.creation.box(size)
  return Mesh(np.float32(surface.vertices) + middle, np.int32(surface.faces))


def sources(folder):
  """Items of a flat box, a file that is no mesh, and a pole that a push topples."""
  sizes = {'box.stl': (1, 1, 0.5), 'broken.obj': None, 'pole <b>.stl': (0.3, 0.2, 3.0)}
  for name, size in sizes.items():
    if size is None:
      (folder / name).write_text('nothing')
    else:
      mesh_io.write(folder / name, box(size, 5.0))
  return [item for name in sizes for item in sweep_tables.examine(folder / name, name)]


def written(folder, **changes):
  """({index: address}, {address: HTML}) of the pages of `sources`."""
  items = sources(folder)
  result = sweep.run(body.pack([item.body for item in items if not item.error]), TILTS,
                     seconds=2.0, timestep=4e-3)
  links = rollouts.write_pages(folder, items, result, TILTS, ConfigDict(CONFIG | changes),
                               'again')
  return links, {link: (folder / link).read_text('utf-8') for link in links.values()}


def test_what_falls_most_often_comes_first(tmp_path):
  links, pages = written(tmp_path, rollouts=1)
  assert list(links) == [2] and len(pages) == len(list(tmp_path.glob('rollouts/*'))) == 1
  stable = np.array([[True, True], [True, False], [False, False], [True, False]])
  assert rollouts.order(stable) == [2, 1, 3, 0]
  assert rollouts.worst(np.array([3.0, 50.0, 7.0])) == 1
  assert rollouts.worst(np.array([3.0, np.nan, 170.0])) == 1
  assert written(tmp_path / 'none', rollouts=0)[0] == {}


@pytest.fixture(scope='module')
def output(tmp_path_factory):
  folder = tmp_path_factory.mktemp('rollouts')
  return folder, *written(folder)


@pytest.mark.parametrize('i, name', [(0, 'box.stl'), (2, 'pole <b>.stl')])
def test_the_motion_is_that_of_c_mujoco(output, i, name):
  folder, links, pages = output
  read = scene(pages[links[i]])
  mesh = normalize.normalize(mesh_io.read(folder / name), 'unit_cube')[0]
  solid = body.from_mesh(mesh)
  assert [pose['fps'] for pose in read['poses'][1:]] == [31.25] * 2  # a picture every 8 steps
  for pose, tilt in zip(read['poses'][1:], [(0, 0, 0), TILTS[1]], strict=True):
    motion = native.drop(solid, 2.0, 4e-3, tilt=tilt, fps=30).motion
    frames = np.reshape(pose['frames'], (-1, 3, 4))
    np.testing.assert_allclose(frames[:-1], native.path(motion)[:len(frames) - 1, :3], atol=1e-5)
    np.testing.assert_allclose(frames[-1], native.path(motion)[-1, :3], atol=1e-5)
    heights = frames[:, 2, :3] @ np.asarray(mesh.vertices).T + frames[:, 2, 3:]
    assert abs(heights.min(1)).max() < 0.1 and abs(heights[[0, -1]].min(1)).max() < 2e-3
  words = re.findall('(?:Upright|The worst tilt): (stands|falls)', pages[links[i]])
  assert words == (['stands', 'stands'] if i == 0 else ['stands', 'falls'])


def test_an_upright_sweep_has_one_release():
  solid = body.from_mesh(box((1, 1, 1)))
  assert [r.name for r in rollouts.simulate(solid, np.zeros(3), ConfigDict(CONFIG))] == ['Upright']


def test_friction_counts():
  solid = body.from_mesh(box((0.3, 0.3, 1.5)))
  ends = [rollouts.simulate(solid, np.array([0, 0.3, 0]), ConfigDict(CONFIG | {'friction': f}))[1]
          .drop.position for f in (0.1, 1.0)]
  np.testing.assert_array_equal(ends[1], native.drop(solid, 2.0, 4e-3, tilt=(0, 0.3, 0)).position)
  assert np.linalg.norm(ends[0] - ends[1]) > 0.01


def test_a_deleted_file_is_skipped(tmp_path):
  items = sources(tmp_path)
  result = sweep.run(body.pack([item.body for item in items if not item.error]), TILTS,
                     seconds=0.1, timestep=4e-3)
  (tmp_path / 'box.stl').unlink()
  links = rollouts.write_pages(tmp_path, items, result, TILTS, ConfigDict(CONFIG), 'again')
  assert list(links) == [2]


def test_pages_are_offline_and_escaped(output):
  for page in output[2].values():
    assert 'http:' not in page and 'https:' not in page and '@import' not in page
    assert set(re.findall(r'\b(?:href|src)="([^"]*)"', page)) == {'data:,', '../report.html'}
    assert '<b>' not in page and "default-src 'none'" in page


def test_a_page_works_in_a_browser(output, tmp_path):
  test_report_browser.browser()
  values = test_report_browser.open_page(output[2][output[1][2]], tmp_path, LOOK)
  assert values == {'faults': [], 'state': 'ready', 'chosen': 'The worst tilt'}


def test_names_of_pages_are_safe_and_differ():
  reserved = set()
  names = [rollouts.file_name(name, reserved) for name in NAMES]
  assert names[0] == 'box.glb.html'
  assert len({name.lower() for name in names}) == len(NAMES)
  assert all(re.fullmatch(r'[A-Za-z0-9_-][A-Za-z0-9._-]*\.html', name) and len(name) < 120
             for name in names)
