"""The command line: overrides, one sentence for each fault, help, environment, exit status."""

import errno
import json
import os
import pathlib
import runpy
import signal
import subprocess
import sys

from absl import flags
from ml_collections import ConfigDict, config_flags
import pytest

from experiments import _command, _config
from jax3dgen.core import launch
from jax3dgen.core.errors import ConfigError, MeshError

ROOT = pathlib.Path(__file__).resolve().parents[2]

CONFIG = '''
"""A config for tests."""
from ml_collections import ConfigDict, config_dict

def default_config():
  c = ConfigDict()
  c.prompt = 'a red bear'  # what to make
  c.train = ConfigDict()
  c.train.steps = 10  # optimisation steps
  c.train.rate = 0.1
  c.train.shuffle = True  # mix the order
  c.size = (1, 2)  # rows and columns
  c.range = (0.0, 1.0)
  c.words = ['a']
  c.bands = config_dict.FieldReference(1.0, field_type=object)  # a number or a schedule
  c.limit = config_dict.placeholder(int)
  return c.lock()

def get_config(variant=''):
  config = default_config()
  if variant == 'tiny':
    config.train.steps = 2
  elif variant:
    raise ValueError(f'there is no variant {variant!r}; there is tiny.')
  return config
'''


@pytest.fixture
def config_file(tmp_path):
  path = tmp_path / 'küche und bär' / 'toy.py'
  path.parent.mkdir()
  path.write_text(CONFIG, encoding='utf-8')
  return path


def overridden(config_file, *words, variant=''):
  _, overrides = _config.split(words)
  _, config = _config.load(f'{config_file}{variant}')
  return _config.override(config, overrides)


def test_split():
  rest, overrides = _config.split([
      '--config=a.py', '--config.x=1', '--workdir', 'w', '--config.y', '-2', '--config.z',
      '--noconfig.on', '--config.t=a=b', '--config.last'])
  assert rest == ['--config=a.py', '--workdir', 'w']
  assert overrides == [('x', '1'), ('y', '-2'), ('z', None), ('on', 'false'), ('t', 'a=b'),
                       ('last', None)]


@pytest.mark.parametrize('word, field, value', [
    ('--config.train.steps=7', 'train.steps', 7),
    ('--config.train.rate=3', 'train.rate', 3.0),
    ('--config.train.rate=1e-3', 'train.rate', 1e-3),
    ('--config.train.shuffle=False', 'train.shuffle', False),
    ('--noconfig.train.shuffle', 'train.shuffle', False),
    ('--config.train.shuffle', 'train.shuffle', True),
    ('--config.train.shuffle=0', 'train.shuffle', False),
    ('--config.prompt=12', 'prompt', '12'),
    ('--config.prompt=ein Bär, "rot"', 'prompt', 'ein Bär, "rot"'),
    ('--config.prompt=', 'prompt', ''),
    ('--config.size=(3, 4, 5)', 'size', (3, 4, 5)),
    ('--config.range=(0, 3)', 'range', (0.0, 3.0)),
    ('--config.words=["b", "c"]', 'words', ['b', 'c']),
    ('--config.bands=0.5', 'bands', 0.5),
    ('--config.bands=(0, 0.2, 1.0, 500)', 'bands', (0, 0.2, 1.0, 500)),
    ('--config.limit=3', 'limit', 3),
    ('--config.limit=None', 'limit', None),
])
def test_override(config_file, word, field, value):
  config = overridden(config_file, word)
  for name in field.split('.'):
    config = config[name]
  assert config == value and type(config) is type(value)


@pytest.mark.parametrize('word, parts', [
    ('--config.train.stps=3', ['config.train.stps', 'did you mean config.train.steps']),
    ('--config.steps=3', ['did you mean config.train.steps']),
    ('--config.qqq=3', ['config.qqq', 'train']),
    ('--config.train.steps.more=3', ['config.train.steps.more', 'no such field']),
    ('--config.train=3', ['section', 'config.train.steps']),
    ('--config.train.steps=1.5', ['config.train.steps', "'1.5'", 'whole number', '10']),
    ('--config.train.steps', ['config.train.steps', 'without a value']),
    ('--config.train.rate=fast', ['config.train.rate', 'a number']),
    ('--config.train.shuffle=maybe', ['config.train.shuffle', 'true or false']),
    ('--config.size=3', ['config.size', '(1, 2)']),
    ('--config.size=(1', ['config.size']),
    ('--config.size=("a",)', ['config.size']),
    ('--config.range=(True, 1)', ['config.range']),
    ('--config.train.steps=True', ['config.train.steps', 'whole number']),
    ('--config.items=3', ['config.items', 'no such field']),
    ('--config.bands=often', ['config.bands', 'a number or a tuple']),
    ('--config.limit=x', ['config.limit', 'whole number']),
])
def test_an_invalid_override_is_one_sentence(config_file, word, parts):
  with pytest.raises(ConfigError) as e:
    overridden(config_file, word)
  assert all(part in str(e.value) for part in parts), str(e.value)
  assert '\n' not in str(e.value)


def test_variant(config_file):
  assert overridden(config_file, variant=':tiny').train.steps == 2
  assert overridden(config_file, '--config.train.steps=5', variant=':tiny').train.steps == 5
  with pytest.raises(ConfigError, match="no variant 'tyni'"):
    overridden(config_file, variant=':tyni')


@pytest.mark.parametrize('word, field, value', [
    ('--config.train.shuffle false', 'train.shuffle', True), ('--config.size=(1', 'size', ('(1',)),
    ('--config.size=("a",)', 'size', ('a',)), ('--config.bands=often', 'bands', 'often')])
def test_config_flags_accepts_invalid_values(config_file, word, field, value):
  """Why the flags of ml_collections are not used (_config.py): `value` is what they set."""
  values, argv = flags.FlagValues(), ['command', *word.split(' ')]
  config_flags.DEFINE_config_dict('config', _config.load(str(config_file))[1], flag_values=values,
                                  sys_argv=argv)
  values(argv)
  assert values.config[field] == value


def test_complete_adds_fields(config_file):
  _, config = _config.load(str(config_file))

  def complete(config):
    with config.unlocked():
      config.train.total = config.train.steps + 1
    return config

  assert _config.override(config, [('train.steps', '3')], complete).train.total == 4
  _, config = _config.load(str(config_file))
  overrides = [('train.total', '9'), ('train.steps', '3')]
  assert _config.override(config, overrides, complete).train.total == 9
  with pytest.raises(ConfigError, match='config.train.totl.*config.train.total'):
    _config.override(config, [('train.totl', '9')], complete)


@pytest.mark.parametrize('text, parts', [
    ('def get_config(:\n', ['line 1', 'SyntaxError']),
    ('x = 1\n', ['no get_config']),
    ('def get_config():\n  return {}\n', ['returned dict']),
    ('import nonexistent_module\n', ['line 1', 'nonexistent_module']),
    ('from ml_collections import ConfigDict\ndef get_config():\n'
     '  c = ConfigDict({"steps": 1}).lock()\n  c.stps = 2\n  return c\n',
     ['line 4', 'stps', 'steps']),
])
def test_an_error_in_a_config_file_is_one_sentence(tmp_path, text, parts):
  path = tmp_path / 'broken.py'
  path.write_text(text)
  with pytest.raises(ConfigError) as e:
    _config.load(str(path))
  assert all(part in str(e.value) for part in parts), str(e.value)
  assert '\n' not in str(e.value)


def test_a_missing_config_file_names_its_neighbours(config_file):
  with pytest.raises(ConfigError, match='there is no file .*tol.py; did you mean .*toy.py'):
    _config.load(str(config_file.with_name('tol.py')))
  with pytest.raises(ConfigError, match='no variants'):
    path = config_file.with_name('plain.py')
    path.write_text('from ml_collections import ConfigDict\nget_config = lambda: ConfigDict()\n')
    _config.load(f'{path}:tiny')


def test_a_data_file_is_never_run_as_config(tmp_path):
  """Only the Python file that the user names is executed."""
  path = tmp_path / 'config.json'
  path.write_text(f'open({str(tmp_path / "marker")!r}, "w")')
  with pytest.raises(ConfigError, match='Python file'):
    _config.load(str(path))
  assert not (tmp_path / 'marker').exists()


def status(run, *argv, **kwargs):
  return _command.call(run, 'A command for tests.', argv=list(argv), **kwargs)


@pytest.fixture
def launched(monkeypatch):
  monkeypatch.setenv(launch.GUARD, '1')


def test_a_tilde_is_the_home_folder(config_file, tmp_path, launched, monkeypatch):
  monkeypatch.setenv('HOME', str(tmp_path))
  calls = []
  options = lambda p: p.add_argument('files', nargs='*')
  code = status(lambda *a: calls.append(a), f'--config=~/{config_file.relative_to(tmp_path)}',
                '--workdir=~/runs', '--config.prompt=~/a', '~/b', 'c~',
                config='configs/embedded.py', flags=options)
  (config, workdir, args), = calls
  assert (code, workdir, args.files) == (0, tmp_path / 'runs', [f'{tmp_path}/b', 'c~'])
  assert config.prompt == f'{tmp_path}/a'


def test_run_receives_config_workdir_and_flags(config_file, tmp_path, launched):
  calls = []
  options = lambda p: p.add_argument('--note', default='none', help='a note')
  code = status(lambda *a: calls.append(a), '--config', str(config_file), '--config.train.steps=4',
                '--workdir', str(tmp_path / 'runs'), '--note=hello', '--allow_change',
                config='configs/embedded.py', flags=options)
  (config, workdir, args), = calls
  assert (code, config.train.steps, workdir) == (0, 4, tmp_path / 'runs')
  assert (args.note, args.allow_change) == ('hello', True)
  assert config.is_locked


@pytest.mark.parametrize('argv, parts', [
    (['--workdr=x'], ['--workdr', 'did you mean --workdir']),
    (['--work=x'], ['--work']),
    (['stray', '--workdir=w'], ['stray']),
    ([], ['--workdir']),
    (['--workdir'], ['--workdir']),
    (['--workdir='], ['--workdir']),
    (['--workdir=w', '--config.a=1'], ['--config.a']),
])
def test_invalid_arguments_are_one_sentence(argv, parts, launched, capsys):
  assert status(lambda *a: pytest.fail('ran'), *argv) == 2
  out, err = capsys.readouterr()
  assert out == '' and err.count('\n') == 1 and 'Traceback' not in err
  assert all(part in err for part in parts), err


@pytest.mark.parametrize('error, code', [
    (MeshError('the mesh is empty'), 2),
    (OSError(errno.ENOSPC, 'No space left on device', 'runs/x'), 2),
    (OSError(errno.EIO, 'Input/output error', 'runs/x'), 2),
    (PermissionError(errno.EACCES, 'Permission denied', 'runs/x'), 2),
    (KeyboardInterrupt(), 130),
])
def test_exit_status(error, code, launched, capsys):
  def run(config, workdir, args):
    raise error
  assert status(run, workdir=False) == code
  assert capsys.readouterr().err.count('\n') == 1


def test_preemption_and_bugs_pass_through(launched):
  def preempted(config, workdir, args):
    raise SystemExit(143)
  def bug(config, workdir, args):
    raise ZeroDivisionError
  with pytest.raises(SystemExit, match='143'):
    status(preempted, workdir=False)
  with pytest.raises(ZeroDivisionError):
    status(bug, workdir=False)
  assert status(lambda *a: 3, workdir=False) == 3
  with pytest.raises(SystemExit, match='3'):
    _command.main(lambda *a: 3, 'A command.', workdir=False, argv=[])


def test_help_explains_flags_and_every_field(config_file, capsys):
  options = lambda p: p.add_argument('--note', help='a note to keep')
  assert status(None, '--help', '--config', str(config_file), config='configs/embedded.py',
                flags=options) == 0
  out = capsys.readouterr().out
  for part in ('A command for tests.', '--workdir', '--note', 'a note to keep', '--allow_change',
               "--config.prompt='a red bear'", 'what to make', 'optimisation steps',
               "--config.size='(1, 2)'", 'rows and columns', '--config.train.rate=0.1'):
    assert part in out, part


def test_every_field_of_every_config_is_explained():
  for path in sorted((ROOT / 'configs').rglob('[!_]*.py')):
    module, config = _config.load(str(path))
    meanings = _config.explanations(module, config)
    assert module.__doc__, path
    assert {name for name, _ in _config.leaves(config)} - set(meanings) == set(), path


def test_comments():
  """Of statements on several lines the comment behind the first or the last one."""
  text = '''
def default_config(c):
  c.color = '#fff'  # of the background
  c.a.sizes = (1,  # rows, columns
               2)
  c.b = (
      3,
      4)  # a range
  c.plain = 5
  other = 6  # not a field
  c.plain.more = 7
  if c.b:  # nor this
    c.color = '#000'  # another one
  return c

DEFAULTS = base.DEFAULTS | {
    'clip': 1.0,  # the largest norm
    'bare': 2}

TABLE = {'x': 3}  # no default
'''
  assert _config.comments(text) == {
      'color': 'of the background', 'a.sizes': 'rows, columns', 'b': 'a range',
      'distill.clip': 'the largest norm'}


def test_help_texts_come_from_all_default_configs(tmp_path, monkeypatch):
  """A config file takes its defaults from a record of another module, and these from a third."""
  monkeypatch.syspath_prepend(tmp_path)
  head = 'from ml_collections import ConfigDict\n'
  (tmp_path / 'first_defaults.py').write_text(
      f'{head}def default_config():\n'
      '  c = ConfigDict()\n  c.steps = 3  # of training\n  return c\n')
  (tmp_path / 'second_defaults.py').write_text(
      f'{head}import first_defaults, types\ndef default_config():\n'
      '  c = first_defaults.default_config()\n  c.rate = 0.1  # step size\n  return c\n'
      'NET = types.SimpleNamespace(default_config=default_config)\n')
  (tmp_path / 'nets').mkdir()
  path = tmp_path / 'nets' / 'small.py'
  path.write_text('from second_defaults import NET\nget_config = lambda: NET.default_config()\n')
  assert _config.explanations(*_config.load(str(path))) == {
      'steps': 'of training', 'rate': 'step size'}


@pytest.mark.parametrize('name', [p.stem for p in sorted((ROOT / 'experiments').glob('[!_]*.py'))])
def test_every_experiment_has_help(name, monkeypatch, capsys):
  monkeypatch.setattr(sys, 'argv', [name, '--help'])
  monkeypatch.setattr(signal, 'signal', lambda *_: None)
  monkeypatch.delitem(sys.modules, f'experiments.{name}', raising=False)
  with pytest.raises(SystemExit) as exit_status:
    runpy.run_module(f'experiments.{name}', run_name='__main__', alter_sys=True)
  output = capsys.readouterr()
  assert exit_status.value.code == 0, output.err
  assert f'python -m experiments.{name}' in output.out


# The environment of core/launch, for which a command starts itself once more.


def clean(**extra):
  names = {*launch.MALLOC, launch.GUARD, 'JAX_NUM_CPU_DEVICES', 'XLA_FLAGS', 'XDG_CACHE_HOME',
           'JAX_COMPILATION_CACHE_DIR', 'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS'}
  return {k: v for k, v in os.environ.items() if k not in names} | extra


def test_environment_keeps_the_settings_of_the_user(tmp_path):
  env = clean(HOME=str(tmp_path), MALLOC_ARENA_MAX='4', JAX_NUM_CPU_DEVICES='8',
              XLA_FLAGS='--xla_a=1 --xla_force_host_platform_device_count=8 --xla_b=2')
  settings = launch.environment(env)
  assert settings['MALLOC_ARENA_MAX'] == '4' and settings['MALLOC_MMAP_MAX_'] == '0'
  assert settings['JAX_NUM_CPU_DEVICES'] == '2'
  assert settings['XLA_FLAGS'] == '--xla_a=1 --xla_b=2'
  assert settings['JAX_COMPILATION_CACHE_DIR'] == str(tmp_path / '.cache' / 'jax3dgen' / 'xla')
  assert launch.missing(env | settings) == {}
  folder = lambda **extra: launch.environment(env | extra)['JAX_COMPILATION_CACHE_DIR']
  assert folder(JAX_COMPILATION_CACHE_DIR='/somewhere') == '/somewhere'
  assert folder(XDG_CACHE_HOME=str(tmp_path / 'x')).startswith(str(tmp_path / 'x'))


def test_settings_of_glibc_are_for_linux(tmp_path, monkeypatch):
  monkeypatch.setattr(sys, 'platform', 'darwin')
  settings = launch.environment(clean(HOME=str(tmp_path)))
  assert not launch.MALLOC.keys() & settings.keys() and settings['JAX_NUM_CPU_DEVICES'] == '2'


def test_no_cache_where_it_cannot_be_written(tmp_path):
  (tmp_path / 'file').write_text('')  # a home that can hold nothing, for root as well
  assert 'JAX_COMPILATION_CACHE_DIR' not in launch.environment(clean(HOME=str(tmp_path / 'file')))


PROBE = '''
"""Prints its arguments and environment."""
import json, os, sys
sys.path.insert(0, {root!r})
from experiments import _command

def run(config, workdir, args):
  from jax3dgen.core import launch
  print(json.dumps(dict(pid=os.getpid(), missing=launch.missing(), argv=sys.argv[1:],
                        optimize=sys.flags.optimize, starts=os.environ['STARTS'])))

os.environ['STARTS'] = os.environ.get('STARTS', '') + 'x'
if __name__ == '__main__':
  _command.main(run, __doc__)
'''


@pytest.mark.parametrize('options', [[], ['-O'], ['-X', 'utf8']])
def test_a_command_starts_itself_again_once(tmp_path, options):
  """-m and -O survive, as do a path with spaces and letters, no HOME, and a foreign locale."""
  folder = tmp_path / 'a path' / 'größe 熊'
  folder.mkdir(parents=True)
  (folder / 'probe.py').write_text(PROBE.format(root=str(ROOT)), encoding='utf-8')
  env = clean(HOME='/nonexistent', LC_ALL='C', TZ='Asia/Kathmandu')
  process = subprocess.Popen([sys.executable, *options, '-m', 'probe', '--workdir', 'größe 熊'],
                             cwd=folder, env=env, stdout=subprocess.PIPE, text=True)
  output = json.loads(process.communicate(timeout=60)[0])
  assert process.returncode == 0
  assert output == dict(pid=process.pid, missing={}, argv=['--workdir', 'größe 熊'],
                        optimize=int('-O' in options), starts='xx')


@pytest.mark.parametrize('then', ['time.sleep(60)', "raise ImportError('a')"])
def test_a_termination_that_is_dropped_counts(tmp_path, then):
  """As by the imports of libraries, which may drop or replace all exceptions."""
  (tmp_path / 'probe.py').write_text(f'''
import os, signal, sys, time
sys.path.insert(0, {str(ROOT)!r})
from experiments import _command

def run(config, workdir, args):
  try:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(1)
  except BaseException:
    print('dropped')
  {then}

_command.main(run, 'A command for tests.', workdir=False)
''')
  process = subprocess.run([sys.executable, 'probe.py'], cwd=tmp_path, env=clean(), text=True,
                           capture_output=True, timeout=60)
  assert (process.returncode, process.stdout) == (143, 'dropped\n'), process.stderr


def test_a_command_with_all_settings_does_not_start_itself_again(monkeypatch):
  monkeypatch.setattr(os, 'execve', lambda *a: pytest.fail('started again'))
  for name, value in launch.environment().items():
    monkeypatch.setenv(name, value)
  monkeypatch.delenv(launch.GUARD, raising=False)
  launch.reexecute()


def test_makefile_has_the_launchers_settings():
  text = (ROOT / 'Makefile').read_text()
  assert all(f'{name}={value}' in text for name, value in launch.MALLOC.items())


def test_configs_hold_types_that_the_command_line_can_set():
  kinds = set(_config.KINDS)
  for path in sorted((ROOT / 'configs').rglob('[!_]*.py')):
    _, config = _config.load(str(path))
    sections = [config]
    while sections:
      section = sections.pop()
      assert {section.get_type(n) for n in section} <= kinds | {ConfigDict}, path
      sections += [section[n] for n in section if isinstance(section[n], ConfigDict)]


def test_help_shows_the_fields_that_an_override_adds(monkeypatch, capsys):
  from experiments import distill
  monkeypatch.setattr(sys, 'argv', ['distill.py'])
  assert _command.call(distill.run, distill.__doc__, config='configs/embedded.py',
                       flags=distill.flags, complete=distill.complete,
                       argv=['--help', '--config.distill.name=vsd']) == 0
  page = capsys.readouterr().out
  assert '--config.distill.name=vsd' in page and '--config.distill.critic_rank=4' in page
