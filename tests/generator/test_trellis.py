"""TRELLIS from folders in the published layout with random weights, against PyTorch in double
precision."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import numpy as safetensors_numpy
import torch

from jax3dgen.core.errors import ConfigError, WeightError
from jax3dgen.core.types import Cond
from jax3dgen.formats import convert, rules_dinov2
from jax3dgen.generator import flow, trellis
from jax3dgen.nn import vit
from tests import published
from tests import trellis_reference as reference

ARGS = {'flow': reference.FLOW | {'cond_channels': 64}, 'decoder': reference.DECODER,
        'encoder': reference.ENCODER}
IMAGE = {'width': 64, 'depth': 2, 'heads': 1, 'grid': 3}  # of 42 pixels


@pytest.fixture(scope='module')
def nets():
  """{part: PyTorch's net}."""
  nets = {part: reference.random_net(part, args) for part, args in ARGS.items()}
  return nets | {'image': published.randomise(reference.ImageNet(**IMAGE), 0.1).double()}


@pytest.fixture(scope='module')
def folder(nets, tmp_path_factory):
  """A folder of all nets."""
  path = reference.write(tmp_path_factory.mktemp('trellis'),
                         **{part: (nets[part], args) for part, args in ARGS.items()})
  tensors = {name: x.float().numpy() for name, x in nets['image'].state_dict().items()}
  safetensors_numpy.save_file(tensors, path / 'dinov2_vitl14_reg4_pretrain.safetensors')
  return path


@pytest.fixture(scope='module')
def loaded(folder):
  return trellis.load(folder)


def inputs():
  rng = np.random.default_rng(0)
  normal = lambda *shape: rng.normal(size=shape).astype(np.float32)
  return normal(2, 4, 4, 4, 8), np.float32([0.7, 0.05]), normal(2, 5, 64)


def expected_velocity(nets, x, t, tokens):
  return reference.from_torch(nets['flow'](*map(reference.to_torch, (x, 1000 * t, tokens))))


@pytest.fixture(scope='module')
def velocity(loaded):
  return jax.jit(loaded[0].velocity)


def test_velocity_equals_pytorch(nets, loaded, velocity):
  x, t, tokens = inputs()
  v = velocity(loaded[1], x, t, Cond(tokens))
  np.testing.assert_allclose(v, expected_velocity(nets, x, t, tokens), atol=5e-5)


def test_autoencoder_equals_pytorch(nets, loaded):
  generator, params = loaded
  assert generator.shape == (4, 4, 4, 8)
  x0, _, _ = inputs()
  logits = jax.jit(generator.decode)(params, x0)
  expected = reference.from_torch(nets['decoder'](reference.to_torch(x0)))[..., 0]
  np.testing.assert_allclose(logits, expected, atol=5e-5)
  occupancy = np.asarray(logits > 0)
  latent = jax.jit(generator.encode)(params, occupancy)
  expected = reference.from_torch(nets['encoder'](reference.to_torch(occupancy[..., None])))
  np.testing.assert_allclose(latent, expected, atol=5e-5)


def test_tokens_equal_pytorch(nets, loaded):
  generator, params = loaded
  images = np.random.default_rng(0).random((2, 42, 42, 4), np.float32)
  cond = jax.jit(generator.embed)(params, images)
  assert cond.tokens.shape == (2, 1 + 4 + 9, 64)
  black = images[..., :3] * images[..., 3:]
  expected = nets['image'](torch.from_numpy(black).double().movedim(-1, 1)).detach()
  np.testing.assert_allclose(cond.tokens, expected, atol=5e-5)
  # Other sizes are resized to that of the network.
  twice = np.repeat(np.repeat(images, 2, 1), 2, 2)
  assert jax.eval_shape(generator.embed, params, twice).tokens.shape == (2, 14, 64)


def test_samples_equal_pytorch(nets, loaded, velocity):
  """Euler steps with guidance in its interval, written as a loop over PyTorch's net."""
  noise, _, tokens = inputs()
  cond, null = Cond(tokens), Cond(np.zeros_like(tokens))
  generator = loaded[0]._replace(velocity=velocity)
  x0 = flow.integrate(noise, generator, loaded[1], cond, null, steps=4, guidance=2.0)
  grid, x = flow.time_grid(4, 3.0), np.float64(noise)
  for t, after in zip(grid[:-1], grid[1:]):
    v = expected_velocity(nets, x, np.full(2, t), tokens)
    if t >= 0.5:
      v = 3 * v - 2 * expected_velocity(nets, x, np.full(2, t), null.tokens)
    x = x - (t - after) * v
  np.testing.assert_allclose(x0, x, atol=1e-4)


def test_bfloat16_is_near(nets, folder):
  generator, params = trellis.load(folder, dtype='bf16')
  dtypes = {part: {str(x.dtype) for x in jax.tree.leaves(params[part])} for part in params}
  assert dtypes == {'flow': {'float32', 'bfloat16'}, 'decoder': {'float32', 'bfloat16'},
                    'encoder': {'float32', 'bfloat16'}, 'image': {'float32'}}
  x, t, tokens = inputs()
  error = published.apart(jax.jit(generator.velocity)(params, x, t, Cond(tokens)),
                          expected_velocity(nets, x, t, tokens))
  assert 1e-4 < error < 0.1
  expected = reference.from_torch(nets['decoder'](reference.to_torch(x)))[..., 0]
  assert 1e-4 < published.apart(jax.jit(generator.decode)(params, x), expected) < 0.1


@pytest.mark.parametrize('parts', [('flow',), ('flow', 'decoder'), ('decoder',)])
def test_folders_of_some_models(nets, parts, tmp_path):
  reference.write(tmp_path, **{part: (nets[part], ARGS[part]) for part in parts})
  generator, params = trellis.load(tmp_path)
  assert set(params) == set(parts)
  assert generator.shape == ((4, 4, 4, 8) if 'flow' in parts else (16, 16, 16, 8))
  x, t, tokens = inputs()
  calls = {'flow': lambda: generator.velocity(params, x, t, Cond(tokens)),
           'decoder': lambda: generator.decode(params, x),
           'encoder': lambda: generator.encode(params, jnp.zeros((1, 16, 16, 16)))}
  for part, call in calls.items():
    if part in parts:
      jax.eval_shape(call)
    else:
      with pytest.raises(WeightError, match=f'has no {part}'):
        call()
  with pytest.raises(WeightError, match='dinov2_vitl14_reg is missing: it is looked for as') as e:
    generator.embed(params, jnp.zeros((1, 42, 42, 3)))
  assert str(tmp_path) in str(e.value)


def test_image_network_at_another_place(nets, folder, tmp_path):
  reference.write(tmp_path, decoder=(nets['decoder'], ARGS['decoder']))
  place = folder / 'dinov2_vitl14_reg4_pretrain.safetensors'
  _, params = trellis.load(tmp_path, image=place)
  assert params['image']['register_tokens'].shape == (1, 4, 64)
  reference.write(tmp_path, flow=(reference.random_net('flow', reference.FLOW), reference.FLOW))
  with pytest.raises(WeightError, match='tokens of 64 channels, but the flow transformer takes 32'):
    trellis.load(tmp_path, image=place)


def test_new_parameters_have_the_shapes_of_the_files(loaded):
  generator, params = loaded
  shapes = jax.eval_shape(generator.init, jax.random.key(0))
  same = lambda x, y: x.shape == y.shape and x.dtype == y.dtype
  assert jax.tree.all(jax.tree.map(same, shapes, params))


def test_full_size_of_the_image_network():
  with torch.device('meta'):
    names = reference.ImageNet().state_dict()
  tensors = {name: x.shape for name, x in names.items() if name != 'mask_token'}
  net = vit.ViT(1024, 24, 16, registers=4)
  network = trellis.image_network(net)
  params = jax.eval_shape(network.init, jax.random.key(0))
  paths = set(convert.names(rules_dinov2.RULES, names).values())
  assert paths == {'/'.join(k.key for k in path) for path, _ in
                   jax.tree_util.tree_leaves_with_path(params)}
  assert sum(x.size for x in jax.tree.leaves(params)) == sum(map(np.prod, tensors.values()))
  assert network.size == 518
  tokens = jax.eval_shape(network.tokens, params, jnp.zeros((1, 518, 518, 3)))
  assert tokens.shape == (1, 1374, 1024)


def test_sampler(folder):
  assert trellis.sampler(folder) == {
      'steps': 12, 'guidance': 7.5, 'interval': (0.5, 1.0), 'rescale_t': 3.0, 'sigma_min': 1e-5}


def test_inputs_of_other_shapes_are_refused(loaded):
  generator, params = loaded
  x, t, tokens = inputs()
  with pytest.raises(ConfigError, match='takes latents'):
    generator.velocity(params, x[..., :4], t, Cond(tokens))
  with pytest.raises(ConfigError, match='takes latents'):
    generator.velocity(params, x, t, Cond(tokens[..., :9]))
  with pytest.raises(ConfigError, match='Images have the shape'):
    generator.embed(params, np.zeros((42, 42, 3)))
  with pytest.raises(ConfigError, match='float16'):
    trellis.load('anywhere', dtype='float16')


def edit(path, change):
  value = json.loads(path.read_text())
  change(value)
  path.write_text(json.dumps(value))


def drop(name, **new):
  """Removes a tensor of the flow transformer, or adds some."""
  def change(folder):
    file = folder / 'ckpts' / 'flow_net.safetensors'
    tensors = safetensors_numpy.load_file(file)
    if name:
      tensors.pop(name)
    safetensors_numpy.save_file(tensors | new, file)
  return change


def described(change):
  return lambda folder: edit(folder / 'ckpts' / 'flow_net.json', change)


def config(**args):
  return described(lambda v: v['args'].update(args))


def pipeline(change):
  return lambda folder: edit(folder / 'pipeline.json', change)


LFS = b'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n'
FAULTS = {
    'no pipeline.json': (lambda f: (f / 'pipeline.json').unlink(), 'lacks pipeline.json'),
    'damaged pipeline.json': (lambda f: (f / 'pipeline.json').write_text('{'), 'is damaged'),
    'another pipeline': (pipeline(lambda v: v.update(name='StableDiffusionPipeline')),
                         "is of a 'StableDiffusionPipeline'"),
    'no models': (pipeline(lambda v: v['args'].pop('models')), 'names no models'),
    'other models': (pipeline(lambda v: v['args']['models'].pop('sparse_structure_flow_model')),
                     'names none of the models'),
    'a path elsewhere': (
        pipeline(lambda v: v['args']['models'].update(sparse_structure_flow_model='../flow')),
        'is not a path in its folder'),
    'no config': (lambda f: (f / 'ckpts/flow_net.json').unlink(), 'flow_net.json is missing'),
    'no weights': (lambda f: (f / 'ckpts/flow_net.safetensors').unlink(),
                   'flow_net.safetensors is missing'),
    'config of a decoder': (described(lambda v: v.update(name='SparseStructureDecoder')),
                            'is a SparseStructureFlowModel'),
    'no args': (described(lambda v: v.pop('args')), 'has no "args"'),
    'no size': (described(lambda v: v['args'].pop('num_blocks')),
                'missing or invalid sizes .*num_blocks'),
    'size as text': (config(model_channels='40'), "model_channels is '40'"),
    'rotary positions': (config(pe_mode='rope'), "pe_mode='rope', which is not supported"),
    'unknown setting': (config(window=8), 'window=8, which is not supported'),
    'other heads': (config(num_heads=3), 'no multiple'),
    'other channels': (config(out_channels=4), 'in_channels and out_channels differ'),
    'pointer of Git LFS': (lambda f: (f / 'ckpts/flow_net.safetensors').write_bytes(LFS),
                           'is a pointer of Git LFS'),
    'truncated weights': (
        lambda f: (f / 'ckpts/flow_net.safetensors').write_bytes(
            (f / 'ckpts/flow_net.safetensors').read_bytes()[:-9]), 'truncated'),
    'missing tensor': (drop('blocks.1.cross_attn.to_q.weight'),
                       'blocks_1/cross_attn/to_q/kernel +missing'),
    'unused tensor': (drop(None, extra=np.zeros(3)), 'extra +unused'),
    'misshaped tensor': (drop(None, **{'out_layer.bias': np.zeros(9, np.float32)}),
                         'out_layer/bias +misshaped'),
    'not finite': (drop(None, **{'out_layer.bias': np.full(8, np.nan, np.float32)}),
                   'out_layer.bias.* is not finite'),
    'no positions': (drop('pos_emb'), 'lacks the tensor pos_emb'),
    'other positions': (drop(None, pos_emb=np.zeros((64, 40), np.float32)), 'its pos_emb is not'),
    'another resolution': (config(resolution=8), 'its pos_emb is not'),
}


@pytest.mark.parametrize('fault', FAULTS)
def test_faults_are_named(fault, nets, tmp_path):
  change, message = FAULTS[fault]
  reference.write(tmp_path, flow=(nets['flow'], ARGS['flow']))
  change(tmp_path)
  with pytest.raises(WeightError, match=message) as error:
    trellis.load(tmp_path)
  assert str(tmp_path) in str(error.value)


def test_faults_of_folders(nets, tmp_path):
  with pytest.raises(WeightError, match='lacks pipeline.json'):
    trellis.load(tmp_path / 'nowhere')
  args = ARGS['decoder'] | {'latent_channels': 4}
  reference.write(tmp_path, flow=(nets['flow'], ARGS['flow']),
                  decoder=(reference.random_net('decoder', args), args))
  with pytest.raises(WeightError, match=r'8 \(flow\), 4 \(decoder\)'):
    trellis.load(tmp_path)
  (tmp_path / 'dinov2_vitl14_reg4_pretrain.pth').write_bytes(b'PK\x03\x04')
  reference.write(tmp_path, flow=(nets['flow'], ARGS['flow']))
  with pytest.raises(WeightError, match='is a pickle'):
    trellis.load(tmp_path)


@pytest.mark.parametrize('change, message', [
    (lambda s: s.update(name='FlowEulerSampler'), "the sampler 'FlowEulerSampler'"),
    (lambda s: s['params'].update(steps='many'), "steps is 'many'"),
    (lambda s: s['args'].clear(), 'sigma_min'),
    (lambda s: s['params'].update(cfg_interval=0.5), 'invalid settings')])
def test_faults_of_the_sampler(nets, change, message, tmp_path):
  reference.write(tmp_path, decoder=(nets['decoder'], ARGS['decoder']))
  pipeline(lambda v: change(v['args']['sparse_structure_sampler']))(tmp_path)
  with pytest.raises(WeightError, match=message):
    trellis.sampler(tmp_path)
