"""Examples: equal keys draw equal examples, labels are true, and the bias is the one stated."""

import chex
import jax
import numpy as np

from jax3dgen.data import captions, figurine_examples, figurines, prompts

BATCH = 64
DEFAULTS = dict(uniform=0.1, phrase=0.5, double_phrase=0.03, degraded=0.05, hat=0.1)
_draw = jax.jit(figurine_examples.draw, static_argnums=1, static_argnames=('size', 'samples'))


def draw(key, batch=BATCH, size=32, samples=2, **options):
  """Every share is traced, so that each size compiles once."""
  return _draw(jax.random.key(key), batch, size=size, samples=samples, **(DEFAULTS | options))


def many(key, **options):
  """2000 examples at 4 px: enough for statistics of everything but the pictures."""
  return draw(key, 2000, 4, 1, **options)


def test_equal_keys_draw_equal_examples():
  a, b, c = (draw(k) for k in (1, 1, 2))
  chex.assert_trees_all_equal(a, b)
  assert (np.asarray(a.image) != np.asarray(c.image)).any()
  assert a.image.shape == (BATCH, 32, 32, 3) and a.tokens.shape == (BATCH, figurine_examples.LENGTH)
  assert a.image.min() >= 0 and a.image.max() <= 1


def test_azimuths_are_biased_as_stated():
  turn = np.abs(np.rad2deg(np.asarray(many(0).camera.azimuth)))
  expected = 0.9 * 0.8664 + 0.1 * 0.25  # P(|N(0, 30)| < 45) = 0.8664
  assert abs((turn < 45).mean() - expected) < 0.03
  assert abs((turn > 135).mean() - 0.025) < 0.012
  uniform = np.abs(np.rad2deg(np.asarray(many(0, uniform=1.0).camera.azimuth)))
  assert abs((uniform < 45).mean() - 0.25) < 0.03 and abs((uniform > 135).mean() - 0.25) < 0.03


def test_shares_of_extras_are_those_of_the_arguments():
  e = many(3)
  assert abs((np.asarray(e.degradation) > 0).mean() - 0.05) < 0.015
  assert abs(np.asarray(e.figurine.hat).mean() - 0.1) < 0.02
  assert abs((np.asarray(e.view) == 4).mean() - 0.08) < 0.02
  assert abs((np.asarray(e.second) > 0).mean() - 0.03) < 0.012
  assert abs((np.asarray(e.phrase) > 0).mean() - 0.5) < 0.04
  elevation = np.rad2deg(np.asarray(e.camera.elevation))
  assert elevation.min() >= -5 and elevation.max() <= 65
  for field, count in ((e.figurine.kind, 6), (e.figurine.color, 6)):
    np.testing.assert_allclose(np.bincount(field, minlength=count) / 2000, 1 / count, atol=0.03)


def test_captions_agree_with_the_labels():
  e = many(4, degraded=0.3, hat=0.5, double_phrase=0.2)
  label = jax.tree.map(np.asarray, (e.figurine, e.degradation, e.view, e.phrase, e.second))
  figurine, degradation, view, phrase, second = label
  hats = 0
  for i, text in enumerate(captions.decode(e.tokens)):
    words = text.split()
    if text == prompts.NEGATIVE.replace(',', ''):
      assert degradation[i] > 0 and phrase[i] == second[i] == 0
      continue
    assert figurines.KINDS[figurine.kind[i]] in words
    assert figurines.COLORS[figurine.color[i]] in words
    assert sum(w in figurines.KINDS + figurines.COLORS for w in words) == 2
    faults = [w for w in words if w in prompts.DEGRADATIONS]
    assert faults == ([prompts.DEGRADATIONS[degradation[i]]] if degradation[i] else [])
    assert not (set(words) & set(captions.QUALITIES) and degradation[i])
    assert figurine.hat[i] or 'hat' not in words
    hats += 'hat' in words
    phrases = {p for p, name in enumerate(prompts.VIEW_PHRASES) if p and name in text}
    assert phrases == {p for p in (phrase[i], second[i]) if p}
    assert phrase[i] in (0, view[i]) and (second[i] == 0 or second[i] != view[i])
  assert abs(hats / figurine.hat.sum() - captions.SAYS_HAT) < 0.1


def test_view_labels_follow_the_camera():
  e = many(5, uniform=1.0)
  turn = np.abs(np.rad2deg(np.asarray(e.camera.azimuth)))
  view = np.where(turn < 45, 1, np.where(turn > 135, 3, 2))
  view = np.where(np.rad2deg(np.asarray(e.camera.elevation)) > 40, 4, view)
  np.testing.assert_array_equal(np.asarray(e.view), view)


def test_faults_are_visible_in_the_images():
  clean = draw(6, degraded=0.0)
  spoilt = draw(6, degraded=1.0)
  change = np.abs(np.asarray(clean.image) - np.asarray(spoilt.image)).mean((1, 2, 3))
  assert (np.asarray(spoilt.degradation) > 0).all() and (change > 0.01).all()
  again = jax.jit(figurines.render, static_argnums=2)(clean.figurine, clean.camera, 32)
  np.testing.assert_allclose(clean.image, again.rgb, atol=1e-3)
  np.testing.assert_allclose(clean.face, again.face, atol=1e-3)


def test_defaults_are_those_tested_here():
  assert DEFAULTS.items() <= figurine_examples.draw.__kwdefaults__.items()
  assert figurine_examples.draw.__kwdefaults__['spread_deg'] == 30.0
