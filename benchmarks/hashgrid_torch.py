"""A multiresolution hash grid in PyTorch as its users write it: int64 rows, index_select, autograd.

The peer of `benchmarks.hashgrid`: the same lattices, hash, weights and table as
`jax3dgen.nn.hashgrid`. autograd's backward of index_select is one index_add_ per corner and level.
"""

import torch

PRIMES = (1, 2654435761, 805459861)


def encode(table, xyz, levels):
  """Features [N, L F] at xyz [N, 3] in [-1, 1]^3; `levels` (resolution, offset, rows, dense)."""
  unit = (0.5 * (xyz + 1.0)).clamp(0.0, 1.0)
  out = []
  for resolution, offset, rows, dense in levels:
    scaled = unit * resolution
    cell = scaled.floor().clamp(max=resolution - 1)
    part = scaled - cell
    cell = cell.long()
    total = 0.0
    for corner in range(8):
      step = torch.tensor([corner & 1, (corner >> 1) & 1, corner >> 2])
      place = cell + step
      if dense:
        side = resolution + 1
        row = place[:, 0] + side * (place[:, 1] + side * place[:, 2])
      else:
        row = ((place[:, 0] * PRIMES[0]) ^ (place[:, 1] * PRIMES[1]) ^ (place[:, 2] * PRIMES[2])
               ) % rows
      weight = torch.where(step.bool(), part, 1.0 - part).prod(-1, keepdim=True)
      total = total + weight * table.index_select(0, row + offset)
    out.append(total)
  return torch.cat(out, -1)


def forward_backward(table, xyz, levels, cotangent):
  """(features, gradient of <features, cotangent> by the table)."""
  table = table.detach().requires_grad_(True)
  out = encode(table, xyz, levels)
  (gradient,) = torch.autograd.grad(out, table, cotangent)
  return out.detach(), gradient
