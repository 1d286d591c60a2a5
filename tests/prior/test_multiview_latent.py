"""Five views by Stable Diffusion: its two passes against diffusers' U-Net with attention written
out, from folders with random weights."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from jax3dgen.core import tree, weights
from jax3dgen.core.errors import ConfigError, WeightError
from jax3dgen.core.types import Cond
from jax3dgen.feedback import d3po, rollout
from jax3dgen.nn import lora
from jax3dgen.prior import latent, multiview, multiview_latent, multiview_loading, schedule
from tests import published

N, V = 2, multiview.VIEWS
SHAPE = (4, 4, 4)
CLOSE = {'rtol': 1e-3, 'atol': 2e-4}
ATTENTION = r'attn[12]/to_(q|k|v|out_0)/kernel$'


def normal(seed, *shape):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


class Model:
  """A folder, diffusers' pipeline of it, and the prior, its functions compiled once."""

  def __init__(self, folder, large, output):
    self.folder, self.theirs = folder, published.pipeline(folder, large, output)
    self.prior, self.params, self.condition = multiview_latent.load(folder)
    self.write, self.read = jax.jit(self.prior.write), jax.jit(self.prior.read)
    self.cond = self.condition(self.params, normal(1, N, *SHAPE), normal(2, N, *SHAPE))
    self.state = normal(3, N * V, *SHAPE), jnp.repeat(jnp.array([0.3, 0.8]), V)

  @functools.cached_property
  def memory(self):
    return self.write(self.params, self.cond, self.state[1])

  @functools.cached_property
  def eps(self):
    return np.asarray(self.read(self.params, *self.state, self.cond, self.memory))


@pytest.fixture(scope='module')
def sd(tmp_path_factory):
  return Model(tmp_path_factory.mktemp('models') / 'sd', False, 'v_prediction')


class TwoPasses:
  """Self-attention that notes its input in `states`, or, once that has it, attends to it as well,
  and to all views of an object where it is `joint`."""

  def __init__(self, joint):
    self.states, self.joint = None, joint

  def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None):
    x = hidden_states
    if encoder_hidden_states is not None:
      return published.attention(attn, x, encoder_hidden_states)[0]
    if self.states is None:
      self.states = x
      return published.attention(attn, x, x)[0]
    views, states = x, self.states.repeat_interleave(V, 0)
    if self.joint:
      views, states = x.reshape(N, -1, x.shape[-1]), self.states
    return published.attention(attn, views, torch.cat([views, states], 1))[0].reshape(x.shape)


def captions(model):
  """(tokens [V + 1, 77, D], what the U-Net adds to the time) of the captions, by the pipeline."""
  texts = list(multiview.CAPTIONS)
  if not hasattr(model.theirs, 'text_encoder_2'):
    return model.theirs.encode_prompt(texts, 'cpu', 1, False)[0], None
  encoded = [model.theirs.encode_prompt(text, device='cpu', do_classifier_free_guidance=False)
             for text in texts[:-1]]
  tokens, pooled = (torch.cat([each[i] for each in encoded]) for i in (0, 2))
  none = lambda x: torch.cat([x, torch.zeros_like(x[:1])])  # of the empty prompt, as published
  return none(tokens), none(pooled)


@torch.no_grad()
def transcription(model):
  """eps of the two passes by diffusers' U-Net."""
  net = model.theirs.unet
  net.set_attn_processor({name: TwoPasses('mid_block' in name) for name in net.attn_processors})
  tokens, pooled = captions(model)

  def call(x, t, rows):
    added = {} if pooled is None else {'added_cond_kwargs': {
        'text_embeds': pooled[rows], 'time_ids': torch.tensor([[16.0, 16, 0, 0, 16, 16]]).repeat(
            len(x), 1)}}
    level = torch.from_numpy(np.array(schedule.index(t, 1000), np.float32))
    return published.from_torch(net(published.to_torch(x), level, tokens[rows], **added).sample)
  alpha, sigma = (np.asarray(f(model.state[1]))[:, None, None, None] for f in (
      model.prior.schedule.alpha, model.prior.schedule.sigma))
  first = lambda x: np.asarray(x)[::V]
  call(first(alpha) * first(model.cond.picture) + first(sigma) * first(model.cond.noise),
       first(model.state[1]), [V] * N)
  output = call(*model.state, list(range(V)) * N)
  if model.theirs.scheduler.config.prediction_type == 'epsilon':
    return output
  return sigma * model.state[0] + alpha * output


def test_a_prediction_is_that_of_two_passes_of_the_published_net(sd):
  assert published.apart(sd.eps, transcription(sd)) < 5e-4
  assert sd.params.keys() == {'denoiser', 'vae', 'captions'} and not sd.params['denoiser'][
      'slot'].any()


@pytest.mark.slow
def test_the_same_of_sdxl(tmp_path):
  model = Model(tmp_path / 'sdxl', True, 'epsilon')
  assert published.apart(model.eps, transcription(model)) < 5e-4
  assert model.params['captions']['extra'].shape == (V + 1, 12 + 6 * 4)


def test_a_view_without_reference_is_that_of_joint_attention_alone(sd):
  """keep False is a pass without memory."""
  keep = jnp.repeat(jnp.array([False, True]), V)
  mixed = sd.read(sd.params, *sd.state, sd.cond.replace(keep=keep), sd.memory)
  joint = latent.denoiser(latent.read(sd.folder), views=V, slots=V + 1,
                          joint=multiview_latent.NET['joint'])

  @jax.jit
  def alone(params, x, t, tokens):
    v = joint.apply({'params': params['denoiser']}, x, schedule.index(t, 1000).astype(jnp.float32),
                    tokens, slot=jnp.zeros(len(x), int))
    alpha, sigma = (f(t)[:, None, None, None] for f in (sd.prior.schedule.alpha,
                                                        sd.prior.schedule.sigma))
    return sigma * x + alpha * v
  expected = alone(sd.params, *sd.state, sd.cond.view.tokens)
  np.testing.assert_allclose(mixed[:V], expected[:V], **CLOSE)
  np.testing.assert_allclose(mixed[V:], sd.eps[V:], **CLOSE)
  assert np.abs(expected[V:] - sd.eps[V:]).max() > 3e-3


def test_objects_are_independent_and_slots_tell_views_apart(sd):
  turn = lambda x: jnp.concatenate([x[len(x) // 2:], x[:len(x) // 2]])
  turned = sd.read(sd.params, *jax.tree.map(turn, (*sd.state, sd.cond, sd.memory)))
  np.testing.assert_allclose(turned, turn(sd.eps), **CLOSE)
  slot = np.zeros(sd.params['denoiser']['slot'].shape, np.float32)
  slot[1] = 0.5
  params = sd.params | {'denoiser': sd.params['denoiser'] | {'slot': slot}}
  change = np.abs(sd.read(params, *sd.state, sd.cond, sd.memory) - sd.eps).max((1, 2, 3))
  assert (change.reshape(N, V)[:, 1] > 3 * change.reshape(N, V)[:, 0]).all()
  slot[1], slot[V] = 0.0, 0.5
  memory = sd.write(params, sd.cond, sd.state[1])
  assert all(np.abs(a - b).max() > 1e-3 for a, b in zip(
      jax.tree.leaves(memory), jax.tree.leaves(sd.memory), strict=True))


def test_stored_memory_saves_the_pass_over_the_references(sd):
  """As lowered: a read counts the products of N V images, a prediction those of N more."""
  shapes = jax.eval_shape(lambda: (sd.params, *sd.state, sd.cond, sd.memory))
  products = lambda f, *args: str(jax.make_jaxpr(f)(*args)).count('dot_general')
  both = products(sd.prior.predict, *shapes[:4])
  read = products(sd.prior.read, *shapes)
  write = products(sd.prior.write, shapes[0], shapes[3], shapes[2])
  assert read + write == both and read < 0.6 * both


@pytest.mark.slow
def test_half_precision_with_recomputed_blocks_has_finite_gradients_of_d3po(sd):
  """LoRA adapters of the attention layers, one pair."""
  prior, params, _ = multiview_latent.load(sd.folder, dtype='bfloat16', remat=True)
  assert {leaf.dtype.name for leaf in jax.tree.leaves(params['denoiser'])} == {'bfloat16'}
  adapters = lora.init(jax.random.key(0), params['denoiser'], 2, ATTENTION)
  assert len(adapters) == 8 * 4
  grouped = jax.tree.map(lambda x: x.reshape(N, V, *x.shape[1:]), sd.cond)
  x, x_next = normal(4, 2, N, V, *SHAPE)
  batch = d3po.Minibatch(x, x_next, jnp.full(N, 0.6), jnp.full(N, 0.5), grouped, jnp.zeros(N),
                         jnp.array([[1.0, -1.0]]))

  @jax.jit
  def gradient(adapters, params):
    def loss(adapters):
      merged = params | {'denoiser': lora.merge(params['denoiser'], adapters)}
      predict = rollout.grouped(functools.partial(prior.predict, merged), V)
      return d3po.objective(predict, prior.schedule, batch, 10.0, 1.0)[0]
    return jax.value_and_grad(loss)(adapters)
  value, grads = gradient(adapters, params)
  assert np.isfinite(value) and all(np.isfinite(x).all() for x in jax.tree.leaves(grads))
  assert all(np.abs(grads[name]['b']).max() > 0 for name in grads if 'attn1' in name)
  text = str(jax.make_jaxpr(gradient)(adapters, params))
  assert text.count('remat') + text.count('checkpoint') > 8


def trained_folder(sd, path, leaves, **changes):
  net = multiview_latent.NET | {'frozen': multiview_latent.FROZEN,
                                'prior': multiview_latent.digest(sd.folder)} | changes
  path.mkdir()
  weights.save(path / 'weights.safetensors', leaves, dtype=np.float16)
  (path / 'config.json').write_text(json.dumps({'net': net}))
  weights.seal(path, ('weights.safetensors', 'config.json'))
  return path


def test_trained_leaves_replace_those_of_the_published_net(sd, tmp_path):
  still, leaves = multiview_latent.start(sd.params)
  assert all('attn1' in name or 'slot' in name for name in tree.named(leaves))
  assert not any('attn1' in name for name in tree.named(still))
  changed = jax.tree.map(lambda x: np.float32(np.float16(x + 0.25)), leaves)
  folder = trained_folder(sd, tmp_path / 'trained', changed, joint=[1], share=0.4)
  section = multiview_loading.default_config()
  section.weights, section.trained = str(sd.folder), str(folder)
  prior, params, _ = multiview_loading.load(section)
  jax.tree.map(np.testing.assert_array_equal, params, tree.join(still, changed))
  eps = jax.eval_shape(prior.predict, params, *sd.state, sd.cond)
  assert eps.shape == sd.eps.shape
  for name, words, leaves_of, other in (
      ('other', 'another U-Net', changed, {'prior': 'abc'}),
      ('less', 'another network', tree.partition(changed, 'slot')[1], {}),
      ('bare', 'does not describe', changed, {'prior': None})):
    bad = trained_folder(sd, tmp_path / name, leaves_of, **other)
    if name == 'bare':
      (bad / 'config.json').write_text('{}')
      weights.seal(bad, ('weights.safetensors', 'config.json'))
    with pytest.raises(WeightError, match=words):
      multiview_latent.load(sd.folder, bad)


def test_what_a_folder_holds_chooses_the_prior(sd, tmp_path):
  is_published = multiview_latent.is_published
  assert is_published(str(sd.folder)) and is_published('owner/name')
  assert not any(map(is_published, ('', str(multiview.shipped()), str(tmp_path / 'nowhere'))))
  section = multiview_loading.default_config()
  section.trained = 'anything'
  with pytest.raises(ConfigError, match='layout of diffusers'):
    multiview_loading.load(section)
  section.trained = ''
  prior, params, _ = multiview_loading.load(section)
  assert prior.clip == 1.0 and multiview.pixels(prior, params) == 32
  assert sd.prior.clip is None and multiview.pixels(sd.prior, sd.params) == 16


def test_random_parameters_have_the_structure_of_the_loaded_ones(sd):
  shapes = jax.eval_shape(sd.prior.init, jax.random.key(0))
  jax.tree.map(lambda a, b: np.testing.assert_equal(a.shape, b.shape), shapes, sd.params)
  images = jax.ShapeDtypeStruct((N, 24, 24, 3), jnp.float32)
  cond = jax.eval_shape(sd.prior.embed, sd.params, images)
  assert cond.picture.shape == (N * V, 8, 8, 4) and isinstance(cond.view, Cond)
