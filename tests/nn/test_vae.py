"""The autoencoder against diffusers' AutoencoderKL with random weights."""

import functools

import diffusers
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from jax3dgen.formats import convert, rules_vae
from jax3dgen.nn import vae
from tests import published

WIDTHS = (8, 16)  # with and without a convolution in the shortcut
NET = vae.AutoencoderKL(WIDTHS, 1, groups=4)
IMAGE = np.random.default_rng(0).uniform(size=(2, 12, 8, 3)).astype(np.float32)


def kind(widths, depth, groups):
  return diffusers.AutoencoderKL(
      block_out_channels=widths, layers_per_block=depth, norm_num_groups=groups,
      down_block_types=('DownEncoderBlock2D',) * len(widths),
      up_block_types=('UpDecoderBlock2D',) * len(widths))


@functools.cache
def pair():
  """(diffusers' model, the same parameters as ours)."""
  theirs = published.randomise(kind(WIDTHS, 1, 4), 0.08)
  target = jax.eval_shape(NET.init, jax.random.key(0), IMAGE)['params']
  return theirs, convert.to_tree(published.tensors(theirs), rules_vae.RULES, target)


def expected():
  """(x_0, image, gradient of the sum of x_0's cubes with respect to the image) of diffusers."""
  theirs, _ = pair()
  image = published.to_torch(IMAGE, requires_grad=True)
  x0 = 0.18215 * theirs.encode(2 * image - 1).latent_dist.mode()
  (slope,) = torch.autograd.grad((x0**3).sum(), image)
  with torch.no_grad():
    back = (0.5 * theirs.decode(x0 / 0.18215).sample + 0.5).clamp(0, 1)
  assert ((0 < back) & (back < 1)).float().mean() > 0.5
  return tuple(map(published.from_torch, (x0, back, slope)))


@jax.jit
def ours(params, image):
  x0, pull = jax.vjp(lambda image: NET.apply({'params': params}, image, method='encode'), image)
  return x0, NET.apply({'params': params}, x0, method='decode'), pull(3 * x0**2)[0]


def test_equals_diffusers():
  for output, target in zip(ours(pair()[1], IMAGE), expected(), strict=True):
    assert published.apart(output, target) < 2e-4


def test_half_precision_is_near():
  half = NET.clone(dtype=jnp.bfloat16, param_dtype=jnp.bfloat16)
  params = jax.tree.map(lambda x: x.astype(jnp.bfloat16), pair()[1])
  x0, back, _ = expected()
  run = lambda method, x: jax.jit(functools.partial(half.apply, method=method))(
      {'params': params}, x)
  assert published.apart(run('encode', IMAGE), x0) < 2e-2
  assert published.apart(run('decode', x0), back) < 2e-2


@pytest.mark.parametrize('remat', [False, True])
def test_blocks_are_recomputed_with_remat(remat):
  net = NET.clone(remat=remat)
  params = jax.eval_shape(net.init, jax.random.key(0), IMAGE)
  slope = jax.grad(lambda image, params: net.apply(params, image).sum())
  program = str(jax.make_jaxpr(slope)(IMAGE, params))
  assert program.count('remat2[') == 6 * remat  # of 2 levels and a middle, twice


def test_full_size_names_and_shapes():
  with torch.device('meta'):
    theirs = kind((128, 256, 512, 512), 2, 32).state_dict()
  target = jax.eval_shape(vae.AutoencoderKL().init, jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
  flat = convert.trees.named(target['params'])
  paths = convert.names(rules_vae.RULES, theirs)
  assert sorted(paths.values()) == sorted(flat)
  assert sum(x.size for x in flat.values()) == 83_653_863
  assert all(flat[path].size == theirs[name].numel() for name, path in paths.items())


def test_older_names_of_the_attention():
  older = {'to_q': 'query', 'to_k': 'key', 'to_v': 'value', 'to_out.0': 'proj_attn'}
  block = 'decoder.mid_block.attentions.0'
  for new, old in older.items():
    paths = convert.names(rules_vae.RULES, [f'{block}.{new}.weight', f'{block}.{old}.weight'])
    assert len(set(paths.values())) == 1


@pytest.mark.parametrize('size', [(40, 24), (9, 30)])
def test_tiles_add_up_to_the_whole(size):
  """What has no neighbourhood is the same in tiles; between grids, too."""
  x = np.random.default_rng(0).normal(size=(2, *size, 3)).astype(np.float32)
  np.testing.assert_allclose(vae.tiled(lambda x: x**2, x, 11), x**2, atol=1e-5)
  larger = lambda x: x.repeat(2, 1).repeat(2, 2)
  np.testing.assert_allclose(vae.tiled(larger, x, 11, grow=2), larger(x), atol=1e-5)
  np.testing.assert_allclose(vae.tiled(lambda x: x[:, ::3, ::3], x[:, :9 * 3, :24], 5, shrink=3),
                             x[:, :9 * 3:3, :24:3], atol=1e-5)


def test_what_fits_one_tile_is_not_cut():
  sizes = []
  vae.tiled(lambda x: sizes.append(x.shape) or x, jnp.zeros((1, 6, 8, 2)), 8)
  assert sizes == [(1, 6, 8, 2)]


def test_tiles_are_blended_where_they_overlap():
  """What a tile makes of its own mean has no seams, however different its neighbours'."""
  ramp = jnp.broadcast_to(jnp.arange(40.0)[None, None, :, None], (1, 40, 40, 1))
  out = vae.tiled(lambda x: jnp.broadcast_to(x.mean((1, 2), keepdims=True), x.shape), ramp, 16)
  apart = 12  # of the means of neighbouring tiles, which share a quarter
  assert float(jnp.abs(jnp.diff(out, axis=2)).max()) < apart / 3
  np.testing.assert_allclose(out[0, :, [0, -1], 0], [[7.5] * 40, [31.5] * 40], atol=1e-4)
