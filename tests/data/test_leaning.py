"""Leaning figurines and random solids: closed, seeded, and of both sorts."""

import numpy as np
import pytest
import trimesh

from jax3dgen.data import leaning, solids
from jax3dgen.physics import body, native
from jax3dgen.scene import mesh as meshes


def test_leaning_figurines_are_closed_solids_named_after_what_they_are():
  for seed in range(4):
    made = leaning.leaning(seed, resolution=40)
    assert meshes.is_watertight(made.faces) and body.from_mesh(made).status == 'exact'
    assert made.colors.shape == made.vertices.shape
  assert leaning.name(0) == '000_yellow_rocket'
  again = leaning.leaning(3, resolution=40)
  np.testing.assert_array_equal(again.vertices, made.vertices)


def test_leaning_figurines_stand_and_fall():
  stable = [native.drop(body.from_mesh(leaning.leaning(s, 40)), timestep=4e-3).stable
            for s in range(12)]
  assert 2 <= sum(stable) <= 10


@pytest.mark.parametrize('kind', solids.KINDS)
def test_random_solids_are_closed_seeded_and_of_both_sorts(kind):
  seeds = [s for s in range(20 * len(solids.KINDS)) if solids.kind(s) == kind]
  made = [solids.random_solid(s) for s in seeds]
  for solid in made:
    assert meshes.is_watertight(solid.faces)
    assert np.ptp(solid.vertices, axis=0).max() == pytest.approx(1, abs=1e-5)
  assert all(body.from_mesh(solid).status == 'exact' for solid in made)
  convex = [trimesh.Trimesh(s.vertices, s.faces).volume
            / trimesh.convex.convex_hull(s.vertices).volume > 0.999 for s in made]
  if kind in ('flat', 'noisy', 'legs', 'blob'):
    assert all(convex)
  else:  # a bite may miss
    assert np.mean(convex) < 0.2
  stable = [native.drop(body.from_mesh(solid), timestep=4e-3).stable for solid in made]
  assert 2 <= sum(stable) <= 18
  np.testing.assert_array_equal(made[0].vertices, solids.random_solid(seeds[0]).vertices)
