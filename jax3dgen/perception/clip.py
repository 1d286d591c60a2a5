"""CLIP (Radford et al. 2021) and OpenCLIP as a `text_image.Model`, from folders of transformers."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jax3dgen.core import hub, types
from jax3dgen.core.errors import WeightError
from jax3dgen.formats import convert, rules_clip_pair
from jax3dgen.nn import clip_text, clip_vision
from jax3dgen.nn import text_image as nets
from jax3dgen.perception import text_image
from jax3dgen.prior import clip_tokens

MEAN = (0.48145466, 0.4578275, 0.40821073)  # of its training images
SPREAD = (0.26862954, 0.26130258, 0.27577711)
# Defaults of transformers, which a config.json omits.
DEFAULTS = {'hidden_act': 'quick_gelu', 'num_hidden_layers': 12}
TEXT = DEFAULTS | {'vocab_size': 49408, 'hidden_size': 512, 'intermediate_size': 2048,
                   'num_attention_heads': 8, 'max_position_embeddings': clip_tokens.LENGTH}
VISION = DEFAULTS | {'hidden_size': 768, 'intermediate_size': 3072, 'num_attention_heads': 12,
                     'image_size': 224, 'patch_size': 32}


def find(folder=''):
  """The text-image Model of a folder of weights: a CLIP where config.json has a model_type, else
  one of the embedded world; '' is the shipped one. WeightError for other folders."""
  if folder and 'model_type' in hub.read_json(hub.resolve(folder) / 'config.json'):
    return load(folder)
  return text_image.load(folder)


def load(folder, dtype=jnp.float32):
  """The text_image.Model of a folder: config.json, weights in safetensors, and the tokenizer (see
  `clip_tokens.load_tokenizers`). WeightError where they are missing, damaged or of another network.
  """
  name, folder = Path(folder).resolve().name, hub.resolve(folder)
  path = folder / 'config.json'
  image, text, size = networks(hub.read_json(path), path, dtype)
  key = jax.random.key(0)
  try:
    target = {
        'vision': jax.eval_shape(image.init, key, jnp.zeros((1, size, size, 3)))['params'],
        'text': jax.eval_shape(text.init, key, jnp.zeros((1, text.length), jnp.int32))['params'],
        'logit_scale': jax.ShapeDtypeStruct((), jnp.float32)}
  except (TypeError, ValueError, ZeroDivisionError) as error:
    raise WeightError(f'{path} has impossible sizes ({str(error).splitlines()[0]}).') from error
  params = convert.load_tree(folder, rules_clip_pair.RULES, target)
  tokenize = clip_tokens.load_tokenizers([folder])
  unit = lambda x: nets.unit(x.astype(jnp.float32))
  embed_images = jax.jit(
      lambda params, x: unit(image.apply({'params': params}, preprocess(x, size))))
  embed_texts = jax.jit(lambda params, ids: unit(text.apply({'params': params}, ids)[1]))
  return text_image.Model(
      f'CLIP {name}',
      lambda x: embed_images(params['vision'], jnp.asarray(x, jnp.float32)),
      lambda lines: embed_texts(params['text'], tokenize(lines)[:, 0]),
      float(np.exp(params['logit_scale'])))


def preprocess(images, size):
  """The input [B, size, size, 3] of CLIP for images [B, H, W, 3] in [0, 1]: the shorter side
  resized (antialiased bicubic), a centre crop, normalised by MEAN and SPREAD."""
  sides = images.shape[1:3]
  rows, columns = (int(size * side / min(sides)) for side in sides)
  if (rows, columns) != sides:
    images = jax.image.resize(images, (len(images), rows, columns, 3), 'cubic', antialias=True)
  top, left = (rows - size) // 2, (columns - size) // 2
  images = jnp.clip(images[:, top:top + size, left:left + size], 0.0, 1.0)
  spread = lambda x: np.asarray(x, np.float32).reshape(1, 1, 1, 3)
  return (images - spread(MEAN)) / spread(SPREAD)


def networks(config, path, dtype=jnp.float32):
  """(ClipVision, ClipText, pixels per side) that a config.json (a dict, from `path`) describes.

  WeightError where it is not of CLIP.
  """
  kind = config.get('model_type')
  if kind != 'clip':
    raise WeightError(f"{path} describes a model of the kind {kind!r}, not 'clip'.")
  try:
    text, vision = TEXT | config['text_config'], VISION | config['vision_config']
    for part in (text, vision):
      clip_text.check_norm(part, 'CLIP')
      if part['hidden_act'] not in clip_text.ACTIVATIONS:
        raise ValueError(f'it has hidden_act={part["hidden_act"]!r}')
    of = lambda part: {
        'width': int(part['hidden_size']), 'depth': int(part['num_hidden_layers']),
        'heads': int(part['num_attention_heads']), 'hidden': int(part['intermediate_size']),
        'activation': part['hidden_act'], 'projection': int(config.get('projection_dim', 512)),
        'dtype': types.float_dtype(dtype)}
    size, patch = int(vision['image_size']), int(vision['patch_size'])
    return (clip_vision.ClipVision(patch=patch, grid=size // patch, **of(vision)),
            clip_text.ClipText(vocabulary=int(text['vocab_size']),
                               length=int(text['max_position_embeddings']), **of(text)), size)
  except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
    raise WeightError(f'{path} does not describe a CLIP ({str(error).splitlines()[0]}).') from error
