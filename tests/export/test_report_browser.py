"""The page of a run, opened in headless Chromium: no script errors, and the right colours on every
side of the object. Left out where there is no Chromium, unless JAX3DGEN_REQUIRE_BROWSER=1."""

import html
import json
import os
import pathlib
import re
import shutil
import subprocess

import numpy as np
import pytest
import trimesh

from jax3dgen.core.types import Mesh
from jax3dgen.export import report
from tests.export.test_figures import GOOD
from tests.export.test_report import HOSTILE, strips

NAMES = ('chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable', 'chrome')
FLAGS = ('--headless=new', '--no-sandbox', '--disable-background-networking', '--no-first-run',
         '--use-angle=swiftshader', '--enable-unsafe-swiftshader', '--force-prefers-reduced-motion',
         '--window-size=640,700', '--virtual-time-budget=20000', '--dump-dom')
FRONT, LEFT, BACK, RIGHT, TOP = ((200, 40, 44), (30, 190, 210), (40, 60, 170), (210, 50, 180),
                                 (60, 160, 70))
# Runs before the page. Headless Chromium under virtual time draws few frames: a timer stands in.
WATCH = '''
window.faults = [];
window.requestAnimationFrame = (draw) => setTimeout(() => draw(performance.now()), 10);
addEventListener('error', (e) => faults.push(String(e.message)), true);
addEventListener('unhandledrejection', (e) => faults.push(String(e.reason)));
addEventListener('securitypolicyviolation', (e) => faults.push(e.violatedDirective));
const open = HTMLCanvasElement.prototype.getContext;
HTMLCanvasElement.prototype.getContext = function (kind, ...options) {
  const context = open.call(this, kind, ...options);
  if (kind === 'webgl2') window.webgl = context;
  return context;
};
for (const name of ['error', 'warn']) console[name] = (...text) => faults.push(text.join(' '));'''
LOOK = pathlib.Path(__file__).with_name('report_browser.js').read_text('utf-8')


def browser():
  """The path of a Chromium, or the test is left out or fails."""
  path = next(filter(None, map(shutil.which, NAMES)), None)
  if path is None and os.environ.get('JAX3DGEN_REQUIRE_BROWSER') == '1':
    pytest.fail('JAX3DGEN_REQUIRE_BROWSER=1, but no Chromium is on the path.')
  if path is None:
    pytest.skip('no Chromium is on the path: the report page was not opened in a browser')
  return path


def painted_ball():
  """A ball whose front, left, back, right and top have colours of their own."""
  solid = trimesh.creation.icosphere(4, radius=0.9)
  vertices = np.asarray(solid.vertices, np.float32)
  side = np.round(np.arctan2(vertices[:, 1], vertices[:, 0]) / (np.pi / 2)).astype(int) % 4
  colors = np.array([FRONT, LEFT, BACK, RIGHT])[side]
  colors[vertices[:, 2] > 0.55] = TOP
  return Mesh(vertices, np.asarray(solid.faces, np.int32), (colors / 255).astype(np.float32))


def open_page(page, tmp_path, look=LOOK):
  """What the script `look` (report_browser.js) saw on the HTML `page`."""
  path = tmp_path / 'page.html'
  page = page.replace('<head>', f'<head><script>{WATCH}</script>', 1)
  path.write_text(page.replace('</body>', f'<script>{look}</script></body>'), 'utf-8')
  done = subprocess.run(
      [browser(), *FLAGS, f'--user-data-dir={tmp_path / "profile"}', path.as_uri()],
      capture_output=True, text=True, timeout=300)
  match = re.search(r'<html[^>]* data-seen="([^"]*)"', done.stdout)
  assert match, f'The page did not come to its end:\n{done.stderr[-2000:]}\n{done.stdout[:2000]}'
  return json.loads(html.unescape(match.group(1)))


def test_the_report_works(tmp_path):
  browser()
  half_turn = np.diag([-1.0, -1.0, 1.0, 1.0])
  half_turn[2, 3] = 0.9
  steps = np.arange(0, 100, 5)
  report.write_report(
      tmp_path / 'report.html', HOSTILE, GOOD, {'seed': 0, 'prompt': HOSTILE}, HOSTILE,
      mesh=painted_ball(), rest=np.stack([np.eye(4), half_turn]), previews=strips(3),
      curves={'loss': (steps, np.exp(-steps / 30))}, notes=[HOSTILE])
  values = open_page((tmp_path / 'report.html').read_text('utf-8'), tmp_path)
  assert values['faults'] == [] and values['broken'] is None
  assert all(name == 'data:' for name in values['fetched']) and values['pictures']
  assert values['state'] == 'ready' and 0.1 < values['drawn'] < 0.9
  exact = {'0': FRONT, '90': LEFT, '180': BACK, '270': RIGHT, 'above': TOP, 'key': LEFT,
           'home': FRONT, 'up': TOP, 'drag': RIGHT, 'restored': LEFT, 'fallen': BACK}
  for name, color in exact.items():
    np.testing.assert_allclose(values[name], [*color, 255], atol=1, err_msg=name)
  shaded = np.array(values['shaded'][:3])
  assert shaded.argmax() == 0 and np.abs(shaded - FRONT).max() < 40
  assert np.ptp(values['clay'][:3]) < 20
  assert values['smaller'] < 0.75 and values['heading'].startswith('front') and values['wide'] <= 0
