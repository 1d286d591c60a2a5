"""The referee's pictures, its loss by hand, that it learns, its checks, and a whole run."""

import functools
import json

import jax
import jax.numpy as jnp
from ml_collections import FrozenConfigDict
import numpy as np
import optax
import pytest
from scipy import ndimage, special

from configs.nets import referee as configs
from jax3dgen.core import camera as cameras
from jax3dgen.core import rng
from jax3dgen.data import figurine_views, figurines, referee_examples
from jax3dgen.metrics import referee as metric
from jax3dgen.nn import referee as nets
from jax3dgen.recipes.nets import referee, referee_checks, ship
from jax3dgen.train import descent

CFG = FrozenConfigDict(configs.get_config('tiny'))


@pytest.fixture(scope='module')
def examples():
  draw = jax.jit(lambda key: referee_examples.draw(key, 64, CFG.views, 1.0, 0.3, 0.25))
  return draw(jax.random.key(0))


@functools.cache
def initial():
  """(net, its initial parameters, compiled (params, examples) -> (loss, terms)) of the tiny config.
  """
  net = referee.network(CFG)
  return net, referee.init(CFG), jax.jit(
      lambda params, e: referee.objective(net, params, e, CFG.data.spread_deg))


def test_examples_are_labelled_pictures(examples):
  assert examples.images.shape == (64, 32, 32, 3)
  assert float(examples.images.min()) >= 0 and float(examples.images.max()) <= 1
  assert int((examples.kind == len(figurines.KINDS)).sum()) == 16
  assert set(np.unique(examples.face)) == {0.0, 1.0}
  front = np.abs(np.asarray(examples.azimuth)) < np.pi / 6
  back = np.abs(np.asarray(examples.azimuth)) > 0.8 * np.pi
  assert examples.face[front].mean() > 0.9 and examples.face[back].max() == 0


def test_pairs_are_of_different_kinds():
  for seed in range(5):
    kind = figurine_views.sample(jax.random.key(seed), 20).kind
    assert (kind != figurine_views.partner(kind)).all()
  with pytest.raises(ValueError, match='even'):
    referee_examples.draw(jax.random.key(0), 7, CFG.views)


def test_azimuths_cover_the_circle_evenly():
  sample = jax.jit(figurine_views.sample_views, static_argnums=(1, 2))
  azimuth = np.asarray(sample(jax.random.key(0), 8000, CFG.views).azimuth)
  share = np.bincount(np.asarray(nets.sector(jnp.asarray(azimuth))), minlength=8) / len(azimuth)
  np.testing.assert_allclose(share, 1 / 8, atol=0.015)


def test_shift_moves_the_camera_across_its_line_of_sight():
  camera = cameras.orbit(0.7, 0.3, 3.0, 0.7)
  moved = figurine_views.shift(camera, jnp.array([0.2]), jnp.array([-0.1]))
  step = np.asarray(moved.c2w - camera.c2w)[0, :3, 3]
  np.testing.assert_allclose(np.asarray(camera.c2w)[0, :3, :3].T @ step, [0.2, -0.1, 0], atol=1e-6)


def test_blur_matches_scipy():
  images = np.random.default_rng(0).random((2, 32, 32, 3)).astype(np.float32)
  result = figurine_views.blur(jnp.asarray(images), jnp.array([1.1, 0.0]))
  want = ndimage.gaussian_filter(images[0], (1.1, 1.1, 0), mode='constant', truncate=8)
  np.testing.assert_allclose(result[0, 10:22, 10:22], want[10:22, 10:22], atol=1e-5)
  np.testing.assert_allclose(result[1], images[1], atol=1e-6)


def draws(batch):
  """(u, grain, images) of `batch` rows."""
  rng = np.random.default_rng(3)
  return (rng.random((batch, figurine_views.DRAWS), np.float32),
          rng.standard_normal((batch, 32, 32, 4), np.float32),
          rng.random((batch, 32, 32, 3), np.float32))


def test_no_strength_spoils_nothing():
  u, grain, images = draws(4)
  spoil = jax.jit(figurine_views.spoil)
  np.testing.assert_allclose(spoil(u, grain, images, 0.0), images, atol=1e-6)
  assert float(jnp.abs(spoil(u, grain, images, 1.0) - images).mean()) > 0.01


def test_scrambled_keeps_its_pixels_and_halves_shows_both():
  u, grain, images = draws(4)
  mixed = np.asarray(jax.jit(referee_examples.scrambled)(u, grain, images, images[..., :1]))
  np.testing.assert_allclose(np.sort(mixed[0].ravel()), np.sort(images[0].ravel()))
  assert np.abs(mixed - images).mean() > 0.1
  half = np.asarray(jax.jit(referee_examples.halves)(u, grain, images, images[..., :1]))
  share = (half == np.asarray(images)).all(-1).mean((1, 2))
  np.testing.assert_allclose(share, 0.5, atol=0.01)


def test_rejects_are_chosen_row_by_row():
  count = len(referee_examples.REJECTS)
  u, grain, images = draws(2 * count)
  which = jnp.repeat(jnp.arange(count), 2)
  u, grain, images = map(jnp.asarray, (u, grain, images))
  result = referee_examples.rejects(which, u, grain, images, images[..., :1])
  assert result.shape == images.shape and bool(jnp.isfinite(result).all())
  for i, make in enumerate(referee_examples.REJECTS.values()):
    want = jnp.clip(make(u, grain, images, images[..., :1]), 0, 1)
    np.testing.assert_array_equal(result[2 * i], want[2 * i])


def test_objective_ignores_the_labels_of_rejects(examples):
  _, params, objective = initial()
  loss = lambda e: float(objective(params, e)[0])
  none = examples.kind == len(figurines.KINDS)
  other = examples.replace(color=jnp.where(none, (examples.color + 1) % 3, examples.color),
                           azimuth=jnp.where(none, examples.azimuth + 1, examples.azimuth),
                           face=jnp.where(none, 1 - examples.face, examples.face))
  assert loss(other) == pytest.approx(loss(examples), rel=1e-6)
  assert loss(examples.replace(color=(examples.color + 1) % 3)) != pytest.approx(
      loss(examples), rel=1e-3)  # the labels of figurines count


def test_terms_are_cross_entropies(examples):
  """By SciPy; colour, azimuth (above its floor, the labels' entropy) and face of figurines only."""
  net, params, objective = initial()
  loss, terms = objective(params, examples)
  out = jax.tree.map(lambda x: np.asarray(x, np.float64), jax.jit(net.apply)(
      {'params': params}, examples.images))
  kind, color, face = (np.asarray(x) for x in (examples.kind, examples.color, examples.face))
  real = kind < len(figurines.KINDS)
  entropies = lambda logits, labels: -special.log_softmax(logits, -1)[range(len(labels)), labels]
  target = np.asarray(nets.azimuth_target(examples.azimuth, CFG.data.spread_deg), np.float64)
  azimuth = special.rel_entr(target, special.softmax(out.azimuth, -1)).sum(-1)
  p = special.expit(out.face)
  want = {'kind': entropies(out.kind, kind).mean(),
          'color': entropies(out.color, color)[real].mean(), 'azimuth': azimuth[real].mean(),
          'face': -np.log(np.where(face > 0.5, p, 1 - p))[real].mean()}
  assert {name: float(x) for name, x in terms.items()} == pytest.approx(want, rel=1e-3)
  assert float(loss) == pytest.approx(sum(want.values()), rel=1e-3)


def test_training_fits_one_batch(examples):
  """The step of the trainer on a loss that always shows the same examples."""
  net, params, _ = initial()
  few, tx = jax.tree.map(lambda x: x[:16], examples), optax.adam(2e-2)
  step = jax.jit(descent.build_step(
      lambda p, key: referee.objective(net, p, few, CFG.data.spread_deg), tx, 0, 0.9))
  state, losses = descent.start(params, tx), []
  for _ in range(30):
    state, metrics = step(state)
    losses.append(float(metrics['loss']))
  assert losses[-1] < 0.5 * losses[0]


def test_loss_is_the_objective_of_pictures_of_the_config(monkeypatch):
  """The config's shares reach the draw, and each device draws its part of the batch."""
  calls = []

  def draw(key, batch, *settings):
    calls.append((batch, *settings))
    return coloured_noise(key, batch)
  monkeypatch.setattr(referee_examples, 'draw', draw)
  _, params, objective = initial()
  key = jax.random.key(5)
  value, terms = jax.jit(referee.loss(CFG, 2))(params, key)
  want, _ = objective(params, coloured_noise(key, CFG.train.batch // 2))
  assert float(value) == pytest.approx(float(want), rel=1e-6)
  assert float(sum(terms.values())) == pytest.approx(float(value), rel=1e-6)
  assert calls == [(CFG.train.batch // 2, CFG.views, CFG.data.strength, CFG.data.clean,
                    CFG.data.rejects)]


def coloured_noise(key, batch):
  """Examples without figurines: they compile in no time."""
  k_image, k_kind, k_color, k_azimuth = jax.random.split(key, 4)
  return referee_examples.Examples(
      images=jax.random.uniform(k_image, (batch, 32, 32, 3)),
      kind=jax.random.randint(k_kind, (batch,), 0, len(figurines.KINDS) + 1),
      color=jax.random.randint(k_color, (batch,), 0, len(figurines.COLORS)),
      azimuth=jax.random.uniform(k_azimuth, (batch,)), face=jnp.zeros((batch,)))


@pytest.mark.slow
def test_run_writes_a_folder_that_loads(tmp_path):
  """The accuracies in config.json are those of the weights as a reader loads them."""
  config = configs.get_config('tiny')
  config.train.steps = 3
  folder = ship.run(referee.NET, config, tmp_path)
  params, words = metric.load(folder), metric.labels(folder)
  assert words.kinds == tuple(figurines.KINDS) and words.face_share == CFG.views.face_share
  record = json.loads((folder / 'config.json').read_text())
  assert record['config']['train']['steps'] == 3 and 'labels' not in record['measured']
  clean = record['measured']['clean']
  key = jax.random.split(rng.stream(jax.random.key(ship.HELD_OUT), 'clean'), 1)[0]
  views = jax.jit(lambda k: referee_examples.draw(k, CFG.test.count, CFG.views, 0.0))(key)
  judgement = metric.classify(params, views.images)
  right = np.asarray(judgement.kind).argmax(-1) == np.asarray(views.kind)
  assert clean['kind'] == pytest.approx(right.mean(), abs=1e-6)
  of_kind = np.asarray(views.kind) == figurines.KINDS.index('car')
  assert clean['per_kind']['car']['kind'] == pytest.approx(right[of_kind].mean(), abs=1e-6)
  assert f'| clean | {100 * clean["kind"]:.2f} % |' in (folder / 'card.md').read_text()


def test_checks_of_a_perfect_strip():
  """`figures_of_strips` on judgements without doubt: everything is right."""
  kinds, colors, views = len(figurines.KINDS), len(figurines.COLORS), 24
  azimuth = jnp.arange(views) * (2 * np.pi / views)
  full = lambda x: np.broadcast_to(x, (kinds, colors, 2) + x.shape[-2:]).copy()
  judgement = metric.Judgement(
      kind=np.stack([np.broadcast_to(np.eye(kinds + 1, dtype=np.float32)[k],
                                     (colors, 2, views, kinds + 1)) for k in range(kinds)]),
      color=np.broadcast_to(np.eye(colors, dtype=np.float32)[None, :, None, None],
                            (kinds, colors, 2, views, colors)),
      sector=full(np.eye(8, dtype=np.float32)[np.asarray(nets.sector(azimuth))]),
      face=np.broadcast_to(np.cos(np.asarray(azimuth)) > 0.3, (kinds, colors, 2, views)).astype(
          np.float32))
  labels = metric.Labels(figurines.KINDS, figurines.COLORS, metric.REJECT,
                        referee_checks.face_arcs(judgement), 0.1)
  table = referee_checks.figures_of_strips(judgement, labels)
  assert all(row['right'] == 1.0 and row['face_count'] == (1, 1) for row in table.values())
