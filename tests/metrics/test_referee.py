"""The referee's net, its labels, and the shipped weights on pictures of the world."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax3dgen.core import camera as cameras
from jax3dgen.core import image
from jax3dgen.core.errors import WeightError
from jax3dgen.data import figurines
from jax3dgen.metrics import janus, referee
from jax3dgen.nn import referee as nets


@pytest.fixture(scope='module')
def params():
  return referee.load()


def test_sector_matches_a_loop():
  for degrees in np.arange(-400.0, 400.0, 7.0):
    want = int(np.floor(((degrees + 22.5) % 360.0) / 45.0))
    assert int(nets.sector(jnp.deg2rad(degrees))) == want
  assert int(nets.sector(jnp.float32(2 * np.pi - 1e-7))) == 0


def test_azimuth_target_is_a_distribution_that_peaks_in_its_sector():
  azimuth = jnp.asarray(np.random.default_rng(0).uniform(-9, 9, 200), jnp.float32)
  target_of = jax.jit(nets.azimuth_target)
  target = np.asarray(target_of(azimuth, 4.0))
  np.testing.assert_allclose(target.sum(-1), 1.0, rtol=1e-5)
  folded = target.reshape(-1, nets.SECTORS, nets.BINS_PER_SECTOR).sum(-1)
  np.testing.assert_array_equal(folded.argmax(-1), nets.sector(azimuth))
  border = np.asarray(target_of(np.float32(np.deg2rad(22.5)), 4.0))
  folded = border.reshape(nets.SECTORS, nets.BINS_PER_SECTOR).sum(-1)
  np.testing.assert_allclose(folded[:2], 0.5, atol=1e-3)  # a border is a tie


def test_sector_probabilities_match_a_numpy_sum():
  logits = np.random.default_rng(0).normal(size=(3, nets.BINS)).astype(np.float32)
  p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
  want = np.stack([p[:, 9 * i:9 * i + 9].sum(-1) for i in range(8)], -1)
  np.testing.assert_allclose(nets.sector_probabilities(jnp.asarray(logits)), want, rtol=1e-5)


def test_net_is_rebuilt_from_its_parameters():
  net = nets.Referee(kinds=5, colors=3, widths=(8, 12), hidden=16)
  tree = jax.eval_shape(net.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))['params']
  assert nets.of(tree) == net


def test_outputs_for_any_image_size_are_probabilities(params):
  images = np.random.default_rng(0).random((2, 64, 64, 3), np.float32)
  got = referee.classify(params, images)
  words = referee.labels()
  assert got.kind.shape == (2, len(words.kinds) + 1) and got.color.shape == (2, len(words.colors))
  assert got.sector.shape == (2, nets.SECTORS) and got.face.shape == (2,)
  for p in (got.kind, got.color, got.sector):
    np.testing.assert_allclose(p.sum(-1), 1.0, rtol=1e-5)
  small = referee.classify(params, image.resize(images, (32, 32)))
  np.testing.assert_allclose(got.kind, small.kind, atol=1e-5)


def test_labels_are_those_of_the_figurines():
  words = referee.labels()
  assert words.kinds == tuple(figurines.KINDS) and words.colors == tuple(figurines.COLORS)
  assert set(words.face_arc_deg) == set(figurines.KINDS)
  assert all(60.0 < arc < 240.0 for arc in words.face_arc_deg.values())


def test_recorded_accuracy_meets_the_targets():
  config = json.loads((referee.folder() / 'config.json').read_text())
  for pictures in ('clean', 'degraded'):
    got = config['measured'][pictures]
    assert got['kind'] >= 0.97 and got['color'] >= 0.97
    assert got['sector'] >= 0.95 and got['face'] >= 0.95
  assert (referee.folder() / 'weights.safetensors').stat().st_size <= 1_000_000


def strip(kind, color, hat, azimuth):
  """Pictures of a figurine from the given azimuths [V], as the card's strips are drawn."""
  views = json.loads((referee.folder() / 'config.json').read_text())['config']['views']
  full = lambda x: np.full(azimuth.shape, x, np.int32)
  return render(figurines.Figurine(full(kind), full(color), full(hat)), azimuth,
                views['ring_distance'], views['fovy_deg'])


@jax.jit
def render(figurine, azimuth, distance, fovy_deg):
  camera = cameras.orbit(azimuth, np.deg2rad(janus.ELEVATION_DEG), distance,
                         jnp.deg2rad(fovy_deg))
  return figurines.render(figurine, camera, 32).rgb


AZIMUTH = np.float32(np.arange(janus.N_VIEWS) * (2 * np.pi / janus.N_VIEWS))


@pytest.mark.parametrize('kind', range(len(figurines.KINDS)))
def test_correct_figurines_have_one_face(params, kind):
  color = kind % len(figurines.COLORS)
  got = janus.evaluate_views(params, strip(kind, color, kind % 2, AZIMUTH), referee.labels(),
                    figurines.KINDS[kind], figurines.COLORS[color])
  assert got['face_count'] == 1 and got['kind_correct'] and got['color_correct'], got
  assert got['winding'] == pytest.approx(1.0, abs=0.05) and got['view_kl'] < 0.05
  assert got['reject_rate'] == 0.0


@pytest.mark.parametrize('kind', range(len(figurines.KINDS)))
def test_figurines_that_turn_wrongly_are_counted(params, kind):
  judge = lambda azimuth: janus.evaluate_views(params, strip(kind, 0, 0, azimuth), referee.labels(),
                                      figurines.KINDS[kind])
  double = judge(2 * AZIMUTH)  # front, left, back, right, front, left, back, right
  assert double['face_count'] == 2 and double['winding'] == pytest.approx(2.0, abs=0.05)
  front = judge(0 * AZIMUTH)
  assert front['face_count'] >= 2 and front['view_kl'] > 1.0 and front['front_fraction'] > 0.9
  back = judge(0 * AZIMUTH + np.pi)
  assert back['face_count'] == 0 and back['view_kl'] > 1.0 and back['winding'] == 0.0
  assert judge(-AZIMUTH)['winding'] == pytest.approx(-1.0, abs=0.05)  # a mirrored turn


def test_noise_is_rejected(params):
  noise = np.random.default_rng(1).random((64, 32, 32, 3), np.float32)
  images = np.concatenate([noise, np.ones((1, 32, 32, 3), np.float32)])
  kinds = np.asarray(referee.classify(params, images).kind).argmax(-1)
  rejected = kinds == len(referee.labels().kinds)
  assert rejected[:64].mean() >= 0.95 and rejected[64]  # noise, and white


def test_a_damaged_or_missing_referee_is_refused(tmp_path):
  shutil.copytree(referee.folder(), tmp_path / 'referee')
  path = tmp_path / 'referee' / 'weights.safetensors'
  data = bytearray(path.read_bytes())
  data[-5] ^= 0xFF
  path.write_bytes(bytes(data))
  with pytest.raises(WeightError):
    referee.load(tmp_path / 'referee')
  with pytest.raises(WeightError, match='sha256 is missing'):
    referee.load(tmp_path / 'nowhere')
  with pytest.raises(WeightError, match='sha256 is missing'):
    referee.labels(tmp_path / 'nowhere')
