"""The Stable Diffusion U-Nets against diffusers, with random weights that are nowhere zero.

Multi-view and reference attention are no classes of a package: there the reference is diffusers'
net with an attention of the test's own, written in PyTorch after MVDream (Shi et al. 2023, Sec.
3.1) and zero123++ (Shi et al. 2023, Sec. 2.2).
"""

import json

import diffusers
from diffusers import training_utils
from diffusers.loaders import single_file_utils
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from jax3dgen.core.errors import WeightError
from jax3dgen.formats import convert, rules_unet
from jax3dgen.nn import unet, unet_blocks
from tests.published import attention

DOWN, CROSS_DOWN, UP, CROSS_UP = 'DownBlock2D', 'CrossAttnDownBlock2D', 'UpBlock2D', (
    'CrossAttnUpBlock2D')
SD1 = {'cross_attention_dim': 768}
SD2 = {'attention_head_dim': (5, 10, 20, 20), 'cross_attention_dim': 1024,
       'use_linear_projection': True, 'upcast_attention': True, 'sample_size': 96}
SDXL = {'block_out_channels': (320, 640, 1280), 'down_block_types': (DOWN, CROSS_DOWN, CROSS_DOWN),
        'up_block_types': (CROSS_UP, CROSS_UP, UP), 'transformer_layers_per_block': (1, 2, 10),
        'attention_head_dim': (5, 10, 20), 'cross_attention_dim': 2048,
        'use_linear_projection': True, 'addition_embed_type': 'text_time',
        'addition_time_embed_dim': 256, 'projection_class_embeddings_input_dim': 2816}
MVDREAM = {'_class_name': 'MultiViewUNetModel', 'image_size': 32, 'in_channels': 4,
           'out_channels': 4, 'model_channels': 320, 'attention_resolutions': [4, 2, 1],
           'num_res_blocks': 2, 'channel_mult': [1, 2, 4, 4], 'num_head_channels': 64,
           'transformer_depth': 1, 'context_dim': 1024, 'use_checkpoint': False, 'camera_dim': 16}

# Small nets of every structure. Convolutions around the transformers, or not; as many heads a
# level, or not; transformers of several depths, or none; something added to the time, or nothing.
TINY = {'norm_num_groups': 4, 'cross_attention_dim': 12, 'layers_per_block': 1,
        'block_out_channels': (8, 16), 'down_block_types': (CROSS_DOWN, DOWN),
        'up_block_types': (UP, CROSS_UP)}
SMALL = {
    'sd1': TINY | {'attention_head_dim': 2, 'class_embed_type': 'identity'},
    'sd2': TINY | {'attention_head_dim': (1, 2), 'use_linear_projection': True},
    'sdxl': TINY | {'down_block_types': (DOWN, CROSS_DOWN), 'up_block_types': (CROSS_UP, UP),
                    'transformer_layers_per_block': (1, 2),
                    'attention_head_dim': (1, 2), 'use_linear_projection': True,
                    'addition_embed_type': 'text_time', 'addition_time_embed_dim': 4,
                    'projection_class_embeddings_input_dim': 5 + 6 * 4},
    'mvdream': TINY | {'attention_head_dim': (1, 2), 'use_linear_projection': True,
                       'class_embed_type': 'projection',
                       'projection_class_embeddings_input_dim': 16},
}
BATCH, SIZE = 4, (4, 8)


def peer(config):
  """Diffusers' net with random weights: of unit gain or less, and norms and biases that matter."""
  torch.manual_seed(0)
  net = diffusers.UNet2DConditionModel(**config).eval()
  for name, p in net.named_parameters():
    p.data = torch.randn(p.shape) / p[0].numel()**0.5 if p.ndim > 1 else (
        0.3 * torch.randn(p.shape) + float('norm' in name and name.endswith('weight')))
  return net.requires_grad_(False)


def converted(net, module, x, *args):
  """The peer's weights as parameters of `module`."""
  target = jax.eval_shape(module.init, jax.random.key(0), x, *args)['params']
  rules = ((r'^class_embedding\.', 'camera_embedding.'), *rules_unet.RULES)
  return convert.to_tree({k: v.numpy() for k, v in net.state_dict().items()}, rules, target)


def data(seed=0, size=SIZE):
  """(x, t, tokens) of a batch."""
  rng = np.random.default_rng(seed)
  normal = lambda *shape: rng.normal(size=shape).astype(np.float32)
  return normal(BATCH, *size, 4), np.float32([981, 500, 20, 1]), normal(BATCH, 7, 12)


def channels_first(x):
  return torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))


def forward_backward(net, x, t, tokens, **added):
  """(output, gradient of <output, cos(output)> by x) of the peer, channels last."""
  x = channels_first(x).requires_grad_(True)
  out = net(x, torch.from_numpy(t), torch.from_numpy(tokens), **added).sample
  (grad,) = torch.autograd.grad((out * out.detach().cos()).sum(), x)
  return out.detach().permute(0, 2, 3, 1).numpy(), grad.permute(0, 2, 3, 1).numpy()


def ours(apply, x):
  """The same of apply(x)."""
  out, pull = jax.vjp(apply, x)
  return out, pull(jnp.cos(out))[0]


def close(actual, expected, tolerance):
  """Largest error against largest entry."""
  actual, expected = np.asarray(actual, np.float32), np.asarray(expected)
  assert actual.shape == expected.shape
  assert np.abs(actual - expected).max() <= tolerance * np.abs(expected).max()


class Views:
  """Self-attention over the positions of all views of an object, written out."""

  def __init__(self, views):
    self.views = views

  def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None):
    x = hidden_states
    if encoder_hidden_states is None:
      x = x.reshape(-1, self.views * x.shape[1], x.shape[2])
    context = x if encoder_hidden_states is None else encoder_hidden_states
    return attention(attn, x, context)[0].reshape(hidden_states.shape)


class Reference:
  """Self-attention that notes its input in `states`, or attends to what is noted there as well."""

  def __init__(self, states):
    self.states, self.reading = states, False

  def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None):
    context = encoder_hidden_states
    if context is None:
      context = hidden_states
      if self.reading:
        context = torch.cat([context, self.states[id(attn)]], 1)
      else:
        self.states[id(attn)] = hidden_states
    return attention(attn, hidden_states, context)[0]


def case(name):
  """(fields, peer, extra, what the peer calls it) of a small net."""
  net, rng = peer(SMALL[name]), np.random.default_rng(5)
  if name == 'sdxl':
    pooled = rng.normal(size=(BATCH, 5)).astype(np.float32)
    ids = rng.integers(0, 1024, (BATCH, 6)).astype(np.float32)
    return (unet.sizes(dict(net.config)), net, unet.size_embedding(jnp.asarray(pooled), ids, 4),
            {'added_cond_kwargs': {'text_embeds': torch.from_numpy(pooled),
                                   'time_ids': torch.from_numpy(ids)}})
  if name == 'mvdream':
    net.set_attn_processor(Views(2))
    camera = rng.normal(size=(BATCH, 16)).astype(np.float32)
    return (unet.sizes(SMALL['sd2']) | {'views': 2, 'adds': 'camera_embedding'}, net, camera,
            {'class_labels': torch.from_numpy(camera)})
  # What a critic says of the camera enters a net that was published without one as it is.
  camera = rng.normal(size=(BATCH, 32)).astype(np.float32)
  return (unet.sizes(TINY | {'attention_head_dim': 2}), net, camera,
          {'class_labels': torch.from_numpy(camera)})


@pytest.mark.parametrize('name, remat, patches', [
    ('sd1', False, unet_blocks.PATCHES), pytest.param('sdxl', True, 0, marks=pytest.mark.slow),
    ('mvdream', False, 0)])
def test_equals_diffusers(monkeypatch, name, remat, patches):
  monkeypatch.setattr(unet_blocks, 'PATCHES', patches)  # 0: the convolutions of accelerators
  fields, net, extra, added = case(name)
  x, t, tokens = data()
  expected, expected_grad = forward_backward(net, x, t, tokens, **added)
  module = unet.UNet(**fields, remat=remat)
  params = converted(net, module, x, t, tokens, extra)
  output, grad = jax.jit(lambda p, x: ours(
      lambda x: module.apply({'params': p}, x, t, tokens, extra), x))(params, x)
  close(output, expected, 2e-4)
  close(grad, expected_grad, 1e-3)
  if name == 'mvdream':  # in half precision it has nothing that the two others have not
    return
  half = unet.UNet(**fields, dtype=jnp.bfloat16, param_dtype=jnp.bfloat16)
  output = jax.jit(lambda p, x: half.apply({'params': p}, x, t, tokens, extra))(
      jax.tree.map(lambda p: p.astype(jnp.bfloat16), params), x)
  assert output.dtype == jnp.bfloat16
  close(output, expected, 2e-2)


def test_reference_attention_equals_its_transcription():
  net = peer(SMALL['sd2'])
  processor = Reference({})
  net.set_attn_processor(processor)
  reference, image = data(1, (8, 4)), data(2)
  forward_backward(net, *reference)
  processor.reading = True
  expected, expected_grad = forward_backward(net, *image)
  module = unet.UNet(**unet.sizes(dict(net.config)))
  params = {'params': converted(net, module, *image)}

  @jax.jit
  def both(params, reference, x):
    _, states = module.apply(params, *reference, write=True)
    return ours(lambda x: module.apply(params, x, *image[1:], read=states), x)
  output, grad = both(params, reference, image[0])
  close(output, expected, 2e-4)
  close(grad, expected_grad, 1e-3)


@pytest.mark.parametrize('limit', [0, 2**20])
@pytest.mark.parametrize('stride', [0.5, 1, 2])
def test_convolutions_equal_pytorch(monkeypatch, limit, stride):
  monkeypatch.setattr(unet_blocks, 'PATCHES', limit)
  rng = np.random.default_rng(0)
  x = rng.normal(size=(2, 7, 6, 3)).astype(np.float32)
  kernel = rng.normal(size=(3, 3, 3, 5)).astype(np.float32)
  first = channels_first(x)
  if stride == 0.5:
    first, output = F.interpolate(first, scale_factor=2.0), unet_blocks.double(x, kernel)
  else:
    output = unet_blocks.convolve(x, kernel, stride)
  expected = F.conv2d(first, torch.from_numpy(kernel.transpose(3, 2, 0, 1)),
                      stride=max(int(stride), 1), padding=1).permute(0, 2, 3, 1)
  np.testing.assert_allclose(output, expected, atol=1e-4)


def test_attention_in_chunks_is_attention(monkeypatch):
  rng = np.random.default_rng(0)
  q, k, v = (rng.normal(size=(2, n, 3, 4)).astype(np.float32) for n in (12, 5, 5))
  def plain(q):
    weights = jax.nn.softmax(jnp.einsum('bnhd,bmhd->bhnm', q, k) / 2.0)
    return jnp.einsum('bhnm,bmhd->bnhd', weights, v)
  expected, expected_grad = jax.jit(lambda q: ours(plain, q))(q)
  for limit in (2 * 3 * 12 * 5, 100):  # all at once, and four chunks
    monkeypatch.setattr(unet_blocks, 'LOGITS', limit)
    output, grad = jax.jit(lambda q: ours(lambda q: unet_blocks.attend(q, k, v), q))(q)
    np.testing.assert_allclose(output, expected, atol=1e-5)
    np.testing.assert_allclose(grad, expected_grad, atol=1e-5)


def shapes(fields, context, extra=None):
  """{parameter path: shape} of a full-size net."""
  x, t, tokens = (jnp.zeros((BATCH, *shape)) for shape in ((8, 8, 4), (), (7, context)))
  tree = jax.eval_shape(unet.UNet(**fields).init, jax.random.key(0), x, t, tokens,
                        extra and jnp.zeros((BATCH, extra)))['params']
  return {'/'.join(key.key for key in path): leaf.shape
          for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


@pytest.mark.parametrize('config, count, extra', [
    (SD1, 859_520_964, None), (SD2, 865_910_724, None), (SDXL, 2_567_463_684, 2816)])
def test_published_names_and_sizes(config, count, extra):
  with torch.device('meta'):
    published = diffusers.UNet2DConditionModel(**config)
  names = convert.names(rules_unet.RULES, published.state_dict())
  sizes = shapes(unet.sizes(dict(published.config)), config['cross_attention_dim'], extra)
  nothing = {name: np.broadcast_to(0, leaf.shape) for name, leaf in published.state_dict().items()}
  arranged = {path: convert.arrange(nothing[name], path, len(sizes[path])).shape
              for name, path in names.items()}
  assert arranged == sizes
  assert sum(map(np.prod, sizes.values())) == count


def original_names(published):
  """The original code's name of each of diffusers' names, for 4 levels of 2: members counted on.

  A residual block is in_layers (norm, activation, convolution), emb_layers and out_layers.
  """
  resnet = {'norm1': 'in_layers.0', 'conv1': 'in_layers.2', 'time_emb_proj': 'emb_layers.1',
            'norm2': 'out_layers.0', 'conv2': 'out_layers.3', 'conv_shortcut': 'skip_connection'}
  ends = {'conv_in': 'input_blocks.0.0', 'conv_norm_out': 'out.0', 'conv_out': 'out.2',
          'time_embedding.linear_1': 'time_embed.0', 'time_embedding.linear_2': 'time_embed.2'}
  for name in published:
    stem, leaf = name.rsplit('.', 1)
    if stem in ends:
      yield f'{ends[stem]}.{leaf}'
      continue
    side, *rest = name.split('.')
    level = 0 if side == 'mid_block' else int(rest.pop(0))
    kind, i, *rest = rest
    if kind == 'resnets':
      rest[0] = resnet[rest[0]]
    member = int(kind == 'attentions')
    if side == 'mid_block':
      where = f'middle_block.{2 * int(i) if kind == "resnets" else 1}'
    elif kind == 'downsamplers':
      where, rest = f'input_blocks.{3 * level + 3}.0', ['op', leaf]
    elif kind == 'upsamplers':
      where = f'output_blocks.{3 * level + 2}.{2 if level else 1}'
    else:
      block = 3 * level + int(i)
      where = f'input_blocks.{block + 1}' if side == 'down_blocks' else f'output_blocks.{block}'
      where = f'{where}.{member}'
    yield '.'.join([where, *rest])


def test_mvdreams_names():
  """As diffusers' own converter reads the original names, and with a camera all of our net."""
  config = SD2 | {'layers_per_block': 2}
  with torch.device('meta'):
    published = list(diffusers.UNet2DConditionModel(**config).state_dict())
  original = list(original_names(published))
  theirs = single_file_utils.convert_ldm_unet_checkpoint(
      {f'model.diffusion_model.{name}': name for name in original}, config)
  assert dict(zip(published, original, strict=True)) == theirs
  camera = [f'camera_embed.{i}.{leaf}' for i in (0, 2) for leaf in ('weight', 'bias')]
  names = convert.names(rules_unet.MULTI_VIEW, original + camera)
  plain = convert.names(rules_unet.RULES, published)
  assert {names[old]: plain[new] for new, old in theirs.items()} == dict(
      zip(plain.values(), plain.values(), strict=True))
  assert set(names.values()) == set(shapes(unet.sizes(MVDREAM), 1024, 16))


def test_what_training_leaves_in_a_config_is_ignored(tmp_path):
  """The config that diffusers' own average of the weights writes."""
  net = diffusers.UNet2DConditionModel(**TINY)
  average = training_utils.EMAModel(net.parameters(), use_ema_warmup=True, inv_gamma=2.0,
                                    model_cls=type(net), model_config=net.config)
  average.save_pretrained(tmp_path)
  config = json.loads((tmp_path / 'config.json').read_text())
  assert {'decay', 'use_ema_warmup', 'optimization_step'} <= config.keys()
  assert unet.sizes(config) == unet.sizes(dict(net.config))


@pytest.mark.parametrize('change, word', [
    ({'_class_name': 'UNet3DConditionModel'}, 'UNet3DConditionModel'),
    ({'act_fn': 'gelu'}, 'act_fn'),
    ({'time_cond_proj_dim': 256}, 'time_cond_proj_dim'),
    ({'something_new': 1}, 'something_new=1, .* remove it from the config.json'),
    ({'use_ema': True}, 'use_ema'),
    ({'addition_embed_type': 'image'}, 'addition_embed_type'),
    ({'up_block_types': (UP, UP, CROSS_UP, CROSS_UP)}, 'up_block_types'),
    ({'attention_head_dim': (5, 10)}, '4 levels'),
    ({'block_out_channels': None}, 'sizes'),
])
def test_other_configs_are_refused(change, word):
  with torch.device('meta'):
    config = dict(diffusers.UNet2DConditionModel(**SD1).config)
  with pytest.raises(WeightError, match=word):
    unet.sizes(config | change)


@pytest.mark.slow
def test_full_size_equals_diffusers():
  """SD 1.5 with random weights on a 32x32 latent: output and gradient by the input."""
  torch.manual_seed(0)
  net = diffusers.UNet2DConditionModel(**SD1).eval().requires_grad_(False)
  rng = np.random.default_rng(0)
  x = rng.normal(size=(1, 32, 32, 4)).astype(np.float32)
  t, tokens = np.float32([500]), rng.normal(size=(1, 77, 768)).astype(np.float32)
  expected, expected_grad = forward_backward(net, x, t, tokens)
  module = unet.UNet(**unet.sizes(dict(net.config)))
  params = converted(net, module, x, t, tokens)
  output, grad = jax.jit(lambda p, x: ours(
      lambda x: module.apply({'params': p}, x, t, tokens), x))(params, x)
  close(output, expected, 2e-4)
  close(grad, expected_grad, 1e-3)
