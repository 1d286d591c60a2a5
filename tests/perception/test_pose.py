"""The pose classifier on synthetic features whose pose is known."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from jax3dgen.core.errors import ConfigError
from jax3dgen.perception import pose

SIZE, CHANNELS = 12, 16
probabilities = jax.jit(pose.probabilities, static_argnames=('parts', 'form'))
orientation = jax.jit(pose.orientation, static_argnames='form')
foreground, places = jax.jit(pose.foreground), jax.jit(pose.places)
RNG = np.random.default_rng(0)
SIDES = RNG.normal(size=(8, CHANNELS))  # what the object looks like at eight turns of 45 degrees
GROUND = RNG.normal(size=CHANNELS)


def view(turn, noise=0.0, shift=0):
  """Patches [h, w, C] of an object of which columns show the sides from `turn` - 90 degrees on."""
  out = np.tile(0.2 * GROUND, (SIZE, SIZE, 1))
  rng = np.random.default_rng(abs(hash((turn, noise, shift))) % 2**32)
  for i, column in enumerate(range(3, 9)):
    angle = np.arcsin(np.linspace(-0.95, 0.95, 6)[i]) / (np.pi / 4) + turn
    low, share = int(np.floor(angle)), angle - np.floor(angle)
    side = (1 - share) * SIDES[low % 8] + share * SIDES[(low + 1) % 8]
    out[2:10, column + shift] = 3 * GROUND + side
  return out + noise * rng.normal(size=out.shape)


def features(turns, **kind):
  patches = np.stack([view(t, **kind) for t in turns])
  tokens = patches[:, 2:10, 2:10].mean((1, 2)) - 3 * GROUND
  return np.float32(tokens), np.float32(patches)


@functools.cache
def templates():
  tokens, patches = features((0, 2, 4, 6))
  return pose.from_features(tokens[:, None], patches[:, None])


def test_probabilities_sum_to_one_and_a_template_is_itself():
  bank = templates()
  for parts in pose.PARTS:
    p = np.asarray(probabilities(bank, bank.tokens, bank.patches, parts=parts))
    np.testing.assert_allclose(p.sum(-1), 1, rtol=1e-5)
    np.testing.assert_array_equal(p.argmax(-1), range(4))
  cold = probabilities(bank, bank.tokens, bank.patches, temperature=1e-4)
  np.testing.assert_allclose(cold, np.eye(4), atol=1e-3)


def test_other_views_go_to_the_nearest_template():
  bank = templates()
  turns = [0.4, -0.4, 1.7, 2.3, 3.6, 4.4, 5.7, 6.3]
  tokens, patches = features(turns, noise=0.1, shift=1)
  p = np.asarray(probabilities(bank, tokens, patches))
  np.testing.assert_array_equal(p.argmax(-1), [0, 0, 1, 1, 2, 2, 3, 3])


def test_a_mirror_swaps_left_and_right():
  tokens, patches = features((0, 2, 4))
  patches = np.concatenate([patches, patches[1:2, :, ::-1]])  # the right is the left, mirrored
  tokens = np.concatenate([tokens, tokens[1:2]])
  patches[0], patches[2] = (0.5 * (patches[k] + patches[k, :, ::-1]) for k in (0, 2))
  bank = pose.from_features(tokens[:, None], patches[:, None])
  token, image = features((1.8,), noise=0.1)
  (p,), (q,) = (np.asarray(probabilities(bank, token, x, temperature=0.01))
                for x in (image, image[:, :, ::-1]))
  np.testing.assert_allclose(q[np.array([0, 3, 2, 1])], p, atol=0.02)
  assert p[1] > p[3]


def test_the_object_is_separated_from_its_background():
  bank = templates()
  expected = np.zeros((SIZE, SIZE), bool)
  expected[2:10, 3:9] = True
  for mask in bank.masks:
    np.testing.assert_array_equal(mask, expected)
  masked = pose.from_features(bank.tokens[:, None], bank.patches[:, None], np.asarray(bank.masks))
  np.testing.assert_array_equal(masked.masks, bank.masks)
  empty = np.tile(np.float32(0.2 * GROUND), (2, SIZE, SIZE, 1))
  mixed = np.stack([empty[0], bank.patches[0]])
  masks = np.asarray(foreground(bank, mixed))
  assert masks[0].all() and not masks[1].all()  # one empty image does not change its neighbour


def test_coordinates_run_from_edge_to_edge():
  mask = np.zeros((3, 4, 10), bool)
  mask[0, 1, 2:7], mask[1, :, 5], mask[2] = True, True, True
  coordinates = np.asarray(places(mask)).reshape(3, 4, 10)
  np.testing.assert_allclose(coordinates[0, :, 2], -0.5)
  np.testing.assert_allclose(coordinates[0, :, 6], 0.5)
  np.testing.assert_allclose(coordinates[0, 0, 4], 0.0, atol=1e-6)
  np.testing.assert_allclose(coordinates[1, :, 5], -0.5)
  np.testing.assert_allclose(coordinates[2, 0], np.linspace(-0.5, 0.5, 10), atol=1e-6)


def by_loops(bank, patches, k, form):
  """Orientation similarity of one image to template k, with loops."""
  masks = np.asarray(foreground(bank, patches))[0].ravel()
  scale = lambda x: x if form == 'printed' else (x - x.min()) / (x.max() - x.min())
  image = scale(np.asarray(patches, np.float64)[0]).reshape(-1, CHANNELS)
  template = scale(np.asarray(bank.patches, np.float64)[k]).reshape(-1, CHANNELS)
  mask = np.asarray(bank.masks)[k].ravel()
  across = np.asarray(places(masks.reshape(1, SIZE, SIZE)))[0]
  positions = np.asarray(places(bank.masks))[k]
  gaps = []
  for u in np.flatnonzero(masks):
    d = np.array([np.linalg.norm(image[u] - template[v]) for v in np.flatnonzero(mask)])
    w = special.softmax(d / 0.01 if form == 'printed' else -d / 0.01)
    apart = np.abs(across[u] - positions[mask])
    gaps.append((w * apart).sum() if form == 'matched' else ((1 - w) * apart).mean())
  return 1 - np.mean(gaps)


def test_orientation_equals_its_formula_and_the_printed_forms_vary_little():
  bank = templates()
  _, patches = features((0.9,), noise=0.05)
  values = {form: np.asarray(orientation(bank, patches, form=form))[0] for form in pose.FORMS}
  for form, value in values.items():
    np.testing.assert_allclose(value, [by_loops(bank, patches, k, form) for k in range(4)],
                               atol=2e-4 if form != 'matched' else 1e-3)
  assert np.ptp(values['matched']) > 5 * max(np.ptp(values['printed']), np.ptp(values['hybrid']))


def test_probabilities_equal_the_formulas_of_paper_and_code():
  bank = templates()
  tokens, patches = features((0.9,), noise=0.05)
  cosine = lambda a, b: a @ b / np.linalg.norm(a) / np.linalg.norm(b)
  texture = np.array([cosine(tokens[0], token) for token in np.asarray(bank.tokens)])
  for form in pose.FORMS:
    turned = np.array([by_loops(bank, patches, k, form) for k in range(4)])
    code = (1 + texture) / 2 * turned
    joint = texture * turned if form == 'printed' else code / code.sum()  # Eq. 17
    np.testing.assert_allclose(probabilities(bank, tokens, patches, form=form)[0],
                               special.softmax(joint / 0.05), atol=3e-3)


@pytest.mark.parametrize('form', pose.FORMS)
def test_an_image_s_probabilities_do_not_depend_on_its_batch(form):
  bank = templates()
  tokens, patches = features(np.arange(8) * 0.9, noise=0.1)
  patches = patches * np.linspace(0.5, 3, 8, dtype=np.float32)[:, None, None, None]
  alone = np.concatenate([probabilities(bank, tokens[i:i + 1], patches[i:i + 1], form=form)
                          for i in range(8)])
  for count in (3, 8):
    np.testing.assert_allclose(
        probabilities(bank, tokens[:count], patches[:count], form=form), alone[:count], atol=1e-5)


def test_gradients_reach_the_features():
  bank = templates()
  tokens, patches = features((0.9,), noise=0.05)
  loss = jax.jit(lambda token, patches: jnp.log(pose.probabilities(bank, token, patches)[0, 1]))
  by_token, by_patches = map(np.asarray, jax.jit(jax.grad(loss, (0, 1)))(tokens, patches))
  step = lambda slope: np.float32(1e-3) * slope / np.linalg.norm(slope)
  numeric = [(loss(tokens + step(by_token), patches) - loss(tokens - step(by_token), patches)),
             (loss(tokens, patches + step(by_patches)) - loss(tokens, patches - step(by_patches)))]
  np.testing.assert_allclose(np.array(numeric) / 2e-3,
                             [np.linalg.norm(by_token), np.linalg.norm(by_patches)], rtol=0.05)


def test_templates_that_do_not_fit_are_refused():
  tokens, patches = features((0, 2))
  with pytest.raises(ConfigError, match='2 or more'):
    pose.from_features(tokens[:1, None], patches[:1, None])
  with pytest.raises(ConfigError, match='one kind'):
    pose.from_features(tokens[:, None, :5], patches[:, None])
  bank = templates()
  with pytest.raises(ConfigError, match='both, texture, orientation'):
    pose.probabilities(bank, bank.tokens, bank.patches, parts='all')
