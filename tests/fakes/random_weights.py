"""Random weights under published names, made as a reference written by hand asks for them."""

import zlib

import numpy as np
import torch


class Tensors(dict):
  """{published name: random tensor}: whatever is asked for is made, and nowhere 0.

  A reference written with torch.nn.functional that takes its weights from here is at once the list
  of the names and shapes that a file must have.
  """

  def get(self, name, *shape, near=0.0, spread=None):
    """The tensor `name` of a shape: `near` plus noise, whose spread keeps the sums of a layer."""
    if name not in self:
      fan = int(np.prod(shape[1:])) if len(shape) > 1 else 4
      rng = np.random.default_rng(zlib.crc32(name.encode()))
      spread = spread or (2 / fan) ** 0.5
      noise = rng.standard_normal(shape, np.float32)
      self[name] = torch.from_numpy(np.float32(near) + np.float32(spread) * noise)
    return self[name]

  def batch_norm(self, x, name, epsilon):
    """x [B, C, H, W] through the batch norm `name` at rest."""
    width = x.shape[1]
    of = lambda part, **how: self.get(f'{name}.{part}', width, **how)
    variance = self.get(f'{name}.running_var', width, near=1.0, spread=0.1).abs()
    self.setdefault(f'{name}.num_batches_tracked', torch.tensor(7))
    return torch.nn.functional.batch_norm(
        x, of('running_mean', spread=0.2), variance, of('weight', near=1.0, spread=0.1),
        of('bias', spread=0.2), eps=epsilon)

  def arrays(self):
    """The same as numpy arrays."""
    return {name: x.detach().numpy() for name, x in self.items()}

