"""DINOv2 from published files against transformers' models and the authors' formula, with random
weights."""

import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import numpy as safetensors_numpy
import torch
import transformers

from jax3dgen.core import tree as trees
from jax3dgen.core.errors import WeightError
from jax3dgen.formats import convert, dinov2, features, rules_dinov2
from jax3dgen.nn import vit
from tests import published

SMALL = {'hidden_size': 128, 'num_hidden_layers': 2, 'num_attention_heads': 2, 'image_size': 518,
         'patch_size': 14}


def theirs(registers, **sizes):
  kind = 'Dinov2WithRegisters' if registers else 'Dinov2'
  config = getattr(transformers, f'{kind}Config')(**sizes)
  return getattr(transformers, f'{kind}Model')(config)


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
  """{(registers, gated): (transformers' model, the folder that it saved itself to)}."""
  models = {}
  for registers in (False, True):
    for gated in (False, True):
      folder = tmp_path_factory.mktemp('dinov2')
      model = published.randomise(theirs(registers, use_swiglu_ffn=gated, **SMALL), 0.1)
      with torch.no_grad():
        model.embeddings.position_embeddings.normal_(0, 1)
      model.save_pretrained(folder)
      models[registers, gated] = model, folder
  return models


def of_transformers(model, images):
  """(cls, patches, slope of their sum) of images [B, H, W, 3] in [0, 1]."""
  x = published.to_torch(images, requires_grad=True)
  spread = lambda values: torch.tensor(values).view(1, 3, 1, 1)
  out = model((x - spread([0.485, 0.456, 0.406])) / spread([0.229, 0.224, 0.225]))
  tokens = out.last_hidden_state
  (tokens.sum() / 10).backward()
  count = (images.shape[1] // 14) * (images.shape[2] // 14)
  patches = tokens[:, -count:].unflatten(1, (images.shape[1] // 14, -1))
  return tokens[:, 0].detach(), patches.detach(), published.from_torch(x.grad)


@pytest.mark.parametrize('registers, gated, size', [
    (False, False, (224, 224)), (False, True, (518, 518)), (True, False, (224, 224)),
    (True, True, (98, 154)), (False, False, (98, 154))])
def test_equals_transformers(folders, registers, gated, size):
  model, folder = folders[registers, gated]
  apply, params = features.load(folder)
  images = np.random.default_rng(0).random((1, *size, 3), np.float32)
  expected = of_transformers(model, images)[:2]
  for output, target in zip(jax.jit(apply)(params, images), expected, strict=True):
    assert published.apart(output, target) < 2e-4


def test_gradients_are_those_of_transformers(folders):
  model, folder = folders[False, True]
  apply, params = features.load(folder)
  images = np.random.default_rng(0).random((1, 70, 42, 3), np.float32)
  gradient = jax.jit(jax.grad(lambda x: sum(0.1 * y.sum() for y in apply(params, x))))(images)
  assert published.apart(gradient, of_transformers(model, images)[2]) < 1e-3


def test_half_precision_is_near(folders):
  model, folder = folders[True, True]
  apply, params = features.load(folder, jnp.bfloat16)
  assert all(x.dtype == jnp.bfloat16 for x in jax.tree.leaves(params))
  images = np.random.default_rng(0).random((1, 70, 70, 3), np.float32)
  for output, target in zip(jax.jit(apply)(params, images), of_transformers(model, images),
                            strict=False):
    assert published.apart(output, target) < 2e-2


def test_the_authors_layout_is_read_too(folders, tmp_path):
  """The same tensors under the authors' names give the same network."""
  model, folder = folders[True, True]
  apply, params = features.load(folder)
  tensors = safetensors_numpy.load_file(folder / 'model.safetensors')
  renamed = {'mask_token': tensors['embeddings.mask_token'],
             'cls_token': tensors['embeddings.cls_token'],
             'register_tokens': tensors['embeddings.register_tokens'],
             'pos_embed': tensors['embeddings.position_embeddings']}
  for part in ('weight', 'bias'):
    renamed[f'patch_embed.proj.{part}'] = tensors[f'embeddings.patch_embeddings.projection.{part}']
    renamed[f'norm.{part}'] = tensors[f'layernorm.{part}']
    for i in range(2):
      old, new = f'encoder.layer.{i}', f'blocks.{i}'
      renamed[f'{new}.attn.qkv.{part}'] = np.concatenate(
          [tensors[f'{old}.attention.attention.{x}.{part}'] for x in ('query', 'key', 'value')])
      for theirs_, ours in (('norm1', 'norm1'), ('norm2', 'norm2'), ('mlp.weights_in', 'mlp.w12'),
                            ('mlp.weights_out', 'mlp.w3'), ('attention.output.dense', 'attn.proj')):
        renamed[f'{new}.{ours}.{part}'] = tensors[f'{old}.{theirs_}.{part}']
      for j in (1, 2):
        renamed[f'{new}.ls{j}.gamma'] = tensors[f'{old}.layer_scale{j}.lambda1']
  safetensors_numpy.save_file(renamed, tmp_path / 'dinov2.safetensors')
  net, again = dinov2.read(tmp_path / 'dinov2.safetensors')
  jax.tree.map(np.testing.assert_array_equal, again, params)
  assert net == apply.net.clone(offset=0.1)  # which registers make irrelevant


@pytest.mark.parametrize('name, width, depth, heads, count', [
    ('small', 384, 12, 6, 22_056_576), ('base', 768, 12, 12, 86_580_480),
    ('large', 1024, 24, 16, 304_368_640), ('giant', 1536, 40, 24, 1_136_480_768)])
@pytest.mark.parametrize('registers', [0, 4])
def test_full_size_names_and_shapes(folders, name, width, depth, heads, count, registers):
  gated = name == 'giant'
  with torch.device('meta'):
    model = theirs(registers, hidden_size=width, num_hidden_layers=depth, image_size=518,
                   patch_size=14, num_attention_heads=heads, use_swiglu_ffn=gated)
  net = vit.ViT(width, depth, heads, registers=registers, gated=gated)
  target = jax.eval_shape(net.init, jax.random.key(0), jnp.zeros((1, 28, 28, 3)))['params']
  # The small file's, its layer repeated: transformers' modules have other names than its files.
  small = safetensors_numpy.load_file(folders[registers > 0, gated][1] / 'model.safetensors')
  names = {re.sub(r'layer\.\d+', f'layer.{i}', x) for x in small for i in range(depth)}
  paths = convert.names(rules_dinov2.RULES, dinov2.join_qkv(dict.fromkeys(names, np.zeros(1))))
  assert set(paths.values()) == set(trees.named(target))
  ours = sum(x.size for x in trees.named(target).values()) + width  # the mask token is left out
  assert ours == sum(x.numel() for x in model.parameters())
  assert ours == count + registers * width


def test_folders_of_other_models_are_refused(folders, tmp_path):
  _, folder = folders[False, False]
  data = (folder / 'model.safetensors').read_bytes()
  (tmp_path / 'model.safetensors').write_bytes(data)
  for config, words in (({'model_type': 'clip'}, "of the kind 'clip'"), ({}, 'kind None'),
                        ({'model_type': 'dinov2', 'num_attention_heads': 0}, 'does not hold'),
                        ({'model_type': 'dinov2', 'num_attention_heads': 'two'}, 'does not hold')):
    (tmp_path / 'config.json').write_text(json.dumps(config))
    with pytest.raises(WeightError, match=words) as error:
      features.load(tmp_path)
    assert '\n' not in str(error.value)
  (tmp_path / 'config.json').unlink()
  safetensors_numpy.save_file({'fc.weight': np.ones((3, 3))}, tmp_path / 'model.safetensors')
  with pytest.raises(WeightError, match='does not hold a DINOv2'):
    features.load(tmp_path)
