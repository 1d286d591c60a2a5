"""Leaning figurines and random solids: closed, seeded, and of both sorts."""

import numpy as np

from jax3dgen.data import leaning, solids
from jax3dgen.physics import body, native
from jax3dgen.scene import mesh as meshes


def test_leaning_figurines_are_closed_solids_named_after_what_they_are():
  for seed in range(4):
    mesh = leaning.leaning(seed, resolution=40)
    assert meshes.is_watertight(mesh.faces) and body.from_mesh(mesh).status == 'exact'
    assert mesh.colors.shape == mesh.vertices.shape
  assert leaning.name(0) == '000_yellow_rocket'
  again = leaning.leaning(3, resolution=40)
  np.testing.assert_array_equal(again.vertices, mesh.vertices)


def test_leaning_figurines_stand_and_fall():
  stable = [native.drop(body.from_mesh(leaning.leaning(s, 40)), timestep=4e-3).stable
            for s in range(12)]
  assert 2 <= sum(stable) <= 10


def test_random_solids_of_every_kind_stand_and_fall():
  for kind in solids.KINDS:
    seeds = [s for s in range(20 * len(solids.KINDS)) if solids.kind(s) == kind]
    stable = [native.drop(body.from_mesh(solids.random_solid(s)), timestep=4e-3).stable
              for s in seeds]
    assert 2 <= sum(stable) <= 18, kind
