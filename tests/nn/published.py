"""Torch models as oracles: random weights that are nowhere zero, and their tensors as arrays."""

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


def apart(found, expected):
  """The largest error relative to the largest entry of `expected`."""
  expected = np.asarray(expected, np.float32)
  return np.abs(np.asarray(found, np.float32) - expected).max() / np.abs(expected).max()
