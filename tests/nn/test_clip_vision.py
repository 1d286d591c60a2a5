"""CLIP's image encoder against transformers' with random weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import transformers

from jax3dgen.core import tree as trees
from jax3dgen.formats import convert, rules_clip_pair
from jax3dgen.nn import clip_text, clip_vision
from tests import published

SIZES = {'width': 24, 'depth': 2, 'heads': 3, 'hidden': 40, 'patch': 14, 'projection': 20}


def theirs(sizes, activation, text=None):
  """transformers' whole CLIP; its text encoder is small unless sizes are given."""
  vision = {'hidden_size': sizes['width'], 'num_hidden_layers': sizes['depth'],
            'num_attention_heads': sizes['heads'], 'intermediate_size': sizes['hidden'],
            'patch_size': sizes['patch'], 'hidden_act': activation}
  text = text or {'hidden_size': 24, 'num_hidden_layers': 1, 'num_attention_heads': 3,
                  'intermediate_size': 40, 'vocab_size': 99, 'bos_token_id': 1, 'eos_token_id': 98}
  return transformers.CLIPModel(transformers.CLIPConfig(
      vision_config=vision, text_config=text, projection_dim=sizes['projection']))


@pytest.mark.parametrize('activation, size', [('quick_gelu', (224, 224)), ('gelu', (56, 98))])
def test_equals_transformers(activation, size):
  model = published.randomise(theirs(SIZES, activation), 0.1)
  net = clip_vision.ClipVision(**SIZES, activation=activation, remat=activation == 'gelu')
  image = np.random.default_rng(0).normal(size=(2, *size, 3)).astype(np.float32)
  target = jax.eval_shape(net.init, jax.random.key(0), image)['params']
  tensors = {name: x for name, x in published.tensors(model).items() if name.startswith('vis')}
  params = convert.to_tree(tensors, rules_clip_pair.RULES, {'vision': target})['vision']
  x = published.to_torch(image, requires_grad=True)
  expected = model.get_image_features(x, interpolate_pos_encoding=True).pooler_output
  expected.sum().backward()

  @jax.jit
  def out(params, image):
    output, pull = jax.vjp(lambda x: net.apply({'params': params}, x), image)
    return output, pull(jnp.ones_like(output))[0]
  output, slope = out(params, image)
  assert published.apart(output, expected.detach()) < 2e-4
  assert published.apart(slope, published.from_torch(x.grad)) < 1e-3
  half = jax.jit(net.clone(dtype=jnp.bfloat16).apply)({'params': params}, image)
  assert published.apart(half, expected.detach()) < 2e-2


FULL = {  # (image encoder, text encoder, all parameters) of the published models
    'ViT-B/32': (dict(width=768, depth=12, heads=12, hidden=3072, patch=32, grid=7, projection=512),
                 dict(width=512, depth=12, heads=8, hidden=2048), 151_277_313),
    'ViT-L/14': (dict(), dict(), 427_616_513),
    'OpenCLIP-H/14': (dict(width=1280, depth=32, hidden=5120, activation='gelu', projection=1024),
                      dict(width=1024, depth=24, heads=16, hidden=4096, activation='gelu'),
                      986_109_441),
    'OpenCLIP-bigG/14': (dict(width=1664, depth=48, hidden=8192, activation='gelu',
                              projection=1280),
                         dict(width=1280, depth=32, heads=20, hidden=5120, activation='gelu'),
                         2_539_567_105)}


@pytest.mark.parametrize('name', FULL)
def test_full_size_names_and_shapes(name):
  vision, text, count = FULL[name]
  vision = clip_vision.ClipVision(**vision)
  text = clip_text.ClipText(**text, projection=vision.projection)
  sizes = {key: getattr(vision, key) for key in SIZES}
  with torch.device('meta'):
    model = theirs(sizes, vision.activation, {
        'hidden_size': text.width, 'num_hidden_layers': text.depth,
        'num_attention_heads': text.heads, 'intermediate_size': text.hidden})
  key = jax.random.key(0)
  target = {
      'vision': jax.eval_shape(vision.init, key, jnp.zeros((1, 224, 224, 3)))['params'],
      'text': jax.eval_shape(text.init, key, jnp.zeros((1, 77), jnp.int32))['params'],
      'logit_scale': jax.ShapeDtypeStruct((), jnp.float32)}
  flat = trees.named(target)
  shapes = {name: x.shape for name, x in model.state_dict().items()}
  paths = convert.names(rules_clip_pair.RULES, [*shapes, 'vision_model.embeddings.position_ids'])
  assert sorted(paths.values()) == sorted(flat)
  assert all(flat[path].size == shapes[name].numel() for name, path in paths.items())
  assert sum(x.size for x in flat.values()) == count
