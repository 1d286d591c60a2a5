"""Files of adapters against torch: W + alpha / rank up down, in every spelling of the names."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import numpy as safetensors_numpy
import torch

from jax3dgen.core.errors import WeightError
from jax3dgen.formats import convert, lora_files, rules_lora
from jax3dgen.nn import lora

UNET = {'down_blocks.0.attentions.1.transformer_blocks.0.attn1.to_q': (6, 4),
        'down_blocks.0.attentions.1.transformer_blocks.0.attn1.to_out.0': (6, 4),
        'down_blocks.0.attentions.1.proj_in': (6, 4, 1, 1),
        'down_blocks.0.resnets.0.conv1': (5, 4, 3, 3)}
TEXT = {'text_model.encoder.layers.0.self_attn.q_proj': (4, 4)}
RANK, ALPHA = 2, 3.0

flat = lambda layer: layer.replace('.', '_')
LAYOUTS = {
    'diffusers': lambda part, layer: (f'{part}.{layer}.lora_A.weight',
                                      f'{part}.{layer}.lora_B.weight', f'{part}.{layer}.alpha'),
    'early diffusers': lambda part, layer: (
        f'{part}.{layer}.lora.down.weight', f'{part}.{layer}.lora.up.weight',
        f'{part}.{layer}.alpha') if part == 'unet' else (
        f'{part}.{layer}.lora_linear_layer.down.weight',
        f'{part}.{layer}.lora_linear_layer.up.weight', f'{part}.{layer}.alpha'),
    'kohya': lambda part, layer: tuple(
        f'{"lora_unet" if part == "unet" else "lora_te"}_{flat(layer)}.{member}'
        for member in ('lora_down.weight', 'lora_up.weight', 'alpha')),
}


def trees():
  """The parameters of both parts as ours and as {published name: weight}."""
  rng = np.random.default_rng(0)
  published = {part: {f'{layer}.weight': rng.normal(size=shape).astype(np.float32)
                      for layer, shape in layers.items()}
               for part, layers in (('unet', UNET), ('text_encoder', TEXT))}
  ours = {}
  for part, tensors in published.items():
    rules = ((r'^text_model\.', ''),)
    nested = {}
    for name, path in convert.names(rules, tensors).items():
      *folders, last = path.split('/')
      node = nested
      for folder in folders:
        node = node.setdefault(folder, {})
      rank = 2 if tensors[name].shape[2:] == (1, 1) else tensors[name].ndim
      node[last] = jnp.array(convert.arrange(tensors[name], path, rank))
    ours[part] = nested
  return ours, published


def adapters(layout, alpha=True):
  """The tensors of a file, and {(part, layer): (down, up)}."""
  rng = np.random.default_rng(1)
  file, pairs = {}, {}
  for part, layers in (('unet', UNET), ('text_encoder', TEXT)):
    for layer, (outward, inward, *pixels) in layers.items():
      down = rng.normal(size=(RANK, inward, *pixels)).astype(np.float32)
      up = rng.normal(size=(outward, RANK, *[1] * len(pixels))).astype(np.float32)
      names = LAYOUTS[layout](part, layer)
      file |= dict(zip(names, (down, up, np.array(ALPHA, np.float32)), strict=True))
      if not alpha:
        del file[names[2]]
      pairs[part, layer] = torch.from_numpy(down), torch.from_numpy(up)
  return file, pairs


def merged_by_torch(published, pairs, scale):
  """The changed weights: a convolution's as what two convolutions in a row do to unit pixels."""
  out = {}
  for (part, layer), (down, up) in pairs.items():
    weight = torch.from_numpy(published[part][f'{layer}.weight'])
    if weight.ndim == 2:
      change = up @ down
    else:
      change = torch.nn.functional.conv2d(down.permute(1, 0, 2, 3), up).permute(1, 0, 2, 3)
    out[part, layer] = (weight + scale * change).numpy()
  return out


def check(adapters, ours, published, pairs, scale, strength=1.0):
  for (part, layer), expected in merged_by_torch(published, pairs, strength * scale).items():
    merged = lora.merge(ours[part], adapters[part], strength)
    path = convert.names(((r'^text_model\.', ''),), [f'{layer}.weight'])[f'{layer}.weight']
    for folder in path.split('/'):
      merged = merged[folder]
    np.testing.assert_allclose(merged, convert.arrange(expected, path, merged.ndim), atol=1e-5)


@pytest.mark.parametrize('layout', LAYOUTS)
def test_merged_as_torch_merges(tmp_path, layout):
  ours, published = trees()
  file, pairs = adapters(layout)
  safetensors_numpy.save_file(file, tmp_path / 'lora.safetensors')
  tree = lora_files.load(tmp_path, ours)
  assert tree.keys() == {'unet', 'text_encoder'} and len(tree['unet']) == len(UNET)
  check(tree, ours, published, pairs, ALPHA / RANK, strength=0.7)


PEFT = {'saved': '', 'of a state': '.default', 'of another adapter': '.style_1'}


@pytest.mark.parametrize('adapter', PEFT.values(), ids=PEFT)
@pytest.mark.parametrize('settings, scale', [
    ({'lora_alpha': 8, 'r': RANK, 'peft_type': 'LORA', 'alpha_pattern': {}}, 4.0),
    ({'lora_alpha': 8, 'use_rslora': True, 'init_lora_weights': 'gaussian'}, 8 / 2**0.5),
    (None, 1.0)])
def test_names_of_peft(tmp_path, adapter, settings, scale):
  ours, published = trees()
  file, pairs = adapters('diffusers', alpha=False)
  file = {name.replace('unet.', 'base_model.model.').replace('text_encoder.', 'base_model.model.')
          .replace('.weight', f'{adapter}.weight'): tensor for name, tensor in file.items()}
  safetensors_numpy.save_file(file, tmp_path / 'adapter_model.safetensors', {'format': 'pt'})
  if settings is None:
    with pytest.warns(UserWarning, match='without its adapter_config.json.* = 1 is assumed'):
      tree = lora_files.load(tmp_path, ours)
  else:
    (tmp_path / 'adapter_config.json').write_text(json.dumps(settings))
    tree = lora_files.load(tmp_path / 'adapter_model.safetensors', ours)
  assert sum(map(len, tree.values())) == len(pairs)
  check(tree, ours, published, pairs, scale)


def test_layers_of_peft_outside_the_blocks():
  names = convert.names(rules_lora.RULES, [f'base_model.model.{layer}.lora_A.weight' for layer in (
      'conv_in', 'time_embedding.linear_1', 'encoder.layers.0.mlp.fc1', 'text_projection')])
  assert list(names.values()) == [
      'unet/conv_in/down', 'unet/time_embedding_linear_1/down',
      'text_encoder/encoder_layers_0_mlp_fc1/down', 'text_encoder/text_projection/down']
  names = convert.names(rules_lora.RULES, [
      f'text_encoder_2.base_model.model.{next(iter(TEXT))}.lora_B.default.weight'])
  assert [*names.values()] == ['text_encoder_2/encoder_layers_0_self_attn_q_proj/up']


def test_adapters_have_the_form_of_trainable_ones():
  ours, _ = trees()
  tree = lora_files.to_adapters(adapters('kohya')[0], ours)['unet']
  fresh = lora.init(jax.random.key(0), ours['unet'], RANK)
  assert jax.tree.map(lambda x: (x.shape, x.dtype), tree) == jax.tree.map(
      lambda x: (x.shape, x.dtype), fresh)


@pytest.mark.parametrize('metadata, scale', [
    ({}, 1.0), ({'unet.lora_alpha': 8, 'text_encoder.lora_alpha': 8}, 4.0),
    ({'unet.lora_alpha': 8, 'text_encoder.lora_alpha': 8, 'unet.use_rslora': True,
      'text_encoder.use_rslora': True}, 8 / 2**0.5)])
def test_alpha_in_the_header(tmp_path, metadata, scale):
  ours, published = trees()
  file, pairs = adapters('diffusers', alpha=False)
  path = tmp_path / 'pytorch_lora_weights.safetensors'
  safetensors_numpy.save_file(file, path, {'lora_adapter_metadata': json.dumps(metadata)})
  check(lora_files.load(path, ours), ours, published, pairs, scale)


def test_unknown_settings_are_refused():
  ours, _ = trees()
  file, _ = adapters('diffusers', alpha=False)
  for metadata, sentence in (({'unet.alpha_pattern': {'to_q': 2}}, 'alpha_pattern'),
                             ({'unet.peft_type': 'LOHA'}, "of the kind 'LOHA'"),
                             ({'unet.init_lora_weights': 'pissa_niter_4'}, "as 'pissa_niter_4'"),
                             ({'unet.lora_alpha': 'high'}, "is 'high', no number")):
    with pytest.raises(WeightError, match=sentence):
      lora_files.to_adapters(file, ours, metadata)


def test_the_first_layout_of_diffusers():
  block = 'mid_block.attentions.0.transformer_blocks.0.attn1'
  names = convert.names(rules_lora.RULES, [
      f'{block}.processor.to_q_lora.down.weight', f'unet.{block}.processor.to_out_lora.up.weight',
      'text_encoder.text_model.encoder.layers.3.self_attn.to_out_lora.down.weight'])
  assert list(names.values()) == [
      f'unet/{flat(block)}_to_q/down', f'unet/{flat(block)}_to_out_0/up',
      'text_encoder/encoder_layers_3_self_attn_out_proj/down']


def test_counted_blocks_are_those_of_diffusers_own_converter():
  """The names of an SDXL U-Net of latent diffusion, all kinds of layers at all places."""
  from types import SimpleNamespace

  from diffusers.loaders import lora_conversion_utils as reference
  layers = ['input_blocks_3_0_op', 'input_blocks_6_0_op', 'output_blocks_2_2_conv',
            'output_blocks_5_2_conv', 'middle_block_1_proj_in']
  inside = ('in_layers_2', 'out_layers_3', 'emb_layers_1', 'skip_connection')
  layers += [f'{block}_0_{kind}' for kind in inside for block in (
      *(f'input_blocks_{i}' for i in (1, 2, 4, 5, 7, 8)),
      *(f'output_blocks_{i}' for i in range(9)))]
  layers += [f'middle_block_{i}_{kind}' for kind in inside[:3] for i in (0, 2)]
  layers += [f'{block}_1_transformer_blocks_0_attn1_to_q' for block in (
      *(f'input_blocks_{i}' for i in (4, 5, 7, 8)), *(f'output_blocks_{i}' for i in range(6)))]
  ending = '.lora_down.weight'
  file = {f'lora_unet_{layer}{ending}': layer for layer in layers}
  ours = convert.names(rules_lora.RULES, file)
  theirs = reference._maybe_map_sgm_blocks_to_diffusers(dict(file), SimpleNamespace(
      layers_per_block=2))
  inner = {'op': 'conv', 'in_layers_2': 'conv1', 'out_layers_3': 'conv2',
           'emb_layers_1': 'time_emb_proj', 'skip_connection': 'conv_shortcut'}
  for name, layer in theirs.items():
    name = name.removeprefix('lora_unet_').removesuffix(ending)
    for old, new in inner.items():
      name = name[:-len(old)] + new if name.endswith(f'_{old}') else name
    for old, new in (('input_blocks', 'down_blocks'), ('output_blocks', 'up_blocks'),
                     ('middle_block', 'mid_block')):
      name = name.replace(old, new)
    assert ours[f'lora_unet_{layer}{ending}'] == f'unet/{name}/down'
  around = ['time_embed_0', 'time_embed_2', 'label_emb_0_0', 'label_emb_0_2', 'input_blocks_0_0',
            'out_2']
  for layer in around:
    name = reference._convert_unet_lora_key(f'lora_unet_{layer}{ending}')
    name = name.removesuffix(ending.replace('_', '.'))
    assert convert.names(rules_lora.RULES, [f'lora_unet_{layer}{ending}'])[
        f'lora_unet_{layer}{ending}'] == f'unet/{flat(name)}/down'


def test_one_table_of_what_does_not_fit():
  ours, _ = trees()
  file, _ = adapters('kohya')
  layer = f'lora_unet_{flat("down_blocks.0.resnets.0.conv1")}'
  del file[f'{layer}.lora_up.weight']
  file[f'{layer}.lora_mid.weight'] = np.zeros((2, 2, 3, 3), np.float32)
  file['lora_unet_up_blocks_9_conv.lora_down.weight'] = np.zeros((2, 4), np.float32)
  other = f'lora_unet_{flat("down_blocks.0.attentions.1.proj_in")}'
  file[f'{other}.lora_down.weight'] = np.zeros((2, 5), np.float32)
  with pytest.raises(WeightError) as caught:
    lora_files.to_adapters(file, ours, where='here')
  rows = [line.split() for line in str(caught.value).splitlines()[2:]]
  assert rows == [
      ['up', 'of', f'{layer}.lora_down.weight', 'missing', '-', '5x2'],
      [f'{layer}.lora_mid.weight', 'unused', '2x2x3x3', '-'],
      ['lora_unet_up_blocks_9_conv.lora_down.weight', 'unused', '2x4', '-'],
      [f'{other}.lora_down.weight', 'misshaped', '2x5', '2x4']]
  with pytest.raises(WeightError, match='12 tensors differ'):
    lora_files.to_adapters(adapters('kohya')[0], {'text_encoder': ours['text_encoder']})


def test_nonfinite_and_doubled_adapters_are_named():
  ours, _ = trees()
  file, _ = adapters('kohya')
  name = f'lora_te_{flat(next(iter(TEXT)))}.lora_up.weight'
  with pytest.raises(WeightError, match='are the same adapter'):
    lora_files.to_adapters(file | adapters('diffusers')[0], ours)
  file[name] = np.full_like(file[name], np.nan)
  with pytest.raises(WeightError, match=f'not finite in {name}'):
    lora_files.to_adapters(file, ours)
