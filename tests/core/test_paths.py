"""Files by name, folder and pattern: exact names first, links once, braces; references below a
folder."""

import glob
import os

import pytest

from jax3dgen.core import paths
from jax3dgen.core.errors import MeshError

FILES = ('a.obj', 'b[1].obj', 'b1.obj', 'c.txt', 'sub/d.OBJ', 'sub/deep/e.ply', '.hidden/f.obj',
         '.g.obj', 'x{1,2}.obj', 'x1.obj')


@pytest.fixture
def root(tmp_path, monkeypatch):
  for name in FILES:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text(name)
  monkeypatch.chdir(tmp_path)
  return tmp_path


def find(text):
  return [str(path) for path in paths.find(text, ('.obj', '.ply'))]


def test_an_exact_name_is_no_pattern(root):
  assert find('b[1].obj') == ['b[1].obj'] and find('x{1,2}.obj') == ['x{1,2}.obj']
  assert find('b[12].obj') == ['b1.obj'] and find('b[[]1].obj') == ['b[1].obj']


def test_a_folder_means_the_meshes_below_it(root):
  expected = ['a.obj', 'b1.obj', 'b[1].obj', 'sub/d.OBJ', 'sub/deep/e.ply', 'x1.obj', 'x{1,2}.obj']
  assert find(str(root)) == [f'{root}/{name}' for name in expected]
  assert find('sub/') == find('sub') == ['sub/d.OBJ', 'sub/deep/e.ply']


@pytest.mark.parametrize('pattern', [
    '*.obj', '**/*.obj', '**/*', '**', '*', 's*/**', 'sub/**/e.*', '**/deep/*', '?.obj', 'no*',
    '**/sub/**/*.ply', '[ab]*', './**/*.ply', 's*/*', '**/*/e.ply'])
def test_patterns_are_those_of_glob(pattern, root):
  expected = [path for path in glob.glob(pattern, recursive=True) if os.path.isfile(path)]
  assert find(pattern) == sorted({os.path.normpath(path) for path in expected})
  absolute = find(f'{root}/{pattern.removeprefix("./")}')
  assert absolute == [f'{root}/{name}' for name in find(pattern)]


def test_braces(root):
  assert find('{a,b1,c}.{obj,txt}') == ['a.obj', 'b1.obj', 'c.txt']
  assert find('{sub/{d,deep/e},a}.*') == ['a.obj', 'sub/d.OBJ', 'sub/deep/e.ply']
  assert find('**/{d,e}.*') == ['sub/d.OBJ', 'sub/deep/e.ply']


def test_links_are_followed_once(root):
  """A loop ends, a link to a file that is there as well is left out, a link elsewhere counts."""
  (root / 'sub' / 'loop').symlink_to(root)
  (root / 'alias').symlink_to(root / 'sub')
  (root / 'again.obj').symlink_to(root / 'x1.obj')
  (root.parent / f'{root.name}_other').mkdir()
  (root.parent / f'{root.name}_other' / 'z.obj').write_text('')
  (root / 'other').symlink_to(root.parent / f'{root.name}_other')
  for text in ('**/*.obj', '.'):
    result = find(text)
    assert 'other/z.obj' in result and 'again.obj' not in result
    assert len({os.path.realpath(path) for path in result}) == len(result)
    assert not any('loop' in path or 'alias' in path for path in result)
  assert find('again.obj') == ['again.obj'] and find('alias/*') == ['alias/d.OBJ']


def test_home(root, monkeypatch):
  monkeypatch.setenv('HOME', str(root))
  assert find('~/a.obj') == [f'{root}/a.obj'] and find('~/s*/*.OBJ') == [f'{root}/sub/d.OBJ']


def test_references_stay_below_their_folder(root):
  assert paths.beside(root, 'sub/deep/e.ply') == root / 'sub/deep/e.ply'
  (root / 'sub' / 'out.obj').symlink_to(root / 'a.obj')
  (root / 'loop').symlink_to(root / 'loop')
  for name in ('', '/etc/passwd', r'\a', '../a.obj', r'deep\..\e.ply', 'deep/../d.OBJ', 'out.obj'):
    with pytest.raises(MeshError, match='only files below'):
      paths.beside(root / 'sub', name)
  for name in ('no.obj', 'a\0b', 'x' * 5000, 'deep', 'C:/a.obj'):
    with pytest.raises(MeshError, match='which (is not there|cannot be read)'):
      paths.beside(root / 'sub', name)
  with pytest.raises(MeshError):
    paths.beside(root, 'loop')
