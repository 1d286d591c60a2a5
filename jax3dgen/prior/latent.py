"""Stable Diffusion 1.x, 2.x and XL as priors, from folders in the layout of diffusers.

Such a folder holds model_index.json, unet/, vae/, text_encoder/, tokenizer/, scheduler/ and, for
XL, text_encoder_2/ and tokenizer_2/. x_0 is a scaled latent [B, size / 8, size / 8, 4]. `params` is
{'denoiser': ..., 'vae': ..., 'text': {folder: ...}}.
"""

import pathlib

import jax
import jax.numpy as jnp

from jax3dgen.core import hub, rng
from jax3dgen.core import image as images
from jax3dgen.core.errors import ConfigError, WeightError
from jax3dgen.core.types import Cond, float_dtype
from jax3dgen.formats import convert, rules_clip, rules_unet, rules_vae
from jax3dgen.nn import clip_text, unet, vae
from jax3dgen.prior import base, clip_tokens, schedule

PIPELINES = ('StableDiffusionPipeline', 'StableDiffusionXLPipeline')
TEXT = ('text_encoder', 'text_encoder_2')
CONFIGS = {'index': 'model_index.json', 'scheduler': 'scheduler/scheduler_config.json',
           **{part: f'{part}/config.json' for part in ('unet', 'vae', *TEXT)}}
OUTPUTS = {'epsilon': 'eps', 'v_prediction': 'v', 'sample': 'x0'}  # prediction_type -> base.TO_EPS
DTYPES = ('float32', 'bfloat16')
ALLOW_PATTERNS = ['*.json', '*/*.json', '*/*.txt', '*/*.safetensors']  # files of a hub repository
ATTENTION_T = 0.01  # noise level of `attention`, as in RecDreamer's code
IGNORE_PATTERNS = ['*.fp16.*', '*non_ema*']


def make(configs, dtype='float32', size=None, tile=None, remat=False):
  """The Prior of the nets that `configs` describes, without weights.

  `configs` has the dicts of CONFIGS by name; with text_encoder_2 it is an SDXL. Weights and
  computations are of `dtype`, float32 or bfloat16 (see `types.float_dtype`). Images are encoded at
  size x size pixels (None: the size of the training images), in tiles of tile x tile latent cells
  where that is given. `remat` recomputes blocks in the backward pass. WeightError where the configs
  are of other nets.
  """
  types = types_of(dtype)
  net = denoiser(configs, dtype, remat)
  autoencoder = vae.AutoencoderKL(**vae.sizes(configs['vae']), remat=remat, **types)
  large = TEXT[1] in configs
  encoders = {part: clip_text.ClipText(**clip_text.sizes(configs[part]), penultimate=large, **types)
              for part in TEXT if part in configs}
  levels, output = noise(configs['scheduler'])
  cell = 2**(len(autoencoder.widths) - 1)
  size = size or cell * configs['unet']['sample_size']
  least = cell * 2**(len(net.channels) - 1)
  if size % least:
    raise ConfigError(f'This prior cannot encode {size} pixels: a multiple of {least} is needed.')

  def init(key):
    ids = jnp.zeros((1, len(encoders), clip_tokens.LENGTH), jnp.int32)
    text = {part: encoder.init(rng.stream(key, part), ids[:, 0])['params']
            for part, encoder in encoders.items()}
    picture = jnp.zeros((1, 8 * cell, 8 * cell, 3))
    vae_params = autoencoder.init(rng.stream(key, 'vae'), picture)['params']
    cond = embed({'text': text}, ids)
    x0 = jnp.zeros((1, 8, 8, autoencoder.latent))
    variables = net.init(rng.stream(key, 'denoiser'), x0, jnp.zeros(1), cond.tokens,
                         cond.extra)
    return {'denoiser': variables['params'], 'vae': vae_params, 'text': text}

  def embed(params, ids):
    out = [encoder.apply({'params': params['text'][part]}, ids[:, i])
           for i, (part, encoder) in enumerate(encoders.items())]
    tokens = jnp.concatenate([tokens for tokens, _ in out], -1).astype(jnp.float32)
    if not large:
      return Cond(tokens)
    pooled = out[-1][1].astype(jnp.float32)
    if configs['index'].get('force_zeros_for_empty_prompt', True):
      nonempty = ids[:, 0, 1] != ids[:, 0].max(-1)  # the empty prompt has its end there
      tokens, pooled = (base.broadcast(nonempty, x) * x for x in (tokens, pooled))
    sizes = jnp.broadcast_to(jnp.array([[size, size, 0, 0, size, size]]), (len(ids), 6))
    width = configs['unet']['addition_time_embed_dim']
    return Cond(tokens, unet.size_embedding(pooled, sizes, width))

  def network(params, x_t, t, cond, **options):
    level = schedule.index(t, len(levels)).astype(jnp.float32)
    return net.apply({'params': params['denoiser']}, x_t, level, cond.tokens, cond.extra,
                          **options)

  def attention(params, key, image, ids):
    """Mean over the words and over all layers except those of the finest level."""
    x0 = encode(params, image)
    t = jnp.full(len(x0), ATTENTION_T)
    x_t = base.add_noise(noise_schedule, x0, t, jax.random.normal(key, x0.shape))
    _, collections = network(params, x_t, t, embed(params, ids), mutable='attention')
    place = jnp.arange(ids.shape[-1])[None]
    words = (place > 0) & (place < ids[:, 0].argmax(-1)[:, None])  # between the start and the end
    _, height, width, _ = x0.shape
    maps = []
    for shares in jax.tree.leaves(collections):
      shrink = round((height * width / shares.shape[1])**0.5)
      if shrink > 1 or len(net.channels) == 1:
        weights = (shares * words[:, None]).sum(-1) / jnp.maximum(words.sum(-1), 1)[:, None]
        weights = weights.reshape(-1, height // shrink, width // shrink)
        maps.append(jax.image.resize(weights, x0.shape[:3], 'linear'))
    return jnp.mean(jnp.stack(maps), 0)

  def run(params, x, method, **scale):
    code = lambda x: autoencoder.apply({'params': params['vae']}, x, method=method)
    return vae.tiled(code, x, tile, **scale) if tile else code(x)

  def encode(params, image):
    return run(params, images.resize(image, (size, size)), 'encode', shrink=cell)

  noise_schedule = schedule.discrete(levels)
  return base.Prior(
      init=init,
      embed=embed,
      predict=base.as_eps(network, noise_schedule, output),
      encode=encode,
      decode=lambda params, x0: run(params, x0, 'decode', grow=cell),
      schedule=noise_schedule,
      attention=attention)


def types_of(dtype):
  """The dtypes of a net's products and parameters; ConfigError for one that is not of DTYPES."""
  dtype = float_dtype(dtype)
  if dtype.name not in DTYPES:
    raise ConfigError(f'The dtype of a prior is one of {", ".join(DTYPES)}, not {dtype.name}.')
  return {'dtype': dtype, 'param_dtype': dtype}


def denoiser(configs, dtype='float32', remat=False, **options):
  """The U-Net that `configs` describes, as in `make`; options are further fields of `unet.UNet`."""
  return unet.UNet(**unet.sizes(configs['unet']) | options, remat=remat, **types_of(dtype))


def noise(config):
  """(betas [N], prediction type of `base.TO_EPS`) of the dict of a scheduler_config.json."""
  kind = config.get('prediction_type', 'epsilon')
  if kind not in OUTPUTS:
    raise WeightError(f'The network predicts prediction_type={kind!r}; it must be one of '
                      f'{", ".join(OUTPUTS)}.')
  return schedule.betas(config), OUTPUTS[kind]


def load(weights=None, dtype='float32', size=None, tile=None, remat=False):
  """(prior, params, tokenize) of a folder in the layout of diffusers, or of a hub id 'owner/name'.

  tokenize(list of B texts) -> ids [B, number of text encoders, 77] int32; '' is the null prompt.
  The other arguments are those of `make`. WeightError where a part is missing, damaged or of
  another network.
  """
  folder = locate(weights)
  configs = read(folder)
  try:
    prior = make(configs, dtype, size, tile, remat)
    target = jax.eval_shape(prior.init, jax.random.key(0))
  except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
    raise WeightError(f'The configs in {folder} do not describe nets that fit each other '
                      f'({str(error).splitlines()[0]}).') from error
  of = lambda part, rules, target: convert.load_tree(folder / part, rules.RULES, target)
  params = {'denoiser': of('unet', rules_unet, target['denoiser']),
            'vae': of('vae', rules_vae, target['vae']),
            'text': {part: of(part, rules_clip, shapes)
                     for part, shapes in target['text'].items()}}
  tokenizers = [folder / tokenizer_folder(part) for part in target['text']]
  return prior, params, clip_tokens.load_tokenizers(tokenizers)


def read(folder):
  """{name: dict} of the CONFIGS of a folder; WeightError, which lists all that are missing."""
  path = folder / CONFIGS['index']
  index = hub.read_json(path) if path.is_file() else {'_class_name': PIPELINES[0]}
  name = index.get('_class_name')
  if name not in PIPELINES:
    raise WeightError(f'{folder} is a {name!r}; this prior reads one of {", ".join(PIPELINES)}.')
  parts = [part for part in CONFIGS if part != TEXT[1] or name == PIPELINES[1]]
  missing = [CONFIGS[part] for part in parts if not (folder / CONFIGS[part]).is_file()]
  for tokenizer in (tokenizer_folder(part) for part in parts if part in TEXT):
    missing += [f'{tokenizer}/{file}' for file in clip_tokens.missing(folder / tokenizer)]
  if missing:
    raise WeightError(f'{folder} lacks {", ".join(missing)}; a prior is a folder of '
                      f'{", ".join(CONFIGS[part] for part in parts)}, tokenizers and weights.')
  return {part: hub.read_json(folder / CONFIGS[part]) for part in parts}


def tokenizer_folder(part):
  """The name of the folder of the tokenizer of a text encoder."""
  return part.replace('text_encoder', 'tokenizer')


def locate(weights):
  """The folder `weights` (`hub.resolve` applies), or the one into which a hub id is downloaded.
  """
  if not weights:
    raise WeightError('This prior is not shipped: name the folder of its weights, or a hub id.')
  folder = hub.resolve(weights)
  if folder.is_dir():
    return folder
  if folder.is_file():
    raise WeightError(f'{folder} is a file; `python -m experiments.unpack_checkpoint` makes the '
                      'folder of a single-file checkpoint that can be read.')
  if folder.is_absolute() or len(folder.parts) != 2 or folder.parts[0] in ('.', '..', '~'):
    raise WeightError(f'There is no folder {folder}.')
  try:
    import huggingface_hub
  except ImportError as error:
    raise ConfigError(f'There is no folder {folder}; downloading it as a hub id needs the extra '
                      "pretrained: pip install 'jax3dgen[pretrained]'.") from error
  print(f'There is no folder {folder}; looking for it on the Hugging Face hub.')
  try:
    return pathlib.Path(huggingface_hub.snapshot_download(
        str(weights), allow_patterns=ALLOW_PATTERNS, ignore_patterns=IGNORE_PATTERNS))
  except Exception as error:  # no network, no such repository, no permission: of many classes
    raise WeightError(f'There is no folder {folder}, and it cannot be downloaded '
                      f'({str(error).splitlines()[0]}).') from error
