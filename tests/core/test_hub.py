"""Files as a hub of models leaves them on disk: its cache, pointers, pages, JSON."""

import json
import pathlib

import pytest

from jax3dgen.core import hub
from jax3dgen.core.errors import WeightError

POINTER = ('version https://git-lfs.github.com/spec/v1\n'
           f'oid sha256:{64 * "0"}\nsize 3438167540\n').encode()
PAGE = b'\n<!DOCTYPE html>\n<html lang="en"><title>Sign in</title></html>'


def cache(folder, *names, main=None):
  """A folder of the hub's cache with the snapshots `names`, of which refs/main names `main`."""
  for name in names:
    (folder / 'snapshots' / name).mkdir(parents=True)
  if main:
    (folder / 'refs').mkdir()
    (folder / 'refs' / 'main').write_text(main)
  return folder


def test_a_folder_of_the_cache_is_its_snapshot(tmp_path):
  two = cache(tmp_path / 'models--a--two', 'aa', 'bb', main='bb')
  assert hub.resolve(two) == hub.resolve(str(two)) == two / 'snapshots' / 'bb'
  one = cache(tmp_path / 'models--a--one', 'aa')
  assert hub.resolve(one) == one / 'snapshots' / 'aa'
  assert hub.resolve(two / 'snapshots' / 'aa') == two / 'snapshots' / 'aa'
  assert hub.resolve(tmp_path) == tmp_path and hub.resolve('no/such') == pathlib.Path('no/such')


@pytest.mark.parametrize('names, main, words', [
    (('aa', 'bb'), None, 'there are aa, bb'), (('aa',), 'cc', 'there are aa'),
    (('aa',), '../..', 'there are aa')])
def test_a_cache_without_its_snapshot_is_refused(tmp_path, names, main, words):
  with pytest.raises(WeightError, match=words):
    hub.resolve(cache(tmp_path / 'models--a--b', *names, main=main))


def test_the_home_directory(tmp_path, monkeypatch):
  monkeypatch.setenv('HOME', str(tmp_path))
  assert hub.resolve('~/weights') == tmp_path / 'weights'
  assert hub.resolve('~no-such-user/x') == pathlib.Path('~no-such-user/x')


def test_pointers_and_pages_are_named(tmp_path):
  path = tmp_path / 'file.json'
  for data, words in ((POINTER, 'is a pointer of Git LFS'), (PAGE, 'is a web page'),
                      (b'\xef\xbb\xbf<HTML>', 'is a web page')):
    path.write_bytes(data)
    for read in (hub.refuse_substitute, hub.read_json):
      with pytest.raises(WeightError, match=f'file.json {words}'):
        read(path)
  path.write_bytes(b'\xef\xbb\xbf{"version": "<html>"}')
  assert hub.refuse_substitute(path) == path.read_bytes()
  assert hub.read_json(path) == {'version': '<html>'}


@pytest.mark.parametrize('text', ['{"a": ', '[1]', '\ud800', '[' * 100_000])
def test_what_is_no_object_is_damaged(tmp_path, text):
  path = tmp_path / 'config.json'
  path.write_bytes(text.encode('utf-8', 'surrogatepass'))
  with pytest.raises(WeightError, match='config.json is damaged: it is not a complete JSON file'):
    hub.read_json(path)
  path.unlink()
  with pytest.raises(WeightError, match='Cannot read .*config.json: No such file'):
    hub.read_json(path)
  path.write_text(json.dumps({}))
  assert hub.read_json(path) == {}
