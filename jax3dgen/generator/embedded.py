"""The shipped image-to-3D generator: TRELLIS's first stage in small, for random solids.

32^3 occupancy <-> a latent of 8^3 x 8, and a flow transformer over its 64 patches under the 65
tokens of a 32-pixel picture. Pictures are cropped to their object with a margin of 1.2, as
`generator.pictures` does, and lie on WHITE: pass the alpha of a crop as a fourth channel.
`recipes/nets/occupancy` and `recipes/nets/generator` train the two folders of weights.
"""

import importlib.resources
import pathlib

import jax
import jax.numpy as jnp

from jax3dgen.core import hub
from jax3dgen.core import weights as weight_files
from jax3dgen.core.errors import WeightError
from jax3dgen.formats import features
from jax3dgen.generator import networks
from jax3dgen.nn import dit, voxel_autoencoder

RESOLUTION = 32  # voxels per side of the occupancy
WHITE = 1.0  # background of the pictures
PIXEL_MIDDLE, PIXEL_SPREAD = 0.8, 0.35  # of the training pictures
EPSILON = 1e-5  # of the layer norm of the features
# Of `flow.sample`, with zeros for the null condition.
SAMPLER = {'steps': 12, 'rescale_t': 3.0, 'guidance': 1.0, 'interval': (0.5, 1.0)}


def shipped(name):
  """The folder of shipped weights `name`, 'occupancy' or 'generator'."""
  return pathlib.Path(str(importlib.resources.files('jax3dgen') / 'assets' / name))


def load(generator=None, occupancy=None):
  """(Generator, params) of two folders of weights; None or '' are the shipped ones.

  Both are folders that `experiments.train_net` writes. WeightError where one is incomplete,
  damaged or of other networks, or the two do not fit together.
  """
  encoder, decoder, params = read_autoencoder(occupancy)
  path = hub.resolve(generator or shipped('generator'))
  image, image_params = image_network()

  def network(sizes):
    flow = flow_transformer(sizes, encoder.latent, context(image, image_params))
    return flow, jax.eval_shape(lambda key: init_flow(flow, encoder, key), jax.random.key(0))
  flow, flow_params = _read(path, network)
  params = params | {'flow': flow_params['flow'], 'image': image_params}
  normalization = flow_params['mean'], flow_params['spread']
  return networks.assemble(flow, decoder, encoder, image, shape(encoder), normalization), params


def shape(encoder):
  """(r, r, r, c) of the latents of an encoder."""
  side = RESOLUTION // 2 ** (len(encoder.channels) - 1)
  return side, side, side, encoder.latent


def autoencoder(sizes):
  """(encoder, decoder) of sizes {'channels' from fine to coarse, 'latent', 'depth', 'middle'}."""
  channels, shared = tuple(sizes['channels']), {'depth': sizes['depth'], 'middle': sizes['middle']}
  return (voxel_autoencoder.Encoder(channels, sizes['latent'], **shared),
          voxel_autoencoder.Decoder(channels[::-1], **shared))


def init_autoencoder(encoder, decoder, key):
  """New params {'encoder', 'decoder'}."""
  return networks.assemble(None, decoder, encoder, None, shape(encoder)).init(key)


def read_autoencoder(folder=None):
  """(encoder, decoder, params {'encoder', 'decoder'}) of a folder of weights, as `load`."""
  def network(sizes):
    nets = autoencoder(sizes)
    return nets, jax.eval_shape(lambda key: init_autoencoder(*nets, key), jax.random.key(0))
  nets, params = _read(hub.resolve(folder or shipped('occupancy')), network)
  return *nets, params


def context(image, params):
  """The channels of the tokens of an ImageNetwork."""
  pixels = jax.ShapeDtypeStruct((1, image.size, image.size, 3), jnp.float32)
  return jax.eval_shape(image.tokens, params, pixels).shape[-1]


def flow_transformer(sizes, latent, context):
  """The flow transformer of sizes {'width', 'depth', 'heads', 'patch'} for latents of `latent` and
  tokens of `context` channels."""
  return dit.FlowTransformer(outputs=latent, width=sizes['width'], depth=sizes['depth'],
                             heads=sizes['heads'], patch=sizes['patch'], context=context)


def init_flow(flow, encoder, key):
  """New params {'flow', 'mean' [c], 'spread' [c]}: the last two normalise latents."""
  params = networks.assemble(flow, None, None, None, shape(encoder)).init(key)
  return params | {'mean': jnp.zeros(encoder.latent), 'spread': jnp.ones(encoder.latent)}


def image_network():
  """(ImageNetwork, params) of the shipped features.

  Tokens [B, 1 + patches, C + 3 p^2]: class token and patches of C channels, each normalised over
  them, beside the p x p pixels of the patch, scaled; for the class token these are 0.
  """
  apply, params = features.load()

  def tokens(params, images):
    cls, patches = apply(params, images)
    batch, rows, columns, width = patches.shape
    x = jnp.concatenate([cls[:, None], patches.reshape(batch, -1, width)], 1)
    x = (x - x.mean(-1, keepdims=True)) * jax.lax.rsqrt(x.var(-1, keepdims=True) + EPSILON)
    side = images.shape[1] // rows
    pixels = images.reshape(batch, rows, side, columns, side, 3).transpose(0, 1, 3, 2, 4, 5)
    pixels = (pixels.reshape(batch, rows * columns, -1) - PIXEL_MIDDLE) / PIXEL_SPREAD
    return jnp.concatenate([x, jnp.pad(pixels, ((0, 0), (1, 0), (0, 0)))], -1)

  init = lambda key: apply.net.init(key, jnp.zeros((1, features.SIZE, features.SIZE, 3)))['params']
  return networks.ImageNetwork(init, tokens, features.SIZE, WHITE), params


def _read(path, network):
  """(what `network` says of the sizes in config.json, parameters) of a folder of weights.

  network: (sizes) -> (anything, tree of ShapeDtypeStructs that the file must have).
  """
  file = path / 'weights.safetensors'
  weight_files.check_seal(path, (file.name, 'config.json'))
  try:
    nets, target = network(hub.read_json(path / 'config.json')['net'])
  except (KeyError, TypeError, ValueError, AttributeError, ZeroDivisionError) as error:
    raise WeightError(f'{path / "config.json"} has no sizes of such networks.') from error
  return nets, weight_files.load_tree(file, target)
