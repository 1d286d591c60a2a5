"""The referee's pictures, its step on one and on several devices, and its command's call."""

import functools
import json

import jax
import jax.numpy as jnp
from ml_collections import FrozenConfigDict
import numpy as np
import optax
import pytest
from scipy import ndimage

from configs import referee as configs
from jax3dgen.core import camera as cameras
from jax3dgen.core import parallel
from jax3dgen.core.errors import ConfigError
from jax3dgen.data import figurine_views, figurines, referee_examples
from jax3dgen.metrics import referee as judge
from jax3dgen.nn import referee as nets
from jax3dgen.recipes.nets import referee, referee_checks, referee_step

CFG = FrozenConfigDict(configs.get_config('tiny'))


@pytest.fixture(scope='module')
def examples():
  draw = jax.jit(lambda key: referee_examples.draw(key, 64, CFG.views, 1.0, 0.3, 0.25))
  return draw(jax.random.key(0))


@functools.cache
def made():
  net, tx = referee_step.network(CFG), referee_step.optimiser(CFG)
  return net, tx, referee_step.init_state(jax.random.key(0), net, tx)


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
  azimuth = np.asarray(figurine_views.sample_views(jax.random.key(0), 8000, CFG.views).azimuth)
  share = np.bincount(np.asarray(nets.sector(jnp.asarray(azimuth))), minlength=8) / len(azimuth)
  np.testing.assert_allclose(share, 1 / 8, atol=0.015)


def test_shift_moves_the_camera_across_its_line_of_sight():
  camera = cameras.orbit(0.7, 0.3, 3.0, 0.7)
  moved = figurine_views.shift(camera, jnp.array([0.2]), jnp.array([-0.1]))
  step = np.asarray(moved.c2w - camera.c2w)[0, :3, 3]
  np.testing.assert_allclose(np.asarray(camera.c2w)[0, :3, :3].T @ step, [0.2, -0.1, 0], atol=1e-6)


def test_blur_matches_scipy():
  images = np.random.default_rng(0).random((2, 32, 32, 3)).astype(np.float32)
  got = figurine_views.blur(jnp.asarray(images), jnp.array([1.1, 0.0]))
  want = ndimage.gaussian_filter(images[0], (1.1, 1.1, 0), mode='constant', truncate=8)
  np.testing.assert_allclose(got[0, 10:22, 10:22], want[10:22, 10:22], atol=1e-5)
  np.testing.assert_allclose(got[1], images[1], atol=1e-6)


def draws(batch):
  """(u, grain, images) of `batch` rows."""
  k_u, k_grain, k = jax.random.split(jax.random.key(3), 3)
  return (jax.random.uniform(k_u, (batch, figurine_views.DRAWS)),
          jax.random.normal(k_grain, (batch, 32, 32, 4)), jax.random.uniform(k, (batch, 32, 32, 3)))


def test_no_strength_spoils_nothing():
  u, grain, images = draws(4)
  spoil = jax.jit(figurine_views.spoil)
  np.testing.assert_allclose(spoil(u, grain, images, 0.0), images, atol=1e-6)
  assert float(jnp.abs(spoil(u, grain, images, 1.0) - images).mean()) > 0.01


def test_scrambled_keeps_its_pixels_and_halves_shows_both():
  u, grain, images = draws(4)
  mixed = referee_examples.scrambled(u, grain, images, images[..., :1])
  np.testing.assert_allclose(np.sort(mixed[0].ravel()), np.sort(images[0].ravel()))
  assert float(jnp.abs(mixed - images).mean()) > 0.1
  half = np.asarray(referee_examples.halves(u, grain, images, images[..., :1]))
  own = (half == np.asarray(images)).all(-1).mean((1, 2))
  np.testing.assert_allclose(own, 0.5, atol=0.01)


def test_rejects_are_chosen_row_by_row():
  count = len(referee_examples.REJECTS)
  u, grain, images = draws(2 * count)
  which = jnp.repeat(jnp.arange(count), 2)
  got = referee_examples.rejects(which, u, grain, images, images[..., :1])
  assert got.shape == images.shape and bool(jnp.isfinite(got).all())
  for i, make in enumerate(referee_examples.REJECTS.values()):
    want = jnp.clip(make(u, grain, images, images[..., :1]), 0, 1)
    np.testing.assert_array_equal(got[2 * i], want[2 * i])


def test_objective_ignores_the_labels_of_rejects(examples):
  net, _, state = made()
  loss = jax.jit(lambda e: referee_step.objective(net, state.params, e, CFG.data.spread_deg)[0])
  none = examples.kind == len(figurines.KINDS)
  other = examples.replace(color=jnp.where(none, (examples.color + 1) % 3, examples.color),
                           azimuth=jnp.where(none, examples.azimuth + 1, examples.azimuth),
                           face=jnp.where(none, 1 - examples.face, examples.face))
  assert float(loss(other)) == pytest.approx(float(loss(examples)), rel=1e-6)


def test_azimuth_term_is_cross_entropy_above_its_floor(examples):
  net, _, state = made()
  terms = jax.jit(lambda e: referee_step.objective(
      net, state.params, e, CFG.data.spread_deg)[1])(examples)
  real = np.asarray(examples.kind) < len(figurines.KINDS)
  target = nets.azimuth_target(examples.azimuth, CFG.data.spread_deg)
  logits = jax.jit(net.apply)({'params': state.params}, examples.images).azimuth
  target, logits = np.asarray(target, np.float64)[real], np.asarray(logits, np.float64)[real]
  cross = optax.softmax_cross_entropy(logits, target)
  floor = -np.sum(target * np.log(np.maximum(target, 1e-300)), -1)
  assert float(terms['azimuth']) == pytest.approx(float(np.mean(cross - floor)), rel=1e-3)


def test_the_step_learns_one_batch_by_heart(examples):
  net, tx, state = made()
  tx = optax.adam(1e-2)
  loss = lambda p: referee_step.objective(net, p, examples, 15.0)[0]

  @jax.jit
  def update(params, opt):
    value, grads = jax.value_and_grad(loss)(params)
    change, opt = tx.update(grads, opt, params)
    return optax.apply_updates(params, change), opt, value
  params, opt = state.params, tx.init(state.params)
  first = float(loss(params))
  for _ in range(60):
    params, opt, value = update(params, opt)
  assert float(value) < 0.5 * first


def coloured_noise(key, batch, *_):
  """Examples of nothing: compiles in no time, for tests of the step alone."""
  k_image, k_kind, k_color, k_azimuth = jax.random.split(key, 4)
  return referee_examples.Examples(
      images=jax.random.uniform(k_image, (batch, 32, 32, 3)),
      kind=jax.random.randint(k_kind, (batch,), 0, len(figurines.KINDS) + 1),
      color=jax.random.randint(k_color, (batch,), 0, len(figurines.COLORS)),
      azimuth=jax.random.uniform(k_azimuth, (batch,)), face=jnp.zeros((batch,)))


@pytest.mark.slow
def test_pmap_equals_vmap_and_compiles_once(monkeypatch):
  monkeypatch.setattr(referee_examples, 'draw', coloured_noise)
  net, tx, state = made()
  count, traces = parallel.device_count(), []
  step = referee_step.make_step(net, tx, CFG, count, parallel.AXIS)

  def counted(state):
    traces.append(1)
    return step(state)
  mapped = parallel.map(counted, 0)
  plain = jax.jit(jax.vmap(step, axis_name=parallel.AXIS))
  a = parallel.replicate(state)
  b = jax.tree.map(lambda x: jnp.broadcast_to(x, (count,) + x.shape), state)
  for _ in range(3):
    a, metrics = mapped(a)
    b, _ = plain(b)
  for x, y in zip(jax.tree.leaves(parallel.unreplicate(a)), jax.tree.leaves(b)):
    np.testing.assert_allclose(x, y[0], atol=1e-6)
  assert len(traces) == 1
  assert float(parallel.unreplicate(metrics)['nonfinite']) == 0


def test_a_gradient_that_is_not_finite_is_skipped_and_counted(monkeypatch):
  def broken(key, batch, *_):
    examples = coloured_noise(key, batch)
    return examples.replace(azimuth=jnp.full_like(examples.azimuth, jnp.nan))
  monkeypatch.setattr(referee_examples, 'draw', broken)
  net, tx, state = made()
  new, metrics = jax.jit(referee_step.make_step(net, tx, CFG, 1))(state)
  assert float(metrics['nonfinite']) == 1 and int(new.skipped) == 1 and int(new.step) == 1
  for x, y in zip(jax.tree.leaves(state.params), jax.tree.leaves(new.params)):
    np.testing.assert_array_equal(x, y)


@pytest.mark.slow
def test_run_writes_a_folder_that_loads_and_resumes(tmp_path, monkeypatch):
  config = configs.get_config('tiny')
  with config.unlocked():
    config.train.steps = 3
  folder = referee.run(config, tmp_path)
  params, words = judge.load(folder), judge.labels(folder)
  assert words.kinds == tuple(figurines.KINDS) and words.face_share == CFG.views.face_share
  assert judge.classify(params, jnp.ones((1, 32, 32, 3))).kind.shape == (1, len(words.kinds) + 1)
  record = json.loads((folder / 'config.json').read_text())
  assert 0 <= record['measured']['clean']['kind'] <= 1
  assert record['config']['train']['steps'] == 3
  for name in ('card.md', 'curve.csv', 'curve.svg', 'sha256'):
    assert (folder / name).stat().st_size > 0
  digest = (folder / 'sha256').read_text()
  monkeypatch.setattr(referee, 'measure', lambda *_: (words, record['measured']))  # once is enough
  (folder / 'sha256').unlink()
  assert (referee.run(config, tmp_path) / 'sha256').read_text() == digest


def test_a_batch_that_cannot_be_shared_is_refused(tmp_path):
  config = configs.get_config('tiny')
  with config.unlocked():
    config.train.batch = 2 * parallel.device_count() + 2
  with pytest.raises(ConfigError, match='batch'):
    referee.run(config, tmp_path)


def test_checks_of_a_perfect_strip():
  """`figures_of_strips` on judgements without doubt: everything is right."""
  kinds, colors, views = len(figurines.KINDS), len(figurines.COLORS), 24
  azimuth = jnp.arange(views) * (2 * np.pi / views)
  full = lambda x: np.broadcast_to(x, (kinds, colors, 2) + x.shape[-2:]).copy()
  judgement = judge.Judgement(
      kind=np.stack([np.broadcast_to(np.eye(kinds + 1, dtype=np.float32)[k],
                                     (colors, 2, views, kinds + 1)) for k in range(kinds)]),
      color=np.broadcast_to(np.eye(colors, dtype=np.float32)[None, :, None, None],
                            (kinds, colors, 2, views, colors)),
      sector=full(np.eye(8, dtype=np.float32)[np.asarray(nets.sector(azimuth))]),
      face=np.broadcast_to(np.cos(np.asarray(azimuth)) > 0.3, (kinds, colors, 2, views)).astype(
          np.float32))
  labels = judge.Labels(figurines.KINDS, figurines.COLORS, judge.REJECT,
                        referee_checks.face_arcs(judgement), 0.1)
  table = referee_checks.figures_of_strips(judgement, labels)
  assert all(row['right'] == 1.0 and row['face_count'] == (1, 1) for row in table.values())
