import pytest

from jax3dgen.core import files


def test_writes_whole_or_not_at_all(tmp_path):
  path = tmp_path / 'runs' / 'a b' / 'ü.txt'
  with files.replacing(path) as beside:
    beside.write_text('first')
    assert not path.exists() and beside.parent == path.parent
  assert path.read_text() == 'first'
  with pytest.raises(RuntimeError), files.replacing(path) as beside:
    beside.write_text('torn')
    raise RuntimeError
  assert path.read_text() == 'first'
  assert list(path.parent.iterdir()) == [path]
