"""The package as others get it: a wheel with its assets that works outside the repository.

The clean environment has the wheel and, through a .pth file, the dependencies of this one, but not
this checkout; commands in it run from an empty folder.
"""

import configparser
import os
import pathlib
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile

import pytest

from experiments import _config

ROOT = pathlib.Path(__file__).resolve().parent.parent
LOCKS = ('runtime', 'dev', 'torch')
BUDGET_MB = 40  # of everything shipped


def pinned(name):
  """{package: [(version, marker)]} of a lock file."""
  versions = {}
  for line in (ROOT / 'requirements' / f'{name}.txt').read_text().splitlines():
    package, version, marker = re.fullmatch(
        r"([a-z0-9.-]+)==([^ ]+)(?: ; (.+))?", line).groups()
    versions.setdefault(package, []).append((version, marker or ''))
  return versions


def names(requirements):
  """Normalised package names of a requirement list of setup.cfg."""
  matches = re.findall(r'^([A-Za-z0-9_.-]+)', requirements.strip(), re.MULTILINE)
  return {name.lower().replace('_', '-') for name in matches}


@pytest.fixture(scope='module')
def setup():
  parser = configparser.ConfigParser()
  parser.read(ROOT / 'setup.cfg')
  return parser


def test_lock_covers_what_is_required(setup):
  runtime, dev, torch = map(pinned, LOCKS)
  assert names(setup['options']['install_requires']) <= set(runtime)
  assert names(setup['options.extras_require']['dev']) <= {*runtime, *dev, *torch}


def test_lock_covers_both_pythons_and_has_no_addresses():
  """One jax for Python 3.11 and one for 3.12; no CUDA in a plain install; no addresses or paths."""
  jax = {marker: version for version, marker in pinned('runtime')['jax']}
  assert jax["python_full_version < '3.12'"].startswith('0.10.')
  assert jax["python_full_version >= '3.12'"].startswith('0.11.')
  for lock in LOCKS:
    text = (ROOT / 'requirements' / f'{lock}.txt').read_text()
    assert not re.search(r'://|file:|@ |^-|/', text, re.MULTILINE)
    assert not re.search(r'^(nvidia|cuda|jax-cuda|triton)', text, re.MULTILINE)
  assert 'torch' not in pinned('runtime')


def test_extras_name_what_they_need(setup):
  extras = setup['options.extras_require']
  assert {'cuda', 'tpu', 'pretrained', 'convert', 'brax', 'texture', 'dev'} == set(extras)
  assert 'python_version >= "3.12"' in extras['cuda'] and 'jax[cuda13]>=0.11.1' in extras['cuda']


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
  """The built wheel; the sources are copied first, so that the checkout stays as it is."""
  folder = tmp_path_factory.mktemp('wheel')
  source = folder / 'source'
  shutil.copytree(ROOT / 'jax3dgen', source / 'jax3dgen',
                  ignore=shutil.ignore_patterns('__pycache__'))
  for name in ('setup.cfg', 'pyproject.toml', 'README.md', 'LICENSE'):
    shutil.copy(ROOT / name, source)
  subprocess.run([sys.executable, '-m', 'build', '--wheel', '--no-isolation', '--outdir', folder,
                  source], check=True, capture_output=True, text=True)
  path, = folder.glob('*.whl')
  return path


def test_wheel_carries_the_assets_and_nothing_else(wheel):
  with zipfile.ZipFile(wheel) as archive:
    inside = set(archive.namelist())
  shipped = {p.relative_to(ROOT).as_posix() for p in (ROOT / 'jax3dgen').rglob('*')
             if p.is_file() and '__pycache__' not in p.parts}
  assert shipped <= inside
  assert {name.split('/')[0] for name in inside - shipped} == {f'jax3dgen-{version()}.dist-info'}
  assert wheel.stat().st_size < BUDGET_MB * 1e6


def version():
  return re.search(r"__version__ = '(.+)'", (ROOT / 'jax3dgen/__init__.py').read_text()).group(1)


@pytest.fixture(scope='module')
def outside(wheel, tmp_path_factory):
  """Runs Python in a clean environment that has the wheel, from an empty folder."""
  folder = tmp_path_factory.mktemp('clean')
  venv.create(folder / 'venv', with_pip=False, symlinks=True)
  python = folder / 'venv' / 'bin' / 'python'
  site = subprocess.run([python, '-c', 'import sysconfig; print(sysconfig.get_path("purelib"))'],
                        check=True, capture_output=True, text=True).stdout.strip()
  subprocess.run([sys.executable, '-m', 'pip', '--python', python, 'install', '--quiet',
                  '--no-deps', '--no-index', wheel], check=True, capture_output=True, text=True)
  # Paths in a .pth file are searched, but .pth files found there (this checkout's) are not read.
  pathlib.Path(site, 'dependencies.pth').write_text(sysconfig.get_path('purelib') + '\n')
  empty = folder / 'empty'
  empty.mkdir()

  def run(code, cwd=empty):
    env = {k: v for k, v in os.environ.items() if k not in ('PYTHONPATH', 'VIRTUAL_ENV')}
    return subprocess.run([python, '-c', code], cwd=cwd, env=env, capture_output=True, text=True,
                          timeout=1800)
  return run


def test_the_whole_package_imports_in_silence_and_starts_no_backend(outside):
  """From an empty folder. An array made at import would fix the number of devices and bar
  jax.distributed."""
  done = outside('''
import importlib, pkgutil, jax, jax3dgen
for module in pkgutil.walk_packages(jax3dgen.__path__, 'jax3dgen.'):
  importlib.import_module(module.name)
print(jax3dgen.__version__)
print(jax3dgen.__file__)
jax.config.update('jax_num_cpu_devices', 3)  # raises once a backend is up
''')
  assert done.returncode == 0, done.stderr
  number, path = done.stdout.splitlines()
  assert number == version() and done.stderr == ''
  assert not pathlib.Path(path).is_relative_to(ROOT)


def examples():
  """The README's library examples: its Python blocks that are whole programs."""
  text = (ROOT / 'README.md').read_text(encoding='utf-8')
  return [block for block in re.findall(r'```python\n(.*?)```', text, re.DOTALL)
          if block.startswith(('import', 'from'))]


# What an example meets instead of the full run: the same code with the fields of the tiny config.
TINY = '''
from ml_collections import ConfigDict
from jax3dgen.recipes.distill import run as distill
distill.default_config = lambda: ConfigDict({tiny!r}).lock()
'''


def test_readme_has_examples():
  assert any('distill.run(' in block for block in examples())


@pytest.mark.parametrize('number', [
    pytest.param(n, marks=[pytest.mark.slow] * (n > 0)) for n in range(len(examples()))])
def test_readme_examples_run_from_an_empty_folder(outside, tmp_path, number):
  _, config = _config.load(f'{ROOT / "configs" / "embedded.py"}:tiny')
  config.train.steps, config.log.preview_every, config.result.turntable_frames = 3, 0, 2
  check = "\nassert None not in globals().get('results', [])\n"
  done = outside(TINY.format(tiny=config.to_dict()) + examples()[number] + check, cwd=tmp_path)
  assert done.returncode == 0, done.stderr
