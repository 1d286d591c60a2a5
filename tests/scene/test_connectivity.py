"""Opposite half-edges against a dictionary of directed edges."""

import jax
import numpy as np
import trimesh

from jax3dgen.scene import connectivity

twins = jax.jit(connectivity.twins)
BALL = trimesh.creation.icosphere(subdivisions=2)
FACES = np.concatenate([BALL.faces, np.zeros((9, 3), int)]).astype(np.int32)
MASK = np.arange(len(FACES)) < len(BALL.faces)


def opposite(faces, mask):
  """Half-edges of a dictionary of all directed edges."""
  half = {(f[k], f[(k + 1) % 3]): 3 * i + k
          for i, f in enumerate(faces.tolist()) if mask[i] for k in range(3)}
  return np.array([[half.get((f[(k + 1) % 3], f[k]), -1) if mask[i] else -1 for k in range(3)]
                   for i, f in enumerate(faces.tolist())])


def test_twins_of_a_closed_mesh_and_of_one_with_a_hole():
  got = twins(FACES, MASK)
  np.testing.assert_array_equal(got, opposite(FACES, MASK))
  assert (got[:len(BALL.faces)] >= 0).all() and (got[len(BALL.faces):] == -1).all()
  hole = MASK & (np.arange(len(FACES)) % 5 > 0)
  got = twins(FACES, hole)
  np.testing.assert_array_equal(got, opposite(FACES, hole))
  assert (got[hole] == -1).mean() > 0.1


def test_edges_of_four_faces_are_paired_and_equal_directions_are_not():
  two = np.array([[0, 1, 2], [1, 0, 3], [0, 1, 4], [1, 0, 5], [6, 7, 8], [6, 7, 9]], np.int32)
  got = np.asarray(twins(two, np.ones(6, bool)))
  for f in range(4):
    assert got[got[f, 0] // 3, 0] == 3 * f and got[f, 0] // 3 % 2 != f % 2
  assert (got[4:] == -1).all()
