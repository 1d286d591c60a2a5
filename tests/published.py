"""Torch models as oracles: random weights that are nowhere zero, in the published layout."""

import json
import os

import numpy as np
import torch


def randomise(model, spread=0.2, seed=0):
  """The model with every parameter drawn from N(0, spread^2), norms' scales around 1; in eval mode.
  """
  generator = torch.Generator().manual_seed(seed)
  with torch.no_grad():
    for name, parameter in model.named_parameters():
      center = float('norm' in name and name.endswith('weight'))
      parameter.copy_(center + spread * torch.randn(parameter.shape, generator=generator))
  return model.eval()


def tensors(model):
  """{published name: array} of a model."""
  return {name: tensor.numpy() for name, tensor in model.state_dict().items()}


def to_torch(image, requires_grad=False):
  """[B, H, W, C] -> [B, C, H, W] tensor."""
  return torch.from_numpy(np.asarray(image).transpose(0, 3, 1, 2).copy()).requires_grad_(
      requires_grad)


def from_torch(tensor):
  """[B, C, H, W] tensor -> [B, H, W, C] array."""
  return tensor.detach().numpy().transpose(0, 2, 3, 1)


def attention(attn, x, context):
  """(output, weights [B, heads, N, M]) of a layer of diffusers, written out."""
  split = lambda y: y.reshape(*y.shape[:2], attn.heads, -1).transpose(1, 2)
  q, k, v = split(attn.to_q(x)), split(attn.to_k(context)), split(attn.to_v(context))
  weights = torch.softmax(q @ k.transpose(-1, -2) / q.shape[-1]**0.5, -1)
  return attn.to_out[0]((weights @ v).transpose(1, 2).reshape(x.shape)), weights


def apart(found, expected):
  """The largest error relative to the largest entry of `expected`."""
  expected = np.asarray(expected, np.float32)
  return np.abs(np.asarray(found, np.float32) - expected).max() / np.abs(expected).max()


WORDS = ('a', 'red', 'bear', 'front', 'side', 'back', 'view', 'from', 'above')
LEVELS = {'beta_start': 0.00085, 'beta_end': 0.012, 'beta_schedule': 'scaled_linear'}


def tokenizer(folder, pad='<|endoftext|>'):
  """Writes a folder in the layout of CLIP's tokenizer that knows WORDS and single letters."""
  letters = [chr(i) for i in range(33, 127)]
  pieces, merges = dict.fromkeys([*letters, *(f'{x}</w>' for x in letters)]), []
  for word in WORDS:
    parts = [*word[:-1], f'{word[-1]}</w>']
    while len(parts) > 1:
      merges.append(f'{parts[0]} {parts[1]}')
      parts = [parts[0] + parts[1], *parts[2:]]
      pieces[parts[0]] = None
  names = [*pieces, '<|startoftext|>', '<|endoftext|>']
  folder.mkdir(parents=True, exist_ok=True)
  (folder / 'vocab.json').write_text(json.dumps({name: i for i, name in enumerate(names)}))
  (folder / 'merges.txt').write_text('\n'.join(['#version: 0.2', *dict.fromkeys(merges), '']))
  (folder / 'tokenizer_config.json').write_text(json.dumps({
      'bos_token': names[-2], 'eos_token': names[-1], 'unk_token': names[-1], 'pad_token': pad,
      'model_max_length': 77, 'tokenizer_class': 'CLIPTokenizer'}))
  return len(names)


def pipeline(folder, large=False, output='epsilon', seed=0):
  """A tiny Stable Diffusion with random weights, written to `folder` as diffusers does; SDXL where
  `large`. Returns diffusers' pipeline."""
  os.environ.setdefault('HF_HUB_OFFLINE', '1')
  import diffusers
  import transformers

  def text(kind, part, width, pad):
    count = tokenizer(folder / part.replace('text_encoder', 'tokenizer'), pad)
    config = transformers.CLIPTextConfig(
        vocab_size=count, hidden_size=width, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=77, projection_dim=12,
        bos_token_id=count - 2, eos_token_id=count - 1, pad_token_id=0)
    return randomise(kind(config), 0.3, seed)

  parts = {'text_encoder': text(transformers.CLIPTextModel, 'text_encoder', 8, '<|endoftext|>')}
  added = {}
  if large:
    parts['text_encoder_2'] = text(transformers.CLIPTextModelWithProjection, 'text_encoder_2', 12,
                                   '!')
    added = {'addition_embed_type': 'text_time', 'addition_time_embed_dim': 4,
             'projection_class_embeddings_input_dim': 12 + 6 * 4}
  parts['unet'] = randomise(diffusers.UNet2DConditionModel(
      sample_size=8, block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4,
      down_block_types=('CrossAttnDownBlock2D', 'DownBlock2D'),
      up_block_types=('UpBlock2D', 'CrossAttnUpBlock2D'), attention_head_dim=2,
      cross_attention_dim=20 if large else 8, use_linear_projection=large, **added), 0.2, seed)
  parts['vae'] = randomise(diffusers.AutoencoderKL(
      block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4, sample_size=16,
      down_block_types=('DownEncoderBlock2D',) * 2, up_block_types=('UpDecoderBlock2D',) * 2),
      0.15, seed)
  parts['scheduler'] = diffusers.DDIMScheduler(
      **LEVELS, prediction_type=output, clip_sample=False, timestep_spacing='leading',
      steps_offset=1)
  kind = diffusers.StableDiffusionXLPipeline if large else diffusers.StableDiffusionPipeline
  names = [part.replace('text_encoder', 'tokenizer') for part in parts if part.startswith('text')]
  tokenizers = {name: transformers.CLIPTokenizer.from_pretrained(str(folder / name))
                for name in names}
  others = {'add_watermarker': False} if large else {
      'safety_checker': None, 'feature_extractor': None, 'requires_safety_checker': False}
  model = kind(**parts, **tokenizers, **others)
  model.set_progress_bar_config(disable=True)
  model.save_pretrained(folder, safe_serialization=True)
  return model
