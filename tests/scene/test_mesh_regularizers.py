"""Smoothness penalties against loops over faces."""

import itertools

import jax
import numpy as np
import pytest
import trimesh

from jax3dgen.scene import connectivity, mesh_regularizers

BALL = trimesh.creation.icosphere(subdivisions=2)
FACES = np.concatenate([BALL.faces, np.zeros((9, 3), int)]).astype(np.int32)
MASK = np.arange(len(FACES)) < len(BALL.faces)
VERTICES = (BALL.vertices * [1.0, 0.7, 0.5]
            + np.random.default_rng(0).normal(0, 0.05, BALL.vertices.shape)).astype(np.float32)


def loops():
  """(mean 1 - cos over edges, mean |Laplacian| over vertices) by loops."""
  normal, near, faces_of = {}, {}, {}
  for i, face in enumerate(BALL.faces):
    a, b, c = VERTICES[face].astype(np.float64)
    cross = np.cross(b - a, c - a)
    normal[i] = cross / np.linalg.norm(cross)
    for p, q in itertools.permutations(face.tolist(), 2):
      near.setdefault(p, set()).add(q)
      faces_of.setdefault((min(p, q), max(p, q)), set()).add(i)
  edges = [1 - normal[min(pair)] @ normal[max(pair)] for pair in faces_of.values()]
  rough = [np.linalg.norm(VERTICES[sorted(near[p])].mean(0) - VERTICES[p]) for p in near]
  return np.mean(edges), np.mean(rough)


def test_penalties_are_those_of_loops():
  normal, rough = loops()
  padded = np.concatenate([VERTICES, np.full((5, 3), 7.0, np.float32)])
  value = lambda v: mesh_regularizers.normal_consistency(v, FACES, connectivity.twins(FACES, MASK))
  np.testing.assert_allclose(jax.jit(value)(padded), normal, rtol=1e-4)
  value = jax.jit(mesh_regularizers.smoothness)(padded, FACES, MASK)
  np.testing.assert_allclose(value, rough, rtol=1e-5)


@pytest.mark.parametrize('name', ['normal_consistency', 'smoothness'])
def test_gradients_are_finite_where_faces_have_no_area(name):
  flat = VERTICES.copy()
  flat[BALL.faces[3]] = flat[BALL.faces[3][0]]
  last = connectivity.twins(FACES, MASK) if name == 'normal_consistency' else MASK
  slope = jax.jit(jax.grad(getattr(mesh_regularizers, name)))(flat, FACES, last)
  assert np.isfinite(slope).all() and np.abs(slope).max() > 0
