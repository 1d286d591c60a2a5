"""TRELLIS's first stage in PyTorch, by its description, with the names of its files: an oracle."""

import json

import numpy as np
from safetensors import numpy as safetensors_numpy
import torch
from torch import nn
from torch.nn import functional as F

from tests import published

CLASSES = {'flow': 'SparseStructureFlowModel', 'decoder': 'SparseStructureDecoder',
           'encoder': 'SparseStructureEncoder'}
KEYS = {'flow': 'sparse_structure_flow_model', 'decoder': 'sparse_structure_decoder',
        'encoder': 'sparse_structure_encoder'}
SAMPLER = {'name': 'FlowEulerGuidanceIntervalSampler', 'args': {'sigma_min': 1e-5},
           'params': {'steps': 12, 'cfg_strength': 7.5, 'cfg_interval': [0.5, 1.0],
                      'rescale_t': 3.0}}
FLOW = {'resolution': 4, 'in_channels': 8, 'out_channels': 8, 'model_channels': 40,
        'cond_channels': 32, 'num_blocks': 2, 'num_heads': 4, 'mlp_ratio': 4, 'patch_size': 1,
        'pe_mode': 'ape', 'qk_rms_norm': True, 'use_fp16': True}
DECODER = {'out_channels': 1, 'latent_channels': 8, 'num_res_blocks': 1,
           'num_res_blocks_middle': 1, 'channels': [16, 8, 4], 'use_fp16': True}
ENCODER = {'in_channels': 1, 'latent_channels': 8, 'num_res_blocks': 1,
           'num_res_blocks_middle': 1, 'channels': [4, 8, 16], 'use_fp16': True}


def positions(side, width):
  count = width // 3 // 2
  rows = []
  for place in np.ndindex(side, side, side):
    row = []
    for coordinate in place:
      angle = [coordinate / 10_000**(n / count) for n in range(count)]
      row += [*np.sin(angle), *np.cos(angle)]
    rows.append(row + [0.0] * (width - len(row)))
  return torch.tensor(np.array(rows), dtype=torch.float32)


class HeadNorm(nn.Module):

  def __init__(self, heads, width):
    super().__init__()
    self.gamma = nn.Parameter(torch.ones(heads, width))

  def forward(self, x):
    return F.normalize(x, dim=-1) * self.gamma * x.shape[-1]**0.5


class Attention(nn.Module):

  def __init__(self, width, heads, context=None, normed=False):
    super().__init__()
    self.heads = heads
    if context is None:
      self.to_qkv = nn.Linear(width, 3 * width)
    else:
      self.to_q = nn.Linear(width, width)
      self.to_kv = nn.Linear(context, 2 * width)
    self.to_out = nn.Linear(width, width)
    if normed:
      self.q_rms_norm = HeadNorm(heads, width // heads)
      self.k_rms_norm = HeadNorm(heads, width // heads)

  def forward(self, x, context=None):
    split = lambda y, n: y.reshape(*y.shape[:2], n, self.heads, -1).unbind(2)
    if context is None:
      q, k, v = split(self.to_qkv(x), 3)
    else:
      (q,), (k, v) = split(self.to_q(x), 1), split(self.to_kv(context), 2)
    if hasattr(self, 'q_rms_norm'):
      q, k = self.q_rms_norm(q), self.k_rms_norm(k)
    logits = torch.einsum('bnhd,bmhd->bhnm', q, k) / q.shape[-1]**0.5
    return self.to_out(torch.einsum('bhnm,bmhd->bnhd', logits.softmax(-1), v).flatten(2))


class Block(nn.Module):

  def __init__(self, width, heads, context, ratio, normed, normed_cross, gelu):
    super().__init__()
    self.norm2 = nn.LayerNorm(width, eps=1e-6)
    self.self_attn = Attention(width, heads, normed=normed)
    self.cross_attn = Attention(width, heads, context, normed_cross)
    hidden = int(ratio * width)
    self.mlp = nn.ModuleDict({'mlp': nn.Sequential(
        nn.Linear(width, hidden), nn.GELU(approximate=gelu), nn.Linear(hidden, width))})
    self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))

  def forward(self, x, level, tokens):
    s1, c1, g1, s2, c2, g2 = self.adaLN_modulation(level)[:, None].chunk(6, -1)
    norm = lambda x: F.layer_norm(x, x.shape[-1:], eps=1e-6)
    x = x + g1 * self.self_attn(norm(x) * (1 + c1) + s1)
    x = x + self.cross_attn(self.norm2(x), tokens)
    return x + g2 * self.mlp['mlp'](norm(x) * (1 + c2) + s2)


class Flow(nn.Module):
  """x [B, c, r, r, r], t [B] in [0, 1000], tokens [B, L, D] -> v."""

  def __init__(self, resolution, in_channels, out_channels, model_channels, cond_channels,
               num_blocks, num_heads, mlp_ratio=4, patch_size=1, pe_mode='ape', qk_rms_norm=False,
               qk_rms_norm_cross=False, use_fp16=False, gelu='tanh'):
    super().__init__()
    self.patch, width = patch_size, model_channels
    self.t_embedder = nn.ModuleDict({'mlp': nn.Sequential(
        nn.Linear(256, width), nn.SiLU(), nn.Linear(width, width))})
    self.register_buffer('pos_emb', positions(resolution // patch_size, width))
    self.input_layer = nn.Linear(in_channels * patch_size**3, width)
    self.blocks = nn.ModuleList(
        Block(width, num_heads, cond_channels, mlp_ratio, qk_rms_norm, qk_rms_norm_cross, gelu)
        for _ in range(num_blocks))
    self.out_layer = nn.Linear(width, out_channels * patch_size**3)

  def forward(self, x, t, tokens):
    p, (b, c, r, _, _) = self.patch, x.shape
    n = r // p
    angle = t[:, None] * 10_000**(-torch.arange(128, dtype=t.dtype) / 128)
    level = self.t_embedder['mlp'](torch.cat([angle.cos(), angle.sin()], -1))
    h = x.reshape(b, c, n, p, n, p, n, p).permute(0, 2, 4, 6, 1, 3, 5, 7).reshape(b, n**3, -1)
    h = self.input_layer(h) + self.pos_emb
    for block in self.blocks:
      h = block(h, level, tokens)
    h = self.out_layer(F.layer_norm(h, h.shape[-1:]))
    h = h.reshape(b, n, n, n, -1, p, p, p).permute(0, 4, 1, 5, 2, 6, 3, 7)
    return h.reshape(b, -1, r, r, r)


class ChannelNorm(nn.LayerNorm):

  def forward(self, x):
    return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class Residual(nn.Module):

  def __init__(self, width):
    super().__init__()
    self.norm1, self.norm2 = ChannelNorm(width), ChannelNorm(width)
    self.conv1 = nn.Conv3d(width, width, 3, padding=1)
    self.conv2 = nn.Conv3d(width, width, 3, padding=1)

  def forward(self, x):
    h = self.conv1(F.silu(self.norm1(x)))
    return x + self.conv2(F.silu(self.norm2(h)))


class Up(nn.Module):

  def __init__(self, width, out):
    super().__init__()
    self.conv = nn.Conv3d(width, 8 * out, 3, padding=1)

  def forward(self, x):
    x = self.conv(x)
    out = x.new_zeros(x.shape[0], x.shape[1] // 8, *(2 * n for n in x.shape[2:]))
    for a, b, d in np.ndindex(2, 2, 2):
      out[:, :, a::2, b::2, d::2] = x[:, 4 * a + 2 * b + d::8]
    return out


class Down(nn.Module):

  def __init__(self, width, out):
    super().__init__()
    self.conv = nn.Conv3d(width, out, 2, 2)

  def forward(self, x):
    return self.conv(x)


def stages(channels, depth, between):
  layers = []
  for i, width in enumerate(channels):
    if i:
      layers.append(between(channels[i - 1], width))
    layers += [Residual(width) for _ in range(depth)]
  return nn.ModuleList(layers)


class Decoder(nn.Module):
  """x_0 [B, c, r, r, r] -> logits [B, 1, R, R, R]."""

  def __init__(self, out_channels, latent_channels, num_res_blocks, channels,
               num_res_blocks_middle=2, norm_type='layer', use_fp16=False):
    super().__init__()
    self.input_layer = nn.Conv3d(latent_channels, channels[0], 3, padding=1)
    self.middle_block = nn.Sequential(
        *(Residual(channels[0]) for _ in range(num_res_blocks_middle)))
    self.blocks = stages(channels, num_res_blocks, Up)
    self.out_layer = nn.Sequential(ChannelNorm(channels[-1]), nn.SiLU(),
                                   nn.Conv3d(channels[-1], out_channels, 3, padding=1))

  def forward(self, x):
    x = self.middle_block(self.input_layer(x))
    for block in self.blocks:
      x = block(x)
    return self.out_layer(x)


class Encoder(nn.Module):
  """occupancy [B, 1, R, R, R] -> the posterior's mean [B, c, r, r, r]."""

  def __init__(self, in_channels, latent_channels, num_res_blocks, channels,
               num_res_blocks_middle=2, norm_type='layer', use_fp16=False):
    super().__init__()
    self.input_layer = nn.Conv3d(in_channels, channels[0], 3, padding=1)
    self.blocks = stages(channels, num_res_blocks, Down)
    self.middle_block = nn.Sequential(
        *(Residual(channels[-1]) for _ in range(num_res_blocks_middle)))
    self.out_layer = nn.Sequential(ChannelNorm(channels[-1]), nn.SiLU(),
                                   nn.Conv3d(channels[-1], 2 * latent_channels, 3, padding=1))

  def forward(self, x):
    x = self.input_layer(x)
    for block in self.blocks:
      x = block(x)
    return self.out_layer(self.middle_block(x)).chunk(2, 1)[0]


class ImageBlock(nn.Module):

  def __init__(self, width, heads):
    super().__init__()
    self.heads = heads
    self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
    self.attn = nn.ModuleDict({'qkv': nn.Linear(width, 3 * width), 'proj': nn.Linear(width, width)})
    self.mlp = nn.ModuleDict({'fc1': nn.Linear(width, 4 * width),
                              'fc2': nn.Linear(4 * width, width)})
    self.ls1, self.ls2 = (nn.ParameterDict({'gamma': nn.Parameter(torch.ones(width))})
                          for _ in range(2))

  def forward(self, x):
    qkv = self.attn['qkv'](self.norm1(x)).reshape(*x.shape[:2], 3, self.heads, -1)
    h = F.scaled_dot_product_attention(*qkv.permute(2, 0, 3, 1, 4)).transpose(1, 2).flatten(2)
    x = x + self.ls1['gamma'] * self.attn['proj'](h)
    h = self.mlp['fc2'](F.gelu(self.mlp['fc1'](self.norm2(x))))
    return x + self.ls2['gamma'] * h


class ImageNet(nn.Module):
  """DINOv2 with registers: images [B, 3, S, S] in [0, 1] -> tokens of TRELLIS [B, L, D]."""

  def __init__(self, width=1024, depth=24, heads=16, grid=37):
    super().__init__()
    self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
    self.pos_embed = nn.Parameter(torch.zeros(1, 1 + grid**2, width))
    self.register_tokens = nn.Parameter(torch.zeros(1, 4, width))
    self.mask_token = nn.Parameter(torch.zeros(1, width))
    self.patch_embed = nn.ModuleDict({'proj': nn.Conv2d(3, width, 14, 14)})
    self.blocks = nn.ModuleList(ImageBlock(width, heads) for _ in range(depth))
    self.norm = nn.LayerNorm(width, eps=1e-6)

  def forward(self, images):
    mean, spread = (torch.tensor(x, dtype=images.dtype)[None, :, None, None]
                    for x in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    x = self.patch_embed['proj']((images - mean) / spread).flatten(2).transpose(1, 2)
    spread = lambda token: token.expand(len(x), -1, -1)
    x = torch.cat([spread(self.cls_token), x], 1) + self.pos_embed
    x = torch.cat([x[:, :1], spread(self.register_tokens), x[:, 1:]], 1)
    for block in self.blocks:
      x = block(x)
    return F.layer_norm(x, x.shape[-1:])


NETS = {'flow': Flow, 'decoder': Decoder, 'encoder': Encoder}


def to_torch(x):
  """[B, D, H, W, C] -> [B, C, D, H, W] float64; other arrays unchanged."""
  x = torch.from_numpy(np.array(x, np.float64))
  return x.movedim(-1, 1) if x.ndim == 5 else x


def from_torch(x):
  """[B, C, D, H, W] -> [B, D, H, W, C]."""
  return x.detach().movedim(1, -1).numpy()


def random_net(part, args, spread=0.2, seed=0):
  """A net with random weights that are those of float16 where its file has float16, in float64."""
  net = published.randomise(NETS[part](**args), spread, seed)
  with torch.no_grad():
    for name, value in net.named_parameters():
      if name.startswith(('blocks', 'middle_block')) and 'norm' not in name:
        value.copy_(value.half())
  return net.double()


def tensors(net):
  """{published name: array} in the dtypes of the published files."""
  return {name: value.numpy().astype(
      np.float16 if name.startswith(('blocks', 'middle_block')) and 'norm' not in name
      else np.float32) for name, value in net.state_dict().items()}


def write(folder, **nets):
  """A folder in the published layout with nets {'flow', 'decoder', 'encoder': (net, args)}."""
  (folder / 'ckpts').mkdir(parents=True, exist_ok=True)
  models = {'slat_flow_model': 'ckpts/slat_flow'}
  for part, (net, args) in nets.items():
    models[KEYS[part]] = f'ckpts/{part}_net'
    config = {'name': CLASSES[part], 'args': args}
    (folder / 'ckpts' / f'{part}_net.json').write_text(json.dumps(config))
    safetensors_numpy.save_file(tensors(net), folder / 'ckpts' / f'{part}_net.safetensors')
  args = {'models': models, 'sparse_structure_sampler': SAMPLER,
          'image_cond_model': 'dinov2_vitl14_reg'}
  (folder / 'pipeline.json').write_text(
      json.dumps({'name': 'TrellisImageTo3DPipeline', 'args': args}))
  return folder
