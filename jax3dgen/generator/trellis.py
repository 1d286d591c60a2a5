"""TRELLIS's first stage (Xiang et al. 2025) from its published files: images to occupancy.

x_0 is a latent [B, 16, 16, 16, 8], the occupancy has 64 voxels per side, and the condition is the
1374 tokens of a DINOv2 ViT-L/14 with registers.
"""

import glob

import jax
import jax.numpy as jnp
import numpy as np

from jax3dgen.core import hub, types
from jax3dgen.core.errors import ConfigError, WeightError
from jax3dgen.formats import dinov2
from jax3dgen.formats import trellis as files
from jax3dgen.generator import networks

DTYPES = ('float32', 'bfloat16')
EPSILON = 1e-5  # of the layer norm of the tokens


def load(folder, dtype='float32', image=None, remat=False):
  """(generator, params) of a folder with pipeline.json and ckpts/.

  The sparse-structure flow transformer, decoder and encoder are read where pipeline.json names
  them (the published one names no encoder: add "sparse_structure_encoder"); other models are
  ignored. The image network is read where a folder in transformers' layout or a safetensors file of
  the authors' lies in `folder` under a name that begins with `image_cond_model` of pipeline.json
  (dinov2_vitl14_reg), or at the path `image`; without it, only `embed` raises a WeightError.

  `dtype`, float32 or bfloat16 (see `types.float_dtype`), is that of weights and products in the
  blocks; norms, the first and last layers and the image network are float32. `remat` recomputes
  blocks in the backward pass. WeightError where a file is missing, damaged or of another network.
  """
  dtype = types.float_dtype(dtype)
  if dtype.name not in DTYPES:
    raise ConfigError(f'The dtype of a generator is one of {", ".join(DTYPES)}, not {dtype.name}.')
  folder = hub.resolve(folder)
  args = files.pipeline(folder)
  nets, settings, params = {}, {}, {}
  for part in files.PARTS:
    path = files.stem(folder, part, args['models'])
    if path is not None:
      nets[part], settings[part], params[part] = files.read(path, part, dtype, remat)
  if not nets:
    raise WeightError(f'{folder / "pipeline.json"} names none of the models that are read: '
                      f'{", ".join(key for key, _ in files.PARTS.values())}.')
  channels = {part: settings[part].get('in_channels' if part == 'flow' else 'latent_channels')
              for part in nets}
  if len(set(channels.values())) > 1:
    raise WeightError(f'The models of {folder} have latents of different numbers of channels: '
                      + ', '.join(f'{n} ({part})' for part, n in channels.items()) + '.')
  side = settings.get('flow', {}).get('resolution', files.RESOLUTION)
  shape = (side, side, side, *set(channels.values()))
  path = image or _beside(folder, args.get('image_cond_model'))
  network = None
  if path is not None:
    network, params['image'] = _image(path, nets.get('flow'))
  generator = networks.assemble(*map(nets.get, ('flow', 'decoder', 'encoder')), network, shape)
  if path is None:
    generator = generator._replace(embed=_missing(folder, args.get('image_cond_model')))
  return generator, params


def sampler(folder):
  """{'steps', 'guidance', 'interval', 'rescale_t', 'sigma_min'} of the pipeline.json of a folder,
  in the terms of `flow.integrate`, which has no sigma_min."""
  return files.sampler(hub.resolve(folder))


def _beside(folder, name):
  """The path of the image network `name` in a folder, a folder or a file; None where it is missing.
  """
  near = list(folder.glob(f'{glob.escape(str(name))}*'))
  return min(near, key=lambda path: (not path.is_dir(), path.suffix != '.safetensors', path.name),
             default=None)


def _missing(folder, name):
  """`embed` without an image network."""
  def embed(params, images):
    raise WeightError(f'The image network {name} is missing: it is looked for as the folder '
                      f'{folder}/{name} in the layout of transformers, or as the file '
                      f'{folder}/{name}*.safetensors of its authors; load(..., image=PATH) names '
                      'another place.')
  return embed


def _image(path, flow):
  """(ImageNetwork, its parameters) of a DINOv2 whose tokens the flow transformer takes."""
  net, params = dinov2.read(path)
  if flow is not None and net.width != flow.context:
    raise WeightError(f'{path} has tokens of {net.width} channels, but the flow transformer takes '
                      f'{flow.context}.')
  return image_network(net), params


def image_network(net):
  """The ImageNetwork of a `vit.ViT`: all tokens before its last norm, normalised without scales."""
  net = net.clone(tokens=True)
  size = net.grid * net.patch
  middle, spread = (np.asarray(x, np.float32).reshape(1, 1, 1, 3)
                    for x in (dinov2.MEAN, dinov2.SPREAD))

  def tokens(params, images):
    x = net.apply({'params': params}, (images - middle) / spread)
    x = x - x.mean(-1, keepdims=True)
    return x * jax.lax.rsqrt(jnp.mean(jnp.square(x), -1, keepdims=True) + EPSILON)

  init = lambda key: net.init(key, jnp.zeros((1, net.patch, net.patch, 3)))['params']
  return networks.ImageNetwork(init, tokens, size)
