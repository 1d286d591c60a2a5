"""Mutated mesh files, by the table of `tests.export.mutations`: one test for each kind and seed.

A neutral mutation gives the volume of the solid. Any other one gives one sentence without Python's
words, or a body with a note, or the volume of the solid.
"""

import re
import zlib

import numpy as np
import pytest

from jax3dgen.core.errors import MeshError
from jax3dgen.export import mesh_io
from jax3dgen.physics import body
from tests.export import mutations

PYTHON = re.compile(r'Error|Exception|Traceback|NoneType|invalid literal|could not convert|unpack|'
                    r'codec|subscript|out of bounds|object|None\b|\bnan\b')
SEEDS = 4  # further seeds of each kind, slow
NEUTRAL, DAMAGING = ([(name, kind) for name, form in mutations.FORMATS.items()
                      for kind in getattr(form, field)] for field in ('neutral', 'damaging'))


def random_of(name, kind, seed):
  return np.random.default_rng(zlib.crc32(f'{name} {kind} {seed}'.encode()))


def volume_of(path):
  result = body.from_mesh(mesh_io.read(path), density=1.0)
  return result.mass / result.scale**3, result


def check_neutral(name, kind, seed, path):
  random, form = random_of(name, kind, seed), mutations.FORMATS[name]
  surface, volume = mutations.solid(random)
  path = path / f'a.{form.suffix}'
  path.write_bytes(form.write(surface))
  np.testing.assert_allclose(volume_of(path)[0], volume, rtol=1e-6)
  path.write_bytes(form.neutral[kind](surface, random))
  np.testing.assert_allclose(volume_of(path)[0], volume, rtol=1e-6)


def check_damaging(name, kind, seed, path):
  random, form = random_of(name, kind, seed), mutations.FORMATS[name]
  surface, volume = mutations.solid(random)
  path = path / f'a.{form.suffix}'
  path.write_bytes(form.damaging[kind](surface, random))
  try:
    result, solid = volume_of(path)
  except MeshError as error:
    message = str(error).removeprefix(f'{path}: ')
    assert message.endswith('.') and '\n' not in message and len(message) < 300, message
    assert not PYTHON.search(message), message
  else:
    assert solid.note or abs(result / volume - 1) < 1e-6, (result, volume, solid)


def test_numbers_of_mutations():
  assert len(NEUTRAL) * (SEEDS + 1) >= 300 and len(NEUTRAL) + len(DAMAGING) >= 200
  assert (len(NEUTRAL) + len(DAMAGING)) * (SEEDS + 1) >= 2000


@pytest.mark.parametrize('name, kind', NEUTRAL)
def test_neutral_mutations_keep_the_volume(name, kind, tmp_path):
  check_neutral(name, kind, 0, tmp_path)


@pytest.mark.parametrize('name, kind', DAMAGING)
def test_damage_is_an_error_or_a_note(name, kind, tmp_path):
  check_damaging(name, kind, 0, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize('seed', range(1, SEEDS + 1))
def test_mutations_by_further_seeds(seed, tmp_path):
  for name, kind in NEUTRAL:
    check_neutral(name, kind, seed, tmp_path)
  for name, kind in DAMAGING:
    check_damaging(name, kind, seed, tmp_path)
