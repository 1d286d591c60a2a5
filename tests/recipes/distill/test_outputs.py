import numpy as np
import pytest
import trimesh

from jax3dgen.core.types import Mesh
from jax3dgen.export import turntable
from jax3dgen.recipes.distill import config as distill_config
from jax3dgen.recipes.distill import outputs
from jax3dgen.scene import mesh


def test_ring_starts_in_front_at_the_training_lens():
  config = distill_config.default_config()
  config.camera.distance, config.camera.fovy_deg = (2.0, 3.0), (30.0, 50.0)
  camera = outputs.ring(config, 8)
  np.testing.assert_allclose(np.rad2deg(camera.azimuth), np.arange(8) * 45.0, rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(camera.distance, 2.5)
  np.testing.assert_allclose(np.rad2deg(camera.fovy), 40.0, rtol=1e-6)


def test_previews_come_back_in_order(tmp_path):
  for step, shade in ((500, 0.25), (20, 0.75)):
    turntable.write_png(tmp_path / 'previews' / f'{step:06d}.png', np.full((4, 8, 3), shade))
  previews = outputs.previews(tmp_path)
  assert [step for step, _ in previews] == [20, 500]
  assert [float(strip.mean()) for _, strip in previews] == pytest.approx([0.75, 0.25], abs=0.003)


def test_the_smallest_flat_cut_that_helps_is_made():
  config = distill_config.default_config()
  config.result.drop_seconds = 3.0
  capsule = trimesh.creation.capsule(height=1.0, radius=0.3, count=[32, 32])
  turn = trimesh.transformations.rotation_matrix(0.1, [1, 0, 0])[:3, :3]
  tipped = Mesh(np.float32(capsule.vertices @ turn.T), np.int32(capsule.faces),
                np.zeros((len(capsule.vertices), 3)))
  box = trimesh.creation.box((1, 1, 0.3))
  box = Mesh(np.float32(box.vertices), np.int32(box.faces), np.zeros((8, 3)))

  cut, sole, (_, figures) = outputs.cut_to_stand(config, tipped, outputs.drop(config, tipped))
  assert figures['stable'] and 0 < sole <= 0.1
  less = mesh.flat_cut(tipped, sole - 0.01) if sole > 0.01 else tipped
  assert not outputs.drop(config, less)[1]['stable']
  assert np.ptp(cut.vertices[:, 2]) == pytest.approx((1 - sole) * np.ptp(tipped.vertices[:, 2]))
  cut, sole, (_, figures) = outputs.cut_to_stand(config, box, outputs.drop(config, box))
  assert cut is box and sole == 0 and figures['stable']
  config.result.flat_cut = 0.0
  before = outputs.drop(config, tipped)
  assert outputs.cut_to_stand(config, tipped, before) == (tipped, 0.0, before)
