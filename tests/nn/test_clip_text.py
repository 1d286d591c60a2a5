"""The text encoders against transformers' CLIP with random weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import transformers

from jax3dgen.formats import convert, rules_clip
from jax3dgen.nn import clip_text
from tests import published

END = 98
IDS = np.full((3, 9), END, np.int32)  # padded with the end of text, as SD 1 is
IDS[0, :5] = 1, 7, 7, 30, END
IDS[1, :3] = 1, END, 0
IDS[2, :] = [1, 5, 6, 7, 8, END, 0, 0, 0]  # padded with another token, as SD 2 and SDXL are
SIZES = {'vocabulary': 99, 'width': 24, 'depth': 3, 'heads': 3, 'hidden': 40, 'length': 9}


def theirs(activation, projection):
  config = transformers.CLIPTextConfig(
      vocab_size=99, hidden_size=24, num_hidden_layers=3, num_attention_heads=3,
      intermediate_size=40, max_position_embeddings=9, hidden_act=activation,
      projection_dim=projection or 24, bos_token_id=1, eos_token_id=END, pad_token_id=0)
  kind = (transformers.CLIPTextModelWithProjection if projection else transformers.CLIPTextModel)
  return published.randomise(kind(config))


def ours(net, model):
  target = jax.eval_shape(net.init, jax.random.key(0), IDS)['params']
  return convert.to_tree(published.tensors(model), rules_clip.RULES, target)


@pytest.mark.parametrize('activation, projection, penultimate', [
    ('quick_gelu', 0, False), ('gelu', 0, False), ('gelu', 16, True)])
def test_equals_transformers(activation, projection, penultimate):
  net = clip_text.ClipText(**SIZES, activation=activation, projection=projection,
                           penultimate=penultimate)
  model = theirs(activation, projection)
  params = ours(net, model)
  with torch.no_grad():
    out = model(torch.from_numpy(IDS).long(), output_hidden_states=True)
  expected = (out.hidden_states[-2] if penultimate else out.last_hidden_state,
              out.text_embeds if projection else out.pooler_output)
  half = net.clone(dtype=jnp.bfloat16, param_dtype=jnp.bfloat16)
  halved = jax.tree.map(lambda x: x.astype(jnp.bfloat16), params)
  for one, weights, bound in ((net, params, 2e-4), (half, halved, 2e-2)):
    for output, target in zip(jax.jit(one.apply)({'params': weights}, IDS), expected, strict=True):
      assert published.apart(output, target.numpy()) < bound


FULL = {  # sizes of the published encoders: of SD 1, SD 2 and, as second one, SDXL
    'CLIP-L': (dict(), 123_060_480),
    'OpenCLIP-H': (dict(width=1024, depth=23, heads=16, hidden=4096, activation='gelu'),
                   340_387_840),
    'OpenCLIP-bigG': (dict(width=1280, depth=32, heads=20, hidden=5120, activation='gelu',
                           projection=1280), 694_659_840),
}


@pytest.mark.parametrize('name', FULL)
def test_full_size_names_and_shapes(name):
  sizes, count = FULL[name]
  net = clip_text.ClipText(**sizes)
  config = transformers.CLIPTextConfig(
      hidden_size=net.width, num_hidden_layers=net.depth, num_attention_heads=net.heads,
      intermediate_size=net.hidden, projection_dim=net.projection or 512)
  with torch.device('meta'):
    model = (transformers.CLIPTextModelWithProjection if net.projection else
             transformers.CLIPTextModel)(config)
  published_shapes = {name: x.shape for name, x in model.state_dict().items()}
  target = jax.eval_shape(net.init, jax.random.key(0), jnp.zeros((1, 77), jnp.int32))['params']
  flat = convert.trees.named(target)
  paths = convert.names(rules_clip.RULES, published_shapes)
  assert sorted(paths.values()) == sorted(flat)
  assert sum(x.size for x in flat.values()) == count
  assert all(flat[path].size == published_shapes[name].numel() for name, path in paths.items())


def test_names_of_published_files():
  """Files have the encoder in `text_model`, older ones a counter of positions."""
  paths = convert.names(rules_clip.RULES, [
      'text_model.embeddings.position_ids', 'text_model.encoder.layers.3.self_attn.q_proj.weight',
      'text_model.embeddings.token_embedding.weight', 'text_model.final_layer_norm.weight'])
  assert list(paths.values()) == [
      'encoder/layers_3/self_attn/q_proj/kernel', 'embeddings/token_embedding/embedding',
      'final_layer_norm/scale']
