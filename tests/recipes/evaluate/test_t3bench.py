"""The t3bench command with judges that need no network: scores by hand, resuming, refusals."""

import json

import jax
import numpy as np
import pytest
import trimesh

from configs import t3bench as configs
from experiments import _command, t3bench
from jax3dgen.core import launch, parallel
from jax3dgen.core.types import Mesh
from jax3dgen.export import mesh_io
from jax3dgen.metrics import t3bench as metrics
from jax3dgen.prior import words
from jax3dgen.recipes.evaluate import t3bench as running
from jax3dgen.scene import zbuffer
from tests.fakes import judges

JUDGES = ('--config.quality.scorer=tests.fakes.judges:redness',
          '--config.alignment.captioner=tests.fakes.judges:captions',
          '--config.alignment.judge=tests.fakes.judges:level')


@pytest.fixture
def folder(tmp_path):
  """Two prompts, of which one has a mesh: half a red, half a blue box."""
  (tmp_path / 'single.txt').write_text('a red box\n\na blue box\na red box\n')
  box = trimesh.creation.box((1, 1, 1))
  colors = np.where(box.vertices[:, :1] > 0, np.float32([[1, 0, 0]]), np.float32([[0, 0, 1]]))
  mesh_io.write(tmp_path / words.slug('a red box') / 'mesh.glb',
                Mesh(np.float32(box.vertices + 5), np.int32(box.faces), colors))
  return tmp_path


def call(folder, *args):
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(launch, 'reexecute', lambda: None)
    return _command.call(t3bench.run, t3bench.__doc__, config='configs/t3bench.py', argv=[
        f'--config={configs.__file__}:tiny', f'--workdir={folder / "out"}',
        f'--config.meshes={folder}/{{slug}}/mesh.glb', *args])


def test_scores_and_resuming(folder, monkeypatch, capsys):
  prompts = f'--config.prompts=("{folder / "single.txt"}",)'
  assert call(folder, prompts, *JUDGES) == 0
  result = json.loads((folder / 'out' / 't3bench.json').read_text())
  assert result['groups']['single'] == pytest.approx({
      'prompts': 2, 'missing': 1, 'alignment': 100.0, 'level': 5.0,
      'quality': np.mean([row['quality'] for row in result['prompts']])})
  red, blue = result['prompts']
  assert blue['missing'] and blue['quality'] == pytest.approx(50)  # black is not red at all
  assert len(red['captions']) == 12 and not red['missing']
  mesh = metrics.normalize(mesh_io.read(red['mesh']))
  directions, neighbours = metrics.sphere(0)
  view = lambda d, fovy: zbuffer.render(mesh, metrics.viewpoints(d[None], 2.2, fovy), 16)
  rewards = [[judges.redness(view(d, fovy), '')[0] for fovy in metrics.FOVY_DEG]
             for d in directions]
  assert red['quality'] == pytest.approx(metrics.quality(rewards, neighbours), rel=1e-6)
  assert '| single | 2 | 1 |' in capsys.readouterr().out

  monkeypatch.setattr(running, 'rewards', lambda *_: pytest.fail('judged again'))
  (folder / 'out' / 't3bench.json').unlink()
  assert call(folder, prompts, *JUDGES) == 0
  assert json.loads((folder / 'out' / 't3bench.json').read_text())['prompts'] == [red, blue]
  with pytest.raises(BaseException, match='judged again'):  # another mesh is judged anew
    mesh_io.write(folder / words.slug('a blue box') / 'mesh.glb', mesh)
    call(folder, prompts, *JUDGES)


def test_processes_share_the_prompts(folder, monkeypatch):
  config = configs.get_config('tiny')
  config.update({'prompts': (str(folder / 'single.txt'),), 'meshes': f'{folder}/{{slug}}/mesh.glb'})
  config.quality.scorer = 'tests.fakes.judges:redness'
  prompts = []
  real = running.prompt_row
  monkeypatch.setattr(running, 'prompt_row', lambda *a: prompts.append(a[2]) or real(*a))
  monkeypatch.setattr(jax, 'process_count', lambda: 2)
  monkeypatch.setattr(jax, 'process_index', lambda: 1)
  monkeypatch.setattr(parallel, 'least', lambda x: x)
  monkeypatch.setattr(parallel, 'from_main', lambda f, *a: None)
  running.run(config, folder / 'out')
  assert prompts == ['a blue box']
  assert len(list((folder / 'out' / 'prompts' / 'single').glob('*.json'))) == 1


def test_bad_inputs_are_one_sentence(folder, capsys):
  (folder / 'none.txt').write_text('\n')
  prompts = f'--config.prompts=("{folder / "single.txt"}",)'
  for args, word in [
      ((), 'config.prompts is empty'),
      ((f'--config.prompts=("{folder / "absent.txt"}",)',), 'cannot be read as text'),
      ((f'--config.prompts=("{folder / "none.txt"}",)',), 'holds no prompt'),
      ((f'--config.prompts=("{folder / "single.txt"}", "x/single.txt")',), 'two groups'),
      ((prompts, '--config.meshes=runs'), '{slug}'),
      ((prompts, '--config.size=0'), 'must be 1 or more'),
      ((prompts, '--config.up=x'), 'none of'),
      ((prompts, '--config.alignment.judge=tests.fakes.judges:level'),
       'both a captioner and a judge'),
      ((prompts, '--config.quality.scorer=tests.fakes.judges:one_too_many'), 'The scorer returned'),
      ((prompts, '--config.quality.scorer=tests.fakes.judges:absent'), 'no function absent')]:
    assert call(folder, *args) == 2, args
    message = capsys.readouterr().err
    assert word in message and 'Traceback' not in message
  assert not (folder / 'out' / 't3bench.json').exists()
