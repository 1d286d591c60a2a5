"""The house keeps its order: imports go down the layers, and every file is read to prove it."""

import ast
import configparser
import graphlib
import pathlib
import re
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent

LAYERS = {
    'core': 0,
    'nn': 1,
    'prior': 2, 'scene': 2,
    'perception': 3, 'physics': 3,
    'distill': 4, 'feedback': 4,
    'data': 5, 'metrics': 5, 'export': 5,
    'train': 6,
}
TOP = {'configs', 'experiments', 'benchmarks', 'tests'}  # layer 7 and what stands beside the house
# Names under which requirements are imported, where it is not the requirement's own.
MODULES = {'pillow': 'PIL', 'scikit-image': 'skimage', 'orbax-checkpoint': 'orbax',
           'imageio-ffmpeg': 'imageio_ffmpeg'}
UNSEEN = {  # required, and imported by no file of ours
    'jaxlib',  # the floor of jax's own half
    'networkx',  # trimesh.repair imports it without requiring it
    'mujoco-mjx',  # imported as mujoco.mjx
}
OPTIONAL = {'brax', 'diffusers', 'huggingface_hub', 'torch', 'transformers'}  # inside functions
MAX_LINES = {'jax3dgen': 320, 'experiments': 120}


def sources(folder):
  """(path below the root, text) of every Python file of a folder."""
  for path in sorted((ROOT / folder).rglob('*.py')):
    yield path.relative_to(ROOT), path.read_text(encoding='utf-8')


def imported(text):
  """(module, line, whether at module level) of every import; `from a import b` gives a.b."""
  tree = ast.parse(text)
  inner = {id(n) for f in ast.walk(tree) if isinstance(f, (ast.FunctionDef, ast.Lambda))
           for n in ast.walk(f)}
  for node in ast.walk(tree):
    if isinstance(node, ast.Import):
      names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
      names = [f'{"." * node.level}{node.module or ""}.{alias.name}' for alias in node.names]
    else:
      continue
    for name in names:
      yield name, node.lineno, id(node) not in inner


def identifiers(text):
  """(name, line) of everything that code, not prose, refers to."""
  for node in ast.walk(ast.parse(text)):
    if isinstance(node, ast.Name):
      yield node.id, node.lineno
    elif isinstance(node, ast.Attribute):
      yield node.attr, node.lineno
    elif isinstance(node, (ast.Import, ast.ImportFrom)):
      names = [alias.name for alias in node.names] + [getattr(node, 'module', None) or '']
      yield from ((part, node.lineno) for name in names for part in name.split('.'))


def complaints(path, text):
  """What one file of jax3dgen/ does against the rules, as sentences."""
  path = pathlib.PurePath(path)
  folder = path.parts[1]
  if path.name == '__init__.py':
    body = [n for n in ast.parse(text).body
            if not (isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant))]
    allowed = 1 if len(path.parts) == 2 else 0  # the package's own holds its version
    if len(body) > allowed:
      yield f'{path}: an __init__ holds its docstring and nothing else'
    return
  for name, line, at_top in imported(text):
    where, parts = f'{path}:{line}', name.split('.')
    if name.startswith('.'):
      yield f'{where}: {name} is relative; write the whole name'
    elif parts[0] in TOP:
      yield f'{where}: {name} lies above the library'
    elif parts[0] == 'torch':
      yield f'{where}: torch belongs to tests and benchmarks'
    elif parts[0] in OPTIONAL and at_top:
      yield f'{where}: {name} is an extra; import it inside the function that needs it'
    elif parts[0] == 'jax3dgen' and len(parts) > 1 and parts[1] != folder:
      if parts[1] not in LAYERS or LAYERS[parts[1]] >= LAYERS[folder]:
        yield f'{where}: {folder}/ must not import {name}'
  for name, line in identifiers(text):
    if name == 'pmap' and path.as_posix() != 'jax3dgen/core/parallel.py':
      yield f'{path}:{line}: only core/parallel.py says pmap'
    if name == 'linen' and folder != 'nn':
      yield f'{path}:{line}: linen stays in nn/'


def graph(files):
  """module -> the modules of its own folder that it imports, for [(path, text)]."""
  names = {'.'.join(pathlib.PurePath(path).with_suffix('').parts) for path, _ in files}
  edges = {}
  for path, text in files:
    module = '.'.join(pathlib.PurePath(path).with_suffix('').parts)
    wanted = {name for found, _, _ in imported(text) for name in (found, found.rpartition('.')[0])}
    edges[module] = {name for name in wanted & names
                     if name.split('.')[:2] == module.split('.')[:2] and name != module}
  return edges


def test_every_folder_has_a_layer():
  folders = {p.name for p in (ROOT / 'jax3dgen').iterdir() if p.is_dir() and any(p.glob('*.py'))}
  assert folders <= set(LAYERS)


def test_imports_go_down():
  assert [c for path, text in sources('jax3dgen') for c in complaints(path, text)] == []


def test_no_circles_inside_a_folder():
  tuple(graphlib.TopologicalSorter(graph(list(sources('jax3dgen')))).static_order())


def required():
  """The names of install_requires in setup.cfg."""
  setup = configparser.ConfigParser()
  setup.read(ROOT / 'setup.cfg')
  return {re.split('[<>=;\\[ ]', line)[0]
          for line in setup['options']['install_requires'].split('\n') if line}


def test_a_plain_install_is_enough_and_no_more():
  """What is imported is install_requires, optional extras inside functions apart."""
  modules = {MODULES.get(name, name) for name in required() - UNSEEN}
  known = modules | OPTIONAL | {'jax3dgen'} | set(sys.stdlib_module_names)
  used = [(f'{path}:{line}: {name}', name.split('.')[0])
          for folder in ('jax3dgen', 'experiments') for path, text in sources(folder)
          for name, line, _ in imported(text)]
  assert [where for where, name in used if name not in known | TOP] == []
  assert modules - {name for _, name in used} == set()


def test_launcher_imports_the_standard_library_only():
  text = (ROOT / 'jax3dgen/core/launch.py').read_text(encoding='utf-8')
  assert {name.split('.')[0] for name, _, _ in imported(text)} <= set(sys.stdlib_module_names)


def test_configs_do_not_import_experiments():
  assert [f'{path}:{line}' for path, text in sources('configs')
          for name, line, _ in imported(text) if name.split('.')[0] in TOP - {'configs'}] == []


@pytest.mark.parametrize('folder', MAX_LINES)
def test_files_hold_one_idea(folder):
  """A longer file is asking to be two; mains only choose, run and report."""
  long = {str(path): text.count('\n') for path, text in sources(folder)
          if text.count('\n') > MAX_LINES[folder] and not path.name.startswith(('rules_', '_'))}
  assert long == {}


@pytest.mark.parametrize('path, text, word', [
    ('jax3dgen/core/a.py', 'from jax3dgen.nn import layers', 'must not import'),
    ('jax3dgen/prior/a.py', 'import jax3dgen.scene.nerf', 'must not import'),
    ('jax3dgen/data/a.py', 'def f():\n  from jax3dgen.export import view', 'must not import'),
    ('jax3dgen/train/a.py', 'from configs import embedded', 'above the library'),
    ('jax3dgen/train/a.py', 'from . import loop', 'relative'),
    ('jax3dgen/train/a.py', 'import jax\nstep = jax.pmap(f)', 'pmap'),
    ('jax3dgen/prior/a.py', 'from flax import linen as nn', 'linen'),
    ('jax3dgen/prior/a.py', 'import torch', 'torch'),
    ('jax3dgen/prior/a.py', 'import diffusers', 'extra'),
    ('jax3dgen/train/__init__.py', 'from jax3dgen.train import loop', '__init__'),
])
def test_the_rules_have_teeth(path, text, word):
  assert any(word in c for c in complaints(path, text))


@pytest.mark.parametrize('path, text', [
    ('jax3dgen/train/a.py', '"""Runs under pmap."""\nfrom jax3dgen.core import parallel'),
    ('jax3dgen/prior/a.py', 'def load():\n  import diffusers\n  return diffusers'),
    ('jax3dgen/__init__.py', '"""Doc."""\n__version__ = "1"'),
])
def test_the_rules_let_good_files_pass(path, text):
  assert list(complaints(path, text)) == []


def test_circles_are_found():
  circle = [('jax3dgen/core/a.py', 'from jax3dgen.core import b'),
            ('jax3dgen/core/b.py', 'from jax3dgen.core.a import f')]
  with pytest.raises(graphlib.CycleError):
    graphlib.TopologicalSorter(graph(circle)).prepare()
