"""The page of a sweep in headless Chromium: it sorts, filters, and draws the chosen mesh."""

import numpy as np
import trimesh

from jax3dgen.core.types import Mesh
from jax3dgen.export import mesh_io, sweep_page, sweep_tables, thumbnail
from jax3dgen.physics import body, sweep
from tests.export import test_report_browser

LOOK = '''
const rows = () => [...document.querySelectorAll('.sweep-table tbody tr')].filter((r) => !r.hidden)
  .map((r) => r.querySelector('span').textContent);
const ink = (canvas) => {
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  let full = 0;
  for (let i = 3; i < data.length; i += 4) full += data[i] > 0;
  return full / (data.length / 4);
};
const seen = { faults: window.faults, state: document.body.dataset.sweep, first: rows() };
const [mesh, stands] = document.querySelectorAll('.sweep-table thead button');
seen.drawn = [...document.querySelectorAll('canvas')].map(ink);
seen.chosen = document.querySelector('.sweep-panel h3').textContent;
const play = document.querySelector('.sweep-play');
seen.played = [...document.querySelectorAll('.sweep-table a'), play]
  .map((a) => a.getAttribute('href'));
seen.end = document.querySelector('.rest').textContent;
stands.click(); seen.rising = rows();
stands.click(); seen.falling = rows();
mesh.click(); seen.named = rows();
document.querySelector('.sweep-table tbody tr').click();
seen.other = document.querySelector('.sweep-panel h3').textContent;
seen.unplayed = play.hidden;
const search = document.querySelector('.sweep-tools input');
search.value = 'pole'; search.dispatchEvent(new Event('input')); seen.found = rows();
document.documentElement.dataset.seen = JSON.stringify(seen);
'''
TILTS = np.array([(0.0, 0, 0), (0.0, 0.08, 0)], np.float32)


def page(tmp_path):
  surfaces = {'box.stl': trimesh.creation.box((1, 1, 0.5)),
              'pole <b>.stl': trimesh.creation.box((0.06, 0.06, 1.0))}
  items = []
  for name, surface in surfaces.items():
    mesh_io.write(tmp_path / name, Mesh(np.float32(surface.vertices), np.int32(surface.faces)))
    items += sweep_tables.examine(tmp_path / name, name)
  items.insert(1, sweep_tables.Item('broken.obj', 'this is no valid OBJ file <script>'))
  result = sweep.run(body.pack([item.body for item in items if not item.error]), TILTS, 'native',
                     seconds=2.0)
  rows = {'native': sweep_tables.rows(items, 'native', result, [45.0, 3.4], 1.0)}
  sweep_page.write_page(tmp_path / 'report.html', items, rows, TILTS, {'native': result},
                        {'native': {0.01: 1.0, 0.08: 0.5}}, {'tilts': {'n': 2, 'max_deg': 4.58}},
                        'the command', {2: 'rollouts/pole.html'})
  return (tmp_path / 'report.html').read_text('utf-8')


def test_the_page_of_a_sweep_works(tmp_path):
  test_report_browser.browser()
  values = test_report_browser.open_page(page(tmp_path), tmp_path, LOOK)
  assert values['faults'] == [] and values['state'] == 'ready'
  assert values['first'] == ['box.stl', 'broken.obj', 'pole <b>.stl']
  assert all(0.01 < share < 0.95 for share in values['drawn']) and len(values['drawn']) == 3
  assert values['chosen'] == 'pole <b>.stl' and values['end'].endswith('falls')  # one that falls
  assert values['played'] == ['rollouts/pole.html'] * 2 and values['unplayed']
  assert values['rising'][:2] == ['pole <b>.stl', 'box.stl']
  assert values['falling'][:2] == ['box.stl', 'pole <b>.stl']
  assert values['named'] == ['box.stl', 'broken.obj', 'pole <b>.stl']
  assert values['other'] == 'box.stl'
  assert values['found'] == ['pole <b>.stl']


def test_a_thumbnail_shows_the_mesh_in_its_colours():
  box = trimesh.creation.box((1, 1, 1))
  red = np.tile(np.float32([0.9, 0.1, 0.1]), (8, 1))
  image = thumbnail.picture(Mesh(np.float32(box.vertices), np.int32(box.faces), red), 48)
  assert image.shape == (48, 48, 3) and (image[0, 0] == 255).all()
  middle = image[20:28, 20:28].reshape(-1, 3).astype(int)
  assert (middle[:, 0] > 2 * middle[:, 1]).all()
  assert 0.25 < (image.min(-1) < 250).mean() < 0.6


def test_surface_points_are_even_and_have_outward_normals():
  ball = trimesh.creation.icosphere(4, 2.0)
  points, normals, _ = thumbnail.surface_points(
      Mesh(np.float32(ball.vertices), np.int32(ball.faces)), 4000)
  np.testing.assert_allclose(np.linalg.norm(points, axis=1), 2.0, atol=0.01)
  np.testing.assert_allclose(normals, points / 2, atol=0.1)
  np.testing.assert_allclose(points.mean(0), 0, atol=0.15)
