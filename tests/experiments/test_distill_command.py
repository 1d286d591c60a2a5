"""`python -m experiments.distill` with the tiny config: results, resume, refusals."""

import json
import pathlib
import shutil
import signal
import subprocess

import numpy as np
import pytest
import trimesh

from experiments import _command, distill
from jax3dgen.core import launch
from tests import commands, processes

RESULTS = ('mesh.glb', 'turntable.mp4', 'report.html', 'result.json', 'metrics.csv', 'config.json')
FIGURES = {'prompt', 'steps', 'seconds', 'params_digest', 'face_count', 'view_kl', 'winding',
           'kind_correct', 'color_correct', 'stable', 'rotation_deg', 'flat_cut', 'stable_uncut',
           'rotation_deg_uncut', 'vertices', 'faces', 'watertight'}


@pytest.fixture(scope='module')
def unbroken(tmp_path_factory):
  """A workdir that the tiny command filled without interruption."""
  workdir = tmp_path_factory.mktemp('distill') / 'unbroken'
  done = commands.distill(workdir)
  assert done.returncode == 0, done.stderr
  return workdir


def copy(unbroken, tmp_path):
  return pathlib.Path(shutil.copytree(unbroken, tmp_path / 'copy'))


def refused(done, *sentences):
  """Exit status 2, one short message that holds the sentences, no traceback."""
  assert done.returncode == 2, done.stdout + done.stderr
  assert 'Traceback' not in done.stderr
  for sentence in sentences:
    assert sentence in done.stderr, done.stderr


def test_every_result_is_there(unbroken):
  assert all((unbroken / name).stat().st_size for name in RESULTS)
  assert not list(unbroken.glob('.*partial*'))
  figures = commands.result(unbroken)
  assert FIGURES <= figures.keys()
  assert figures['prompt'] == 'a red bear' and figures['steps'] == 30
  mesh = trimesh.load(unbroken / 'mesh.glb', force='mesh')
  assert (len(mesh.vertices), len(mesh.faces)) == (figures['vertices'], figures['faces'])
  assert mesh.is_watertight == figures['watertight']


def test_a_finished_run_says_so_and_does_nothing(unbroken):
  before = {p: p.stat().st_mtime_ns for p in unbroken.iterdir() if p.suffix}
  done = commands.distill(unbroken)
  assert done.returncode == 0 and 'is finished' in done.stdout
  after = {p: p.stat().st_mtime_ns for p in unbroken.iterdir() if p.suffix}
  assert {p: t for p, t in after.items() if p.name != 'config.json'} == {
      p: t for p, t in before.items() if p.name != 'config.json'}


# train/test_loop and test_checkpoint kill the same loop, recipes/distill/test_latent resumes a run.
@pytest.mark.slow
@pytest.mark.parametrize('moment', ['while saving', 'in the middle', 'while writing results'])
def test_a_killed_run_ends_where_an_unbroken_one_does(unbroken, tmp_path, moment):
  when = {
      'in the middle': lambda: commands.steps_logged(tmp_path) >= 15,
      'while saving': lambda: any((tmp_path / 'checkpoints').glob('20*')),
      'while writing results': lambda: (tmp_path / 'mesh.glb').exists(),
  }[moment]
  commands.kill(tmp_path, when)
  done = commands.distill(tmp_path)
  assert done.returncode == 0, done.stderr
  same_run(tmp_path, unbroken)


def same_run(workdir, unbroken):
  ours, theirs = commands.result(workdir), commands.result(unbroken)
  assert ours['params_digest'] == theirs['params_digest']
  machine = ('seconds', 'peak_memory_gib')
  assert {k: v for k, v in ours.items() if k not in machine} == {
      k: v for k, v in theirs.items() if k not in machine}
  assert (workdir / 'metrics.csv').read_text() == (unbroken / 'metrics.csv').read_text()


@pytest.mark.slow
def test_sigterm_saves_and_exits_143(unbroken, tmp_path):
  status = commands.interrupt(tmp_path, lambda: commands.steps_logged(tmp_path) >= 5,
                              signal.SIGTERM)
  assert status == 143
  assert [p for p in (tmp_path / 'checkpoints').iterdir() if p.name.isdigit()]
  assert commands.distill(tmp_path).returncode == 0
  same_run(tmp_path, unbroken)


@pytest.mark.slow
def test_a_damaged_checkpoint_falls_back_and_says_so(unbroken, tmp_path):
  workdir = copy(unbroken, tmp_path)
  for name in RESULTS[:4]:
    (workdir / name).unlink()
  newest = max((workdir / 'checkpoints').glob('[0-9]*'), key=lambda p: int(p.name))
  rng = np.random.default_rng(0)
  for file in newest.rglob('*'):
    if file.is_file() and file.stat().st_size > 1000:
      data = bytearray(file.read_bytes())
      for at in rng.integers(len(data), size=100):
        data[at] ^= 1 << int(rng.integers(8))
      file.write_bytes(data)
  done = commands.distill(workdir)
  assert done.returncode == 0, done.stderr
  assert f'step {newest.name} is damaged' in done.stdout
  same_run(workdir, unbroken)


@pytest.mark.parametrize('args, sentences', [
    (['--config.train.stesp=3'], ['config.train.stesp', 'config.train.steps']),
    (['--config.train.steps=many'], ['config.train.steps', 'whole number']),
    (['--config.prompt=a red bera'], ['bera', 'bear']),
    (['--config.prompt='], ['empty']),
    (['--config.prompt=\U0001f43b'], ['does not know', 'it knows: a,']),
    (['--config.prompt=<script>alert(1)</script>'], ['does not know', 'it knows: a,']),
    (['--config.distill.name=sdss'], ['sdss', 'sds']),
    (['--config.prior.weights=no/such/folder'], ['no/such/folder']),
    (['--config.prior.name=nothing'], ['config.prior.name']),
    (['--config.train.batch=7'], ['config.train.batch=7']),
    (['--config.result.flat_cut=1.5'], ['config.result.flat_cut=1.5']),
    (['--config.train.batch=0'], ['config.train.batch=0', '1 or more']),
    (['--config.train.steps=-5'], ['config.train.steps=-5']),
    (['--config.render.n_samples=0'], ['config.render.n_samples=0']),
    (['--config.render.background=(1.0, 0.0)'], ['config.render.background']),
    (['--config.camera.distance=(2.9,)'], ['config.camera.distance']),
    (['--config.shading.light=moon'], ['config.shading.light', 'magic3d']),
    (['--config.regularizers.sparsity={}'], ['config.regularizers.sparsity', 'schedule']),
    (['--config.optim.rates=(("(", 1e-2),)'], ['config.optim.rates', 'regular expression']),
    (['--config.result.mesh_resolution=1'], ['config.result.mesh_resolution=1']),
    (['--config.result.turntable_frames=0'], ['config.result.turntable_frames=0']),
    (['--config.prior.name='], ['config.prior.name']),
    (['--config.prior.name=base'], ['config.prior.name', 'has no load']),
    (['--config.distill.weight=heavy'], ['config.distill.weight', 'weighting']),
    (['--prompts=/no/such/file'], ['--prompts=/no/such/file']),
    (['--config.distill.weighting=heavy'], ['weighting', 'fantasia3d']),
])
def test_bad_input_is_refused_in_one_sentence(tmp_path, args, sentences, capsys):
  status, message = call(capsys, tmp_path / 'run', *args)
  assert status == 2
  assert all(sentence in message for sentence in sentences), message
  assert not (tmp_path / 'run').exists()


def call(capsys, workdir, *args):
  """(exit status, standard error) of the tiny command in this process: that is faster."""
  config = f'--config={commands.ROOT / "configs" / "embedded.py:tiny"}'
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(launch, 'reexecute', lambda: None)
    status = _command.call(distill.run, distill.__doc__, config='configs/embedded.py',
                           flags=distill.flags, complete=distill.complete,
                           argv=[config, f'--workdir={workdir}', *args])
  return status, capsys.readouterr().err


@pytest.mark.parametrize('args, sentences', [
    (['--config.distill.guidance=7.5'], ['distill.guidance', '4.0', '7.5', '--allow_change']),
    (['--config.prompt=a blue car'], ['prompt', 'a red bear', 'a blue car'])])
def test_a_workdir_of_another_config_is_refused_with_the_difference(unbroken, args, sentences,
                                                                    capsys):
  before = (unbroken / 'config.json').read_bytes()
  status, message = call(capsys, unbroken, *args)
  assert status == 2 and all(sentence in message for sentence in sentences), message
  assert (unbroken / 'config.json').read_bytes() == before


def test_a_workdir_that_cannot_be_made_is_refused(tmp_path, capsys):
  (tmp_path / 'run').write_text('mine')
  for workdir, sentences in (('/dev/null/run', ['cannot be written', '/dev/null/run']),
                             (tmp_path / 'run', [str(tmp_path / 'run')])):
    status, message = call(capsys, workdir)
    assert status == 2 and all(sentence in message for sentence in sentences), message
  assert (tmp_path / 'run').read_text() == 'mine'


@pytest.mark.slow
def test_a_change_after_the_end_is_refused_or_carried_out(unbroken, tmp_path):
  workdir = copy(unbroken, tmp_path)
  refused(commands.distill(workdir, '--config.result.flat_cut=0.0'), 'result.flat_cut',
          '--allow_change')
  done = commands.distill(workdir, '--config.result.flat_cut=0.0', '--allow_change')
  assert done.returncode == 0 and 'All 30 steps are done' in done.stdout
  before, after = commands.result(unbroken), commands.result(workdir)
  assert after['flat_cut'] == 0 and after['params_digest'] == before['params_digest']
  assert after['rotation_deg'] == before['rotation_deg_uncut']
  assert json.loads((workdir / 'config.json').read_text())['result']['flat_cut'] == 0


@pytest.mark.slow
def test_two_runs_in_one_workdir(tmp_path):
  refusals = []

  def second():
    if commands.steps_logged(tmp_path) < 1:
      return False
    refusals.append(commands.distill(tmp_path))
    return True
  commands.kill(tmp_path, second, '--config.train.steps=100000')
  refused(refusals[0], 'Another process is using')


@pytest.mark.slow
def test_a_custom_loss_runs_from_a_file_in_the_working_directory(unbroken, tmp_path):
  code = (commands.ROOT / 'README.md').read_text().split('# my_loss.py', 1)[1].split('```')[0]
  (tmp_path / 'my_loss.py').write_text('# my_loss.py' + code)
  done = commands.distill('run', '--config.distill.name=my_loss', cwd=tmp_path)
  assert done.returncode == 0, done.stderr
  assert commands.result(tmp_path / 'run')['params_digest'] != (
      commands.result(unbroken)['params_digest'])


@pytest.mark.slow
def test_python_call_and_command_end_alike(unbroken, tmp_path):
  code = ('from configs import embedded\n'
          'from jax3dgen.recipes.distill import run as distill\n'
          'config = embedded.get_config("tiny")\n'
          f'print(distill.run(config, {str(tmp_path)!r}).figures["params_digest"])\n')
  done = subprocess.run([commands.sys.executable, '-c', code], cwd=commands.ROOT,
                        env=commands.environment(), capture_output=True, text=True, check=False)
  assert done.returncode == 0, done.stderr
  assert done.stdout.split()[-1] == commands.result(unbroken)['params_digest']


@pytest.mark.slow
def test_a_list_of_prompts_skips_the_bad_one(tmp_path):
  (tmp_path / 'prompts.txt').write_text('a blue robot\na flying carpet\n')
  done = commands.distill(tmp_path / 'runs', '--prompts', tmp_path / 'prompts.txt')
  assert done.returncode == 3, done.stderr
  assert 'carpet' in done.stderr
  [path] = list((tmp_path / 'runs').glob('*/result.json'))
  assert json.loads(path.read_text())['prompt'] == 'a blue robot'


@pytest.mark.slow
def test_the_tiny_run_passes_in_a_hostile_environment(unbroken, tmp_path):
  # A home that is read-only, no network, no display, another locale, -O, a path with blanks.
  home = tmp_path / 'home'
  home.write_text('a file, in which even root can make no folder')
  workdir = tmp_path / 'ein Ördner mit Leerzeichen ☃'
  env = commands.environment(HOME=str(home), LC_ALL='C', LANG='C', PYTHONDONTWRITEBYTECODE='1')
  env.pop('DISPLAY', None)
  env.pop('JAX_COMPILATION_CACHE_DIR', None)
  offline = ['unshare', '-n', '--'] if shutil.which('unshare') and subprocess.run(
      ['unshare', '-n', 'true'], capture_output=True, check=False).returncode == 0 else []
  done = commands.distill(workdir, env=env, python=['-O'], prefix=offline)
  assert done.returncode == 0, done.stderr
  same_run(workdir, unbroken)


@pytest.mark.slow
def test_nan_gradients_stop_the_run_with_the_last_good_state(tmp_path):
  (tmp_path / 'bad_loss.py').write_text(
      'import jax.numpy as jnp\n'
      'from jax3dgen.distill import base, sds\n'
      'def direction(*args):\n'
      '  g, state, metrics = sds.direction(*args)\n'
      '  return jnp.where(args[1].step >= 12, jnp.nan, g), state, metrics\n'
      'DEFAULTS = sds.DEFAULTS\n'
      'DISTILLATION = base.stateless(direction)\n')
  done = commands.distill('run', '--config.distill.name=bad_loss', '--config.train.max_skipped=5',
                          cwd=tmp_path)
  refused(done, 'were not finite')
  assert [p for p in (tmp_path / 'run' / 'checkpoints').iterdir() if p.name.isdigit()]


@pytest.mark.slow
@pytest.mark.parametrize('sparsity, word', [(1e5, 'the field is empty'), (-1e4, 'fog fills')])
def test_the_watchdog_names_the_collapse(tmp_path, sparsity, word):
  done = commands.distill(tmp_path, '--config.train.steps=1000',
                          f'--config.regularizers.sparsity={sparsity}')
  refused(done, 'Stopped at step 1', word)
  assert [p for p in (tmp_path / 'checkpoints').iterdir() if p.name.isdigit()]


@pytest.mark.slow
def test_a_field_without_a_surface_writes_no_result(tmp_path):
  done = commands.distill(tmp_path, '--config.regularizers.sparsity=1e5')
  refused(done, 'holds no surface', 'densities are between')
  assert not {p.name for p in tmp_path.iterdir()} & {'mesh.glb', 'result.json', 'report.html'}


@pytest.mark.slow
def test_a_step_that_cannot_fit_is_refused_before_it_runs(tmp_path):
  done = commands.distill(tmp_path, '--config.train.batch=40000')
  refused(done, 'One step needs', 'are free', 'Lower config.train.batch')
  assert not (tmp_path / 'metrics.csv').exists()


@pytest.mark.slow
def test_another_number_of_devices_restores_the_same_state(unbroken, tmp_path):
  workdir = copy(unbroken, tmp_path)
  (workdir / 'result.json').unlink()
  one = commands.environment(JAX_NUM_CPU_DEVICES='1', JAX3DGEN_LAUNCHED='by the test')
  refused(commands.distill(workdir, env=one), 'devices', '--allow_change')
  done = commands.distill(workdir, '--allow_change', env=one)
  assert done.returncode == 0, done.stderr
  assert 'later noise differs' in done.stdout
  assert commands.result(workdir)['params_digest'] == commands.result(unbroken)['params_digest']
  longer = commands.distill(workdir, '--config.train.steps=40', env=one)
  assert longer.returncode == 0 and commands.result(workdir)['steps'] == 40


@pytest.mark.slow
def test_two_processes_of_two_devices_end_where_one_of_four_does(tmp_path, monkeypatch):
  monkeypatch.delenv('XLA_FLAGS', raising=False)  # as a user compiles: the tests' flags round apart
  module = 'tests.fakes.short_distillation'
  (status, message), = processes.finish(processes.start(module, tmp_path / 'one', devices=4))
  assert status == 0 and '4 devices' in message, message
  ended = processes.finish(*processes.start_group(module, tmp_path / 'two'))
  assert [status for status, _ in ended] == [0, 0], ended
  one, *two = (np.load(tmp_path / folder / f'field_{rank}.npz')
               for folder, rank in (('one', 0), ('two', 0), ('two', 1)))
  for name in one:
    np.testing.assert_array_equal(two[0][name], two[1][name])
    np.testing.assert_allclose(two[0][name], one[name], atol=1e-6)
