"""The isolated half of convert_weights: one pickle in, one safetensors file out, a notice printed.

Run as a file of its own, with nothing of this package on the path: _unpickle.py SOURCE TARGET.
"""

import resource
import sys


def state(held):
  """The {name: tensor} inside what a training script saved, and the names of what is no tensor."""
  from torch import Tensor
  if not isinstance(held, dict):
    sys.exit(f'it holds a {type(held).__name__}, not named tensors.')
  tensors = {name: x for name, x in held.items() if isinstance(x, Tensor)}
  if tensors and all(isinstance(name, str) for name in tensors):
    return tensors, [str(name) for name in held if name not in tensors]
  inner = {name: x for name, x in held.items()
           if isinstance(x, dict) and any(isinstance(y, Tensor) for y in x.values())}
  chosen = 'state_dict' if 'state_dict' in inner else next(iter(inner), None)
  if chosen is None or (len(inner) > 1 and chosen != 'state_dict'):
    sys.exit(f'it holds {", ".join(map(str, inner)) or "no named tensors"}; one state of a network '
             'is needed.')
  return state(inner[chosen])


def main(source, target):
  from safetensors.torch import save_file
  import torch
  resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
  try:
    held = torch.load(source, map_location='cpu', weights_only=True)
  except Exception as error:  # whatever is in the file: the other half makes it a sentence
    asked = [line.strip()[:200] for line in str(error).splitlines() if 'Unsupported global' in line]
    sys.exit(f'it asks for more than tensors, which is never run ({asked[0]}).' if asked else
             f'PyTorch cannot read it as tensors alone ({type(error).__name__}).')
  tensors, others = state(held)
  seen, out = set(), {}
  for name, tensor in tensors.items():
    place = tensor.untyped_storage().data_ptr()
    out[name] = tensor.detach().clone() if place in seen else tensor.detach().contiguous()
    seen.add(place)
  save_file(out, target, {'format': 'pt'})
  notice = f'; left out: {", ".join(others)}' if others else ''
  print(f'{len(out)} tensors{notice}.')


if __name__ == '__main__':
  main(*sys.argv[1:])
