"""The Janus figures against hand-made objects and plain Python loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax3dgen.core import camera
from jax3dgen.metrics import janus, referee
from jax3dgen.nn import referee as nets

LABELS = referee.Labels(('bear', 'robot'), ('red', 'blue', 'green'), referee.REJECT,
                        {'bear': 150.0, 'robot': 180.0}, 0.004)
AZIMUTH = np.arange(janus.N_VIEWS) * (2 * np.pi / janus.N_VIEWS)


def one_hot_sectors(azimuth):
  return jax.nn.one_hot(nets.sector(jnp.asarray(azimuth, jnp.float32)), nets.SECTORS)


def judgement(sector, face, kind=0, color=0):
  """A judge without doubt: V views with the given sector probabilities and faces."""
  views = len(face)
  row = lambda i, n: jnp.broadcast_to(jax.nn.one_hot(i, n)[None], (views, n))
  return referee.Judgement(row(kind, 3), row(color, 3), sector, jnp.asarray(face, jnp.float32))


def runs_by_loop(visible):
  if all(visible):
    return 1
  return sum(bool(v) and not visible[i - 1] for i, v in enumerate(visible))


@pytest.mark.parametrize('seed', range(20))
def test_face_runs_matches_a_loop(seed):
  r = np.random.default_rng(seed)
  visible = r.random(24) < r.random()
  assert int(janus.face_runs(jnp.asarray(visible))) == runs_by_loop(list(visible))


def test_face_count_cases():
  face = lambda *arcs: jnp.asarray(
      [any(a <= d < b for a, b in arcs) for d in range(0, 360, 15)], jnp.float32)
  count = lambda p, arc=150.0: int(janus.face_count(p, arc))
  assert count(face()) == 0
  assert count(face((0, 75), (285, 360))) == 1  # 150 degrees across azimuth 0 is one run
  assert count(face((0, 60), (180, 240))) == 2  # front and back
  assert count(face((0, 30), (90, 120), (180, 210), (270, 300))) == 4
  assert count(face((0, 360))) == 2  # seen from everywhere: as many as fit
  assert count(face((0, 360)), 90.0) == 4
  assert count(face((0, 225))) == 2  # one run, half again as wide as it should be


def test_face_count_takes_leading_axes():
  p = jnp.asarray(np.random.default_rng(0).random((3, 2, 24)), jnp.float32)
  got = janus.face_count(p, jnp.full((3, 2), 150.0))
  assert got.shape == (3, 2)
  assert int(got[1, 1]) == int(janus.face_count(p[1, 1], 150.0))


def test_view_probabilities_sum_to_one_and_agree_with_the_pose_classes():
  p = jax.nn.softmax(jnp.asarray(np.random.default_rng(1).normal(size=(5, 8)), jnp.float32))
  np.testing.assert_allclose(janus.view_probabilities(p).sum(-1), 1.0, rtol=1e-6)
  centres = jnp.arange(4) * (np.pi / 2)  # of sectors that lie inside one pose class
  got = janus.view_probabilities(one_hot_sectors(centres)).argmax(-1)
  np.testing.assert_array_equal(got, camera.view_class(centres))


def test_a_correct_object_has_winding_one_and_no_divergence():
  p = janus.view_probabilities(one_hot_sectors(AZIMUTH))
  assert float(janus.winding(p)) == pytest.approx(1.0, abs=1e-5)
  assert float(janus.winding(p[::-1])) == pytest.approx(-1.0, abs=1e-5)
  assert float(janus.view_kl(p)) == pytest.approx(0.0, abs=1e-6)
  turned = janus.view_probabilities(one_hot_sectors(AZIMUTH + 1.0))  # it may face anywhere
  assert float(janus.winding(turned)) == pytest.approx(1.0, abs=1e-5)


def test_wrong_objects():
  front = janus.view_probabilities(one_hot_sectors(0 * AZIMUTH))
  assert float(janus.view_kl(front)) == pytest.approx(np.log(4), rel=1e-5)
  assert float(janus.winding(front)) == 0.0
  double = janus.view_probabilities(one_hot_sectors(2 * AZIMUTH))
  assert float(janus.winding(double)) == pytest.approx(2.0, abs=1e-5)
  sway = janus.view_probabilities(one_hot_sectors(0.5 * np.pi * np.sin(2 * AZIMUTH)))
  assert float(janus.winding(sway)) == pytest.approx(0.0, abs=1e-5)  # front, left, front, right
  p = np.asarray(sway.mean(0))
  expected = sum(x * np.log(x / 0.25) for x in p if x > 0)
  assert float(janus.view_kl(sway)) == pytest.approx(expected, rel=1e-4)


def test_report():
  face = np.cos(AZIMUTH) > np.cos(np.deg2rad(70.0))  # 135 degrees
  good = janus.report(judgement(one_hot_sectors(AZIMUTH), face), LABELS, 'bear', 'red')
  assert good['face_count'] == 1 and good['kind_correct'] is True and good['color_correct'] is True
  assert good['face_arc_deg'] == 135.0 and good['front_fraction'] == pytest.approx(0.25)
  assert good['reject_rate'] == 0.0 and good['kind_seen'] == 'bear'
  other = janus.report(judgement(one_hot_sectors(AZIMUTH), face), LABELS, 'robot', 'blue')
  assert other['kind_correct'] is False and other['color_correct'] is False
  unasked = janus.report(judgement(one_hot_sectors(AZIMUTH), face), LABELS)
  assert unasked['kind_correct'] is None and unasked['color_correct'] is None
  none = janus.report(judgement(one_hot_sectors(AZIMUTH), 0 * face, kind=2), LABELS, 'bear', 'red')
  assert none['reject_rate'] == 1.0 and none['kind_correct'] is False and none['face_count'] == 0
  assert none['kind_seen'] == referee.REJECT


def test_ring_faces_the_front_first_and_turns_to_the_left():
  ring = janus.view_cameras(2.9, 0.7)
  assert ring.azimuth.shape == (24,)
  np.testing.assert_allclose(np.rad2deg(ring.azimuth[:3]), [0, 15, 30], atol=1e-4)
  assert float(ring.c2w[6, 1, 3]) > 2.5  # azimuth 90: from the object's left, +y
