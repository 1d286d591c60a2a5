"""Published files of TRELLIS's first stage (Xiang et al. 2025).

A folder holds pipeline.json, which names models as 'ckpts/NAME', and ckpts/NAME.json with
ckpts/NAME.safetensors for each of them. Every fault raises a WeightError.
"""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from jax3dgen.core import hub, weights
from jax3dgen.core.errors import WeightError
from jax3dgen.formats import convert, rules_trellis
from jax3dgen.nn import dit, layers, voxel_autoencoder

PIPELINE = 'TrellisImageTo3DPipeline'
# part: (its name in pipeline.json, its class in ckpts/NAME.json)
PARTS = {'flow': ('sparse_structure_flow_model', 'SparseStructureFlowModel'),
         'decoder': ('sparse_structure_decoder', 'SparseStructureDecoder'),
         'encoder': ('sparse_structure_encoder', 'SparseStructureEncoder')}
SAMPLER = 'FlowEulerGuidanceIntervalSampler'
# Settings that must have one value, and those that `_net` reads or that have no effect on results.
ONLY = {'flow': {'pe_mode': 'ape'}, 'decoder': {'out_channels': 1, 'norm_type': 'layer'},
        'encoder': {'in_channels': 1, 'norm_type': 'layer'}}
BLOCKS = {'channels', 'latent_channels', 'num_res_blocks', 'num_res_blocks_middle', 'use_fp16'}
FREE = {'flow': {'cond_channels', 'in_channels', 'mlp_ratio', 'model_channels', 'num_blocks',
                 'num_head_channels', 'num_heads', 'out_channels', 'patch_size', 'qk_rms_norm',
                 'qk_rms_norm_cross', 'resolution', 'use_checkpoint', 'use_fp16'},
        'decoder': BLOCKS, 'encoder': BLOCKS}
RESOLUTION = 16  # voxels per side of a latent, where no flow transformer says it


def pipeline(folder):
  """The 'args' of the pipeline.json of a folder."""
  path = folder / 'pipeline.json'
  if not path.is_file():
    raise WeightError(f'{folder} lacks pipeline.json; TRELLIS is a folder of pipeline.json and '
                      'ckpts/.')
  config = hub.read_json(path)
  if config.get('name') != PIPELINE:
    raise WeightError(f'{path} is of a {config.get("name")!r}; it must be a {PIPELINE}.')
  args = config.get('args')
  if not isinstance(args, dict) or not isinstance(args.get('models'), dict):
    raise WeightError(f'{path} names no models: it has no "args" with "models".')
  return args


def stem(folder, part, models):
  """The path of the files of a part without their ending; None where pipeline.json names none."""
  key, _ = PARTS[part]
  name = models.get(key)
  if name is None:
    return None
  relative = pathlib.PurePosixPath(name) if isinstance(name, str) else pathlib.PurePosixPath('..')
  if relative.is_absolute() or '..' in relative.parts or '\0' in str(relative):
    raise WeightError(f'{folder / "pipeline.json"} names the {key} {name!r}, which is not a path '
                      'in its folder.')
  return folder / relative


def read(path, part, dtype, remat=False):
  """(net, its settings, its parameters) of the files `path`.json and `path`.safetensors.

  `dtype` is that of the blocks; the rest is float32. `remat` recomputes blocks in
  the backward pass.
  """
  config_path, file = (path.with_name(f'{path.name}.{end}') for end in ('json', 'safetensors'))
  for needed in (config_path, file):
    if not needed.is_file():
      raise WeightError(f'{needed} is missing; pipeline.json names it as the {PARTS[part][0]}.')
  config = hub.read_json(config_path)
  name, args = config.get('name'), config.get('args')
  if name != PARTS[part][1]:
    raise WeightError(f'{config_path} describes a {name!r}; the {PARTS[part][0]} is a '
                      f'{PARTS[part][1]}.')
  if not isinstance(args, dict):
    raise WeightError(f'{config_path} is damaged: it has no "args".')
  layers.check_settings(f'{name} in {config_path}', args, ONLY[part], FREE[part])
  tensors = dict(weights.open_all(file))
  types = {'dtype': dtype, 'param_dtype': dtype, 'remat': remat}
  try:
    net, inputs = _net(part, args, types)
    target = jax.eval_shape(net.init, jax.random.key(0), *inputs)['params']
  except (KeyError, TypeError, ValueError, ZeroDivisionError, OverflowError) as error:
    raise WeightError(f'{config_path} has missing or invalid sizes '
                      f'({type(error).__name__}: {str(error).splitlines()[0]}).') from error
  if part == 'flow':
    _check_positions(file, tensors.pop('pos_emb', None), args['resolution'] // net.patch, net.width)
  return net, args, convert.to_tree(tensors, rules_trellis.RULES, target, where=file)


def _net(part, args, types):
  """(net, inputs that initialise it) of the settings `args`."""
  count = lambda name, *default: _whole(name, args.get(name, *default))
  zeros = lambda *shape: jax.ShapeDtypeStruct((1, *shape), jnp.float32)
  if part == 'flow':
    resolution, width = count('resolution'), count('model_channels')
    channels, patch = count('in_channels'), count('patch_size', 2)
    heads = args.get('num_heads') or width // count('num_head_channels', 64)
    if count('out_channels') != channels:
      raise ValueError('in_channels and out_channels differ')
    if resolution % patch or width % _whole('num_heads', heads):
      raise ValueError('resolution is no multiple of patch_size, or model_channels of num_heads')
    net = dit.FlowTransformer(
        outputs=channels, context=count('cond_channels'), width=width, depth=count('num_blocks'),
        heads=heads, mlp_ratio=float(args.get('mlp_ratio', 4)), patch=patch,
        qk_norm=args.get('qk_rms_norm') or False,
        qk_norm_cross=args.get('qk_rms_norm_cross') or False, **types)
    return net, (zeros(resolution, resolution, resolution, channels), zeros(),
                 zeros(1, net.context))
  channels = tuple(_whole('channels', n) for n in args['channels'])
  fields = {'channels': channels, 'depth': count('num_res_blocks'),
            'middle': count('num_res_blocks_middle', 2), **types}
  latent, side = count('latent_channels'), 2 ** (len(channels) - 1)
  if part == 'decoder':
    return voxel_autoencoder.Decoder(**fields), (zeros(1, 1, 1, latent),)
  return voxel_autoencoder.Encoder(latent=latent, **fields), (zeros(side, side, side),)


def _whole(name, value):
  if type(value) is not int or value < 1:
    raise ValueError(f'{name} is {value!r}, not a whole number of at least 1')
  return value


def _check_positions(file, table, side, width):
  """WeightError unless the table of positions of a file is the one that the net computes."""
  expected = dit.positions(side, width)
  if table is None:
    raise WeightError(f'{file} lacks the tensor pos_emb, the table of positions.')
  # The tolerance is that of a table in float16.
  if table.shape != expected.shape or np.abs(table - expected).max() > 1e-3:
    raise WeightError(f'{file} holds the weights of another network: its pos_emb is not the table '
                      f'of sines and cosines of {side} x {side} x {side} places and {width} '
                      'channels.')


def sampler(folder):
  """{'steps', 'guidance', 'interval', 'rescale_t', 'sigma_min'} of pipeline.json, in the terms of
  `generator.flow.integrate`, which has no sigma_min; what is not given has TRELLIS's default."""
  path = folder / 'pipeline.json'
  config = pipeline(folder).get('sparse_structure_sampler')
  if not isinstance(config, dict) or config.get('name') != SAMPLER:
    kind = config.get('name') if isinstance(config, dict) else config
    raise WeightError(f'{path} has the sampler {kind!r} of the sparse structure; it must be a '
                      f'{SAMPLER}.')
  try:
    args, params = ({**config.get(key, {})} for key in ('args', 'params'))
    low, high = params.get('cfg_interval', (0.0, 1.0))
    return {'steps': _whole('steps', params.get('steps', 50)),
            'guidance': float(params.get('cfg_strength', 3.0)),
            'interval': (float(low), float(high)),
            'rescale_t': float(params.get('rescale_t', 1.0)),
            'sigma_min': float(args['sigma_min'])}
  except (KeyError, TypeError, ValueError) as error:
    raise WeightError(f'{path} has missing or invalid settings of the sparse_structure_sampler '
                      f'({error!r}).') from error
