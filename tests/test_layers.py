"""The rules of the code's structure (`tests/house.py`): layers, rooms, sizes, imports."""

import ast
import configparser
import graphlib
import pathlib
import re
import sys

import pytest

from tests import house

TOP = {'configs', 'experiments', 'benchmarks', 'tests'}  # above the library and beside it
# Names under which requirements are imported, where it is not the requirement's own.
MODULES = {'pillow': 'PIL', 'scikit-image': 'skimage', 'orbax-checkpoint': 'orbax',
           'imageio-ffmpeg': 'imageio_ffmpeg'}
INDIRECT = {  # required, and imported by no file of ours
    'jaxlib',  # the floor of jax's own half
    'networkx',  # trimesh.repair imports it without requiring it
    'mujoco-mjx',  # imported as mujoco.mjx
}
OPTIONAL = {'brax', 'diffusers', 'huggingface_hub', 'torch', 'transformers'}  # inside functions


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


def complaints(path, text, modules=()):
  """What one file of jax3dgen/ does against the rules, as sentences."""
  path = pathlib.PurePath(path)
  folder, room = path.parts[1], house.room(path)
  if path.name == '__init__.py':
    body = [n for n in ast.parse(text).body
            if not (isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant))]
    allowed = 1 if len(path.parts) == 2 else 0  # that of the package holds its version
    if len(body) > allowed:
      yield f'{path}: an __init__ holds its docstring and nothing else'
    return
  for name, line, at_top in house.imports(text):
    where, parts = f'{path}:{line}', name.split('.')
    target = house.room_of_module(name, modules)
    if name.startswith('.'):
      yield f'{where}: {name} is relative; write the whole name'
    elif parts[0] in TOP:
      yield f'{where}: {name} lies above the library'
    elif parts[0] == 'torch':
      yield f'{where}: torch belongs to tests and benchmarks'
    elif parts[0] in OPTIONAL and at_top:
      yield f'{where}: {name} is an extra; import it inside the function that needs it'
    elif parts[0] == 'jax3dgen' and target is None:
      yield f'{where}: {name} is no module'
    elif parts[0] == 'jax3dgen' and house.forbidden(room, target):
      yield f'{where}: {room}/ must not import {name}'
  for name, line in identifiers(text):
    if name == 'pmap' and path.as_posix() != 'jax3dgen/core/parallel.py':
      yield f'{path}:{line}: only core/parallel.py says pmap'
    if name == 'linen' and folder != 'nn':
      yield f'{path}:{line}: linen stays in nn/'


def graph(files):
  """module -> the modules of its own folder that it imports, for [(path, text)]."""
  modules = house.modules_of(files)
  edges = {}
  for module, (_, text) in zip(modules, files, strict=True):
    targets = {name for full, _, _ in house.imports(text)
               for name in (full, full.rpartition('.')[0])}
    edges[module] = {name for name in targets & set(modules)
                     if name.split('.')[:2] == module.split('.')[:2] and name != module}
  return edges


def test_every_folder_has_a_layer():
  folders = {house.room(path) for path, _ in house.sources('jax3dgen')} - {''}
  assert {name.split('/')[0] for name in folders} <= set(house.LAYERS)
  rooms = {name.partition('/')[2] for name in folders if name.startswith('recipes')}
  assert rooms <= set(house.ROOMS)


def test_imports_go_down():
  files = list(house.sources('jax3dgen'))
  modules = house.modules_of(files) | {'jax3dgen': 'jax3dgen/__init__.py'}
  assert [c for path, text in files for c in complaints(path, text, modules)] == []


def test_no_import_cycles_inside_a_folder():
  tuple(graphlib.TopologicalSorter(graph(list(house.sources('jax3dgen')))).static_order())


def required():
  """The names of install_requires in setup.cfg."""
  setup = configparser.ConfigParser()
  setup.read(house.ROOT / 'setup.cfg')
  return {re.split('[<>=;\\[ ]', line)[0]
          for line in setup['options']['install_requires'].split('\n') if line}


def test_a_plain_install_is_enough_and_no_more():
  """What is imported is install_requires, optional extras inside functions apart."""
  modules = {MODULES.get(name, name) for name in required() - INDIRECT}
  importable = modules | OPTIONAL | {'jax3dgen'} | set(sys.stdlib_module_names)
  used = [(f'{path}:{line}: {name}', name.split('.')[0])
          for folder in ('jax3dgen', 'experiments') for path, text in house.sources(folder)
          for name, line, _ in house.imports(text)]
  assert [where for where, name in used if name not in importable | TOP] == []
  assert modules - {name for _, name in used} == set()


def test_launcher_imports_the_standard_library_only():
  text = (house.ROOT / 'jax3dgen/core/launch.py').read_text(encoding='utf-8')
  assert {name.split('.')[0] for name, _, _ in house.imports(text)} <= set(sys.stdlib_module_names)


def test_configs_do_not_import_experiments():
  assert [f'{path}:{line}' for path, text in house.sources('configs')
          for name, line, _ in house.imports(text) if name.split('.')[0] in TOP - {'configs'}] == []


@pytest.mark.parametrize('folder', house.MAX_FILE)
def test_files_are_short(folder):
  """A longer file should be split; mains only choose, run and report."""
  long = {str(path): text.count('\n') for path, text in house.sources(folder)
          if text.count('\n') > house.MAX_FILE[folder]
          and not path.name.startswith(('rules_', '_'))}
  assert long == {}


def test_folders_stay_small():
  sizes = house.sizes(list(house.sources('jax3dgen')))
  lines = {room: sum(count for count, _ in members) for room, members in sizes.items()}
  assert {room: count for room, count in lines.items()
          if count > house.MAX_ROOMS.get(room, house.MAX_ROOM)} == {}


MODULE = {'jax3dgen.nn.layers': 'jax3dgen/nn/layers.py',
          'jax3dgen.prior.base': 'jax3dgen/prior/base.py',
          'jax3dgen.scene.nerf': 'jax3dgen/scene/nerf.py',
          'jax3dgen.export.view': 'jax3dgen/export/view.py',
          'jax3dgen.core.parallel': 'jax3dgen/core/parallel.py',
          'jax3dgen.recipes.nets.ship': 'jax3dgen/recipes/nets/ship.py',
          'jax3dgen.recipes.distill.run': 'jax3dgen/recipes/distill/run.py'}


@pytest.mark.parametrize('path, text, word', [
    ('jax3dgen/core/a.py', 'from jax3dgen.nn import layers', 'must not import'),
    ('jax3dgen/prior/a.py', 'import jax3dgen.scene.nerf', 'must not import'),
    ('jax3dgen/train/a.py', 'from jax3dgen.nn import layers', 'must not import'),
    ('jax3dgen/data/a.py', 'def f():\n  from jax3dgen.export import view', 'must not import'),
    ('jax3dgen/recipes/toy/a.py', 'from jax3dgen.recipes.nets import ship', 'must not import'),
    ('jax3dgen/recipes/nets/a.py', 'from jax3dgen.recipes.distill import run', 'must not import'),
    ('jax3dgen/recipes/distill/a.py', 'from configs import embedded', 'above the library'),
    ('jax3dgen/train/a.py', 'from . import loop', 'relative'),
    ('jax3dgen/nn/a.py', 'from jax3dgen.nn import layer', 'no module'),
    ('jax3dgen/train/a.py', 'import jax\nstep = jax.pmap(f)', 'pmap'),
    ('jax3dgen/prior/a.py', 'from flax import linen as nn', 'linen'),
    ('jax3dgen/prior/a.py', 'import torch', 'torch'),
    ('jax3dgen/prior/a.py', 'import diffusers', 'extra'),
    ('jax3dgen/train/__init__.py', 'from jax3dgen.train import loop', '__init__'),
])
def test_violations_are_reported(path, text, word):
  assert any(word in c for c in complaints(path, text, MODULE))


@pytest.mark.parametrize('path, text', [
    ('jax3dgen/train/a.py', '"""Runs under pmap."""\nfrom jax3dgen.core import parallel'),
    ('jax3dgen/prior/a.py', 'def load():\n  import diffusers\n  return diffusers'),
    ('jax3dgen/recipes/toy/a.py', 'from jax3dgen.recipes.distill import run'),
    ('jax3dgen/recipes/a.py', 'from jax3dgen.recipes.distill.run import build'),
    ('jax3dgen/__init__.py', '"""Doc."""\n__version__ = "1"'),
])
def test_valid_files_have_no_complaints(path, text):
  assert list(complaints(path, text, MODULE)) == []


def test_import_cycles_are_detected():
  cycle = [('jax3dgen/core/a.py', 'from jax3dgen.core import b'),
           ('jax3dgen/core/b.py', 'from jax3dgen.core.a import f')]
  with pytest.raises(graphlib.CycleError):
    graphlib.TopologicalSorter(graph(cycle)).prepare()
