"""Conversion of published weights: names, layouts, folders, memory, and all that is refused."""

import json
import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import numpy as safetensors_numpy
import torch

from jax3dgen.core import weights
from jax3dgen.core.errors import WeightError
from jax3dgen.formats import convert

RULES = ((r'^model\.', ''), (r'\bto_out\.0\b', 'to_out'), (r'.*\.position_ids$', ''))
SHAPES = {
    'model.down.0.conv.weight': (4, 3, 3, 3),
    'model.down.0.conv.bias': (4,),
    'model.down.0.norm1.weight': (3,),
    'model.attn.to_out.0.weight': (5, 4),
    'model.attn.proj.weight': (6, 4, 1, 1),
    'model.token_embedding.weight': (7, 4),
    'model.cls_token': (1, 1, 4),
    'model.embeddings.position_ids': (1, 7),
}
TARGET = {
    'down_0': {'conv': {'kernel': (3, 3, 3, 4), 'bias': (4,)}, 'norm1': {'scale': (3,)}},
    'attn': {'to_out': {'kernel': (4, 5)}, 'proj': {'kernel': (4, 6)}},
    'token_embedding': {'embedding': (7, 4)},
    'cls_token': (1, 1, 4),
}


def specs(shapes, dtype=jnp.float32):
  return jax.tree.map(lambda s: jax.ShapeDtypeStruct(s, dtype), shapes,
                      is_leaf=lambda x: isinstance(x, tuple))


@pytest.fixture
def tensors():
  rng = np.random.default_rng(0)
  return {name: rng.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}


def publish(folder, tensors, shards=1, name='model'):
  """Writes `tensors` as publishers do; returns the folder."""
  names = sorted(tensors)
  if shards == 1:
    safetensors_numpy.save_file(tensors, folder / f'{name}.safetensors')
    return folder
  files = {n: f'{name}-{i % shards + 1:05}-of-{shards:05}.safetensors' for i, n in enumerate(names)}
  for file in set(files.values()):
    safetensors_numpy.save_file({n: tensors[n] for n in names if files[n] == file}, folder / file)
  (folder / f'{name}.safetensors.index.json').write_text(
      json.dumps({'metadata': {}, 'weight_map': files}))
  return folder


def test_general_names():
  paths = convert.names((), [
      'down_blocks.0.resnets.1.conv1.weight', 'conv_norm_out.weight', 'norm1.linear.weight',
      'encoder.layers.3.layer_norm2.weight', 'pre_layrnorm.weight', 'ln_final.bias', 'ln_1.weight',
      'layer1.0.bn2.weight', 'embeddings.position_embedding.weight', 'blocks.0.norm2.weight',
      'embeddings.patch_embedding.weight', 'time_embedding.linear_1.weight', 'label_emb.0.0.weight',
      'cls_token', 'text_projection.weight', '0.weight'])
  assert list(paths.values()) == [
      'down_blocks_0/resnets_1/conv1/kernel', 'conv_norm_out/scale', 'norm1/linear/kernel',
      'encoder/layers_3/layer_norm2/scale', 'pre_layrnorm/scale', 'ln_final/bias', 'ln_1/scale',
      'layer1_0/bn2/scale', 'embeddings/position_embedding/embedding', 'blocks_0/norm2/scale',
      'embeddings/patch_embedding/kernel', 'time_embedding/linear_1/kernel', 'label_emb_0_0/kernel',
      'cls_token', 'text_projection/kernel', '0/kernel']


@pytest.mark.parametrize('shards', [1, 3])
def test_layouts_compute_what_torch_computes(tmp_path, tensors, shards):
  params = convert.load_tree(publish(tmp_path, tensors, shards), RULES, specs(TARGET))
  assert jax.tree.map(jnp.shape, params) == TARGET
  x = np.random.default_rng(1).normal(size=(2, 5, 5, 3)).astype(np.float32)
  conv = params['down_0']['conv']
  ours = jax.lax.conv_general_dilated(x, conv['kernel'], (1, 1), 'SAME',
                                      dimension_numbers=('NHWC', 'HWIO', 'NHWC'))
  theirs = torch.nn.functional.conv2d(
      torch.from_numpy(x).permute(0, 3, 1, 2),
      torch.from_numpy(tensors['model.down.0.conv.weight']), padding=1)
  np.testing.assert_allclose(ours, theirs.permute(0, 2, 3, 1).numpy(), atol=1e-5)
  row = np.ones((1, 4), np.float32)
  np.testing.assert_allclose(row @ params['attn']['to_out']['kernel'],
                             row @ tensors['model.attn.to_out.0.weight'].T, rtol=1e-6)
  np.testing.assert_allclose(row @ params['attn']['proj']['kernel'],
                             row @ tensors['model.attn.proj.weight'][:, :, 0, 0].T, rtol=1e-6)
  np.testing.assert_array_equal(params['token_embedding']['embedding'],
                                tensors['model.token_embedding.weight'])


def test_a_linear_layer_may_be_stored_for_a_convolution_and_along_more_axes():
  arrange = lambda shape, rank: convert.arrange(np.zeros(shape), 'a/kernel', rank).shape
  assert arrange((6, 4), 4) == (1, 1, 4, 6)
  assert arrange((6, 4, 1), 2) == (4, 6)
  assert arrange((6, 4, 3), 3) == (3, 4, 6)
  assert arrange((6, 4, 1, 2, 3), 5) == (1, 2, 3, 4, 6)
  assert convert.arrange(np.zeros((6, 4)), 'a/embedding', 2).shape == (6, 4)


@pytest.mark.parametrize('stored', [np.float16, jnp.bfloat16])
def test_half_precision_files(tmp_path, tensors, stored):
  half = {name: x.astype(stored) for name, x in tensors.items()}
  publish(tmp_path, half, name='diffusion_pytorch_model.fp16')
  params = convert.load_tree(tmp_path, RULES, specs(TARGET))
  assert {x.dtype for x in jax.tree.leaves(params)} == {jnp.dtype('float32')}
  np.testing.assert_array_equal(params['cls_token'], half['model.cls_token'].astype(np.float32))
  params = convert.load_tree(tmp_path, RULES, specs(TARGET), jnp.bfloat16)
  assert {x.dtype for x in jax.tree.leaves(params)} == {jnp.dtype(jnp.bfloat16)}


def test_the_plain_file_goes_before_its_half_precision_variant(tmp_path, tensors):
  publish(tmp_path, {'other': np.zeros(1, np.float32)}, name='diffusion_pytorch_model.fp16')
  publish(tmp_path, tensors, name='diffusion_pytorch_model')
  publish(tmp_path, {'other': np.zeros(1, np.float32)}, name='diffusion_pytorch_model.non_ema')
  convert.load_tree(tmp_path, RULES, specs(TARGET))
  convert.load_tree(tmp_path / 'diffusion_pytorch_model.safetensors', RULES, specs(TARGET))


def test_what_a_smaller_dtype_cannot_hold_is_named(tmp_path, tensors):
  tensors['model.attn.proj.weight'][2, 1] = 1e5
  publish(tmp_path, tensors)
  convert.load_tree(tmp_path, RULES, specs(TARGET))
  with pytest.raises(WeightError, match=r"'model\.attn\.proj\.weight' is not finite as float16"):
    convert.load_tree(tmp_path, RULES, specs(TARGET), np.float16)
  tensors['model.attn.proj.weight'][2, 1] = np.nan
  publish(tmp_path, tensors)
  with pytest.raises(WeightError, match=r"'model\.attn\.proj\.weight' is not finite as float32"):
    convert.load_tree(tmp_path, RULES, specs(TARGET))


def test_one_table_of_all_that_differs(tensors):
  del tensors['model.down.0.conv.bias']
  tensors['model.extra.weight'] = np.zeros((2, 3), np.float32)
  tensors['model.attn.to_out.0.weight'] = np.zeros((4, 5), np.float32)
  tensors['model.cls_token'] = np.zeros((1, 1, 4), np.int8)
  with pytest.raises(WeightError) as caught:
    convert.to_tree(tensors, RULES, specs(TARGET), where='here')
  text = str(caught.value)
  assert text.startswith('here holds the weights of another network: 4 tensors differ.')
  assert [line.split() for line in text.splitlines()[2:]] == [
      ['down_0/conv/bias', 'missing', '-', '4'],
      ['model.extra.weight', 'unused', '2x3', '-'],
      ['attn/to_out/kernel', 'misshaped', '5x4', '4x5'],
      ['cls_token', 'mistyped', 'int8', 'float32']]


def test_two_names_of_one_parameter(tensors):
  tensors['cls_token'] = tensors['model.cls_token']
  with pytest.raises(WeightError, match='both the parameter cls_token'):
    convert.to_tree(tensors, RULES, specs(TARGET))


def rewrite(change):
  def spoil(folder):
    path = folder / 'model.safetensors.index.json'
    index = json.loads(path.read_text())
    change(index['weight_map'])
    path.write_text(json.dumps(index))
  return spoil


def put(name):
  return rewrite(lambda files: files.update({'model.cls_token': name}))


def swap(files):
  files['model.cls_token'] = next(f for f in files.values() if f != files['model.cls_token'])


FOLDERS = {
    'escapes by dots': (put('../model-00001-of-00002.safetensors'), 'outside a folder'),
    'escapes from the root': (put('/etc/passwd'), 'outside a folder'),
    'escapes into a folder': (put('deep/model.safetensors'), 'outside a folder'),
    'escapes the other way': (put('..\\model.safetensors'), 'outside a folder'),
    'is a pickle': (lambda folder: ((folder / 'model.bin').touch(), put('model.bin')(folder)),
                    'is a pickle by its name'),
    'names a missing file': (put('none.safetensors'), 'missing beside it'),
    'names another file': (rewrite(swap), "names 'model.cls_token' in"),
    'lacks a tensor': (rewrite(lambda files: files.pop('model.cls_token')), 'in nowhere'),
    'has one too many': (rewrite(lambda files: files.update(more=files['model.cls_token'])),
                         'in none of its files'),
    'names nothing': (rewrite(dict.clear), 'names none'),
    'no json': (lambda folder: (folder / 'model.safetensors.index.json').write_text('{'),
                'not a complete JSON file'),
    'not a map': (lambda folder: (folder / 'model.safetensors.index.json').write_text('{}'),
                  'no weight_map'),
}


@pytest.mark.parametrize('spoil, sentence', FOLDERS.values(), ids=FOLDERS)
def test_wrong_indices_have_their_own_sentence(tmp_path, tensors, spoil, sentence):
  spoil(publish(tmp_path, tensors, shards=2))
  with pytest.raises(WeightError, match=sentence):
    convert.load_tree(tmp_path, RULES, specs(TARGET))


def test_folders_without_one_choice(tmp_path, tensors):
  with pytest.raises(WeightError, match='No such file'):
    convert.load_tree(tmp_path / 'none', RULES, specs(TARGET))
  with pytest.raises(WeightError, match='holds no weights'):
    convert.load_tree(tmp_path, RULES, specs(TARGET))
  (tmp_path / 'diffusion_pytorch_model.bin').write_bytes(b'PK\x03\x04')
  with pytest.raises(WeightError, match=r'experiments\.convert_weights .*model\.bin'):
    convert.load_tree(tmp_path, RULES, specs(TARGET))
  for name in ('a', 'b'):
    publish(tmp_path, tensors, name=name)
  with pytest.raises(WeightError, match=r'several weights \(a\.safetensors, b\.safetensors\)'):
    convert.load_tree(tmp_path, RULES, specs(TARGET))
  (tmp_path / 'b.safetensors').unlink()
  convert.load_tree(tmp_path, RULES, specs(TARGET))


@pytest.mark.parametrize('shards', [1, 2])
def test_a_manifest_is_checked_where_there_is_one(tmp_path, tensors, shards):
  publish(tmp_path, tensors, shards)
  weights.seal(tmp_path, sorted(path.name for path in tmp_path.iterdir()))
  convert.load_tree(tmp_path, RULES, specs(TARGET))
  path = next(tmp_path.glob('*.safetensors'))
  data = bytearray(path.read_bytes())
  data[-1] ^= 1
  path.write_bytes(data)
  with pytest.raises(WeightError, match='its sha256 is not that'):
    convert.load_tree(tmp_path, RULES, specs(TARGET))


def test_tensors_of_several_files_have_one_place(tmp_path):
  for name in ('a', 'b'):
    safetensors_numpy.save_file({'x': np.zeros(1)}, tmp_path / name)
  with pytest.raises(WeightError, match="both hold the tensor 'x'"):
    weights.Tensors(tmp_path / 'a', tmp_path / 'b')


MEASURE = '''
import pathlib, re, sys
import jax, jax.numpy as jnp
from jax3dgen.core import weights
from jax3dgen.formats import convert

def peak():  # of this program alone: getrusage counts what its parent took before it
  status = pathlib.Path('/proc/self/status').read_text()
  return 1024 * int(re.search(r'VmHWM:\\s+(\\d+)', status)[1])

tensors = weights.open_all(sys.argv[1])
shape = lambda name: tensors[name].shape[::-1]
target = {name: {'kernel': jax.ShapeDtypeStruct(shape(name + '.weight'), jnp.dtype(sys.argv[2]))}
          for name in sorted(n.removesuffix('.weight') for n in tensors)}
jnp.zeros(3).block_until_ready()
before = peak()
params = convert.load_tree(sys.argv[1], (), target)
print((peak() - before) / sum(x.nbytes for x in jax.tree.leaves(params)))
'''


@pytest.mark.skipif(not os.path.exists('/proc/self/status'), reason='reads /proc')
@pytest.mark.parametrize('stored, dtype', [('float32', 'float32'), ('float16', 'float32')])
def test_the_host_holds_little_more_than_the_weights(tmp_path, stored, dtype):
  rows = [3000] + [300] * 60  # one large table, as text encoders have
  tensors = {f'layer{i}.weight': np.ones((n, 1000), stored) for i, n in enumerate(rows)}
  publish(tmp_path, tensors, shards=2)
  root = pathlib.Path(__file__).resolve().parents[2]
  run = subprocess.run([sys.executable, '-c', MEASURE, tmp_path, dtype], cwd=root, check=True,
                       env=os.environ | {'JAX_PLATFORMS': 'cpu'}, capture_output=True, text=True)
  assert 0.9 < float(run.stdout) < 1.2
