import base64
from html import parser
import json

import numpy as np
import pytest

from jax3dgen.export import report
from tests.export.test_figures import GOOD
from tests.export.test_viewer import ball

HOSTILE = '</title><script>window.broken = 1</script> & "\'friends\'" ../../etc\nüñ🐻'
COMMAND = "python -m experiments.distill --config configs/embedded.py --config.prompt='a red bear'"
CONFIG = {'seed': 3, 'prior': {'name': 'embedded'}, 'distill': {'name': 'sds', 'guidance': 4.0}}
VOID = {'meta', 'link', 'img', 'source', 'path'}


class Page(parser.HTMLParser):
  """Elements with their attributes and texts; asserts that they nest."""

  def __init__(self, text):
    super().__init__()
    self.elements, self.texts, self._open = [], {}, []
    self.feed(text)
    self.close()
    assert not self._open

  def handle_starttag(self, tag, attrs):
    self.elements.append((tag, dict(attrs)))
    if tag not in VOID:
      self._open.append(tag)

  def handle_endtag(self, tag):
    if tag not in VOID:
      assert self._open.pop() == tag

  def handle_data(self, data):
    if self._open:
      self.texts[self._open[-1]] = self.texts.get(self._open[-1], '') + data

  def all(self, tag):
    return [attrs for name, attrs in self.elements if name == tag]


def strips(count):
  return [(100 * i, np.full((16, 128, 3), i / 50, np.float32)) for i in range(1, count + 1)]


def whole(tmp_path, **changes):
  """Writes a page with everything on it; returns its path."""
  (tmp_path / 'mesh.glb').write_bytes(b'glTF' + bytes(range(256)))
  (tmp_path / 'turntable.mp4').write_bytes(b'no film, but bytes')
  steps = np.arange(0, 300, 20)
  arguments = {
      'title': 'a red bear', 'result': GOOD, 'config': CONFIG, 'command': COMMAND, 'mesh': ball(),
      'rest': np.eye(4), 'film': tmp_path / 'turntable.mp4', 'glb': tmp_path / 'mesh.glb',
      'previews': strips(3),
      'curves': {'loss': (steps, 1 / (1 + steps)), 'still': (steps, 0 * steps)},
  } | changes
  report.write_report(tmp_path / 'report.html', **arguments)
  return tmp_path / 'report.html'


def read(path):
  return Page(path.read_text('utf-8'))


def embedded(link):
  return base64.b64decode(link.split(';base64,')[1])


def test_the_page_is_complete_and_self_contained(tmp_path):
  page = read(whole(tmp_path))
  assert page.texts['h1'] == 'a red bear'
  links = [attrs[name] for _, attrs in page.elements for name in ('src', 'href', 'srcset')
           if name in attrs]
  assert len(links) == 9 and all(link.startswith('data:') for link in links)
  assert all(attrs['alt'] for attrs in page.all('img'))
  assert all(attrs['type'] == 'button' for attrs in page.all('button'))
  ids = [attrs['id'] for _, attrs in page.elements if 'id' in attrs]
  assert len(ids) == len(set(ids))
  assert {attrs['aria-labelledby'] for attrs in page.all('section')} <= set(ids)
  assert page.texts['pre'] == COMMAND
  assert "default-src 'none'" in page.all('meta')[1]['content']
  assert 'distill.guidance' in page.texts['th'] and '4.0' in page.texts['td']
  assert [p for p in tmp_path.iterdir() if 'partial' in p.name] == []


def test_what_can_be_saved(tmp_path):
  page = read(whole(tmp_path))
  saved = {a['download']: a['href'] for a in page.all('a')}
  assert embedded(saved['mesh.glb']) == (tmp_path / 'mesh.glb').read_bytes()
  assert json.loads(embedded(saved['result.json'])) == GOOD
  assert embedded(page.all('video')[0]['src']) == (tmp_path / 'turntable.mp4').read_bytes()


def test_a_large_mesh_stays_beside_the_page(tmp_path, monkeypatch):
  monkeypatch.setattr(report, 'EMBED_LIMIT', 100)
  page = read(whole(tmp_path))
  assert {a['download']: a['href'] for a in page.all('a')}['mesh.glb'] == 'mesh.glb'


def test_what_is_missing_is_left_out(tmp_path):
  page = read(whole(tmp_path, mesh=None, rest=None, film=None, glb=None, previews=(), curves=None))
  assert not page.all('canvas') and not page.all('video') and not page.all('img')
  assert len(page.all('section')) == 2


def test_a_diverged_drop_is_no_pose(tmp_path):
  poses = lambda rest: whole(tmp_path, rest=rest).read_text().count('data-pose=')
  assert poses(None) == 0 and poses(np.full((4, 4), np.nan)) == 0
  assert poses(np.stack([np.eye(4), np.full((4, 4), np.nan)])) == 2


def test_markup_in_texts_is_escaped(tmp_path):
  calm = read(whole(tmp_path))
  path = whole(tmp_path, title=HOSTILE, command=HOSTILE, notes=[HOSTILE],
               config={'prompt': HOSTILE, HOSTILE: 1},
               result=GOOD | {'prompt': HOSTILE, HOSTILE: HOSTILE},
               curves={HOSTILE: ([0, 1], [0, 1]), 'still' + HOSTILE: ([0, 1], [1, 1])})
  page = read(path)
  assert page.texts['h1'] == HOSTILE and page.texts['pre'] == HOSTILE
  assert len(page.all('script')) == len(calm.all('script'))
  assert 'window.broken' not in page.texts['script']


def test_marks_say_good_or_bad(tmp_path):
  good, bad = read(whole(tmp_path)), read(whole(tmp_path, result=GOOD | {'face_count': 2}))
  styles = [[a.get('class') for a in page.all('span')] for page in (good, bad)]
  assert 'mark bad' not in styles[0] and styles[1].count('mark bad') == 2
  assert '2 faces' in bad.texts['span']


def test_few_strips_of_many_are_shown(tmp_path):
  page = read(whole(tmp_path, previews=strips(40)))
  texts = [a['alt'] for a in page.all('img') if 'after' in a['alt']]
  assert len(texts) == report.MAX_STRIPS
  assert 'after 100 steps' in texts[0] and 'after 4000 steps' in texts[-1]


def test_curves_from_the_file_are_those_in_memory(tmp_path):
  (tmp_path / 'metrics.csv').write_text('step,loss\n0,3\n20,2\n40,2.5\n')
  a = whole(tmp_path, curves=tmp_path / 'metrics.csv').read_text()
  b = whole(tmp_path, curves={'loss': ([0, 20, 40], [3, 2, 2.5])}).read_text()
  assert a == b and 'ends at 2.5' in a


def test_a_failure_keeps_the_older_page(tmp_path):
  path = whole(tmp_path)
  before = path.read_bytes()
  with pytest.raises(FileNotFoundError):
    whole(tmp_path, curves=tmp_path / 'none.csv')
  assert path.read_bytes() == before


def test_flatten():
  assert report.flatten({'a': 1, 'b': {'c': {'d': 2}, 'e': (3, 4)}}) == {
      'a': 1, 'b.c.d': 2, 'b.e': (3, 4)}
