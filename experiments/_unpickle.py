"""The isolated process of convert_weights: reads a pickle, writes a safetensors file and a notice.

Runs as a file, without this package on the path: _unpickle.py SOURCE TARGET.
"""

import resource
import sys


def state(content):
  """({name: tensor} of the content of a checkpoint, the names of its other entries)."""
  from torch import Tensor
  if not isinstance(content, dict):
    sys.exit(f'it holds a {type(content).__name__}, not named tensors.')
  tensors = {name: x for name, x in content.items() if isinstance(x, Tensor)}
  if tensors and all(isinstance(name, str) for name in tensors):
    return tensors, [str(name) for name in content if name not in tensors]
  states = {name: x for name, x in content.items()
            if isinstance(x, dict) and any(isinstance(y, Tensor) for y in x.values())}
  if 'state_dict' in states:
    return state(states['state_dict'])
  if len(states) != 1:
    sys.exit(f'it holds {", ".join(map(str, states)) or "no named tensors"}; one state of a '
             'network is needed.')
  return state(*states.values())


def main(source, target):
  from safetensors.torch import save_file
  import torch
  resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
  try:
    content = torch.load(source, map_location='cpu', weights_only=True)
  except Exception as error:  # of any kind, by the content; convert_weights makes it one sentence
    calls = [line.strip()[:200] for line in str(error).splitlines() if 'Unsupported global' in line]
    sys.exit(f'it holds more than tensors, which is never run ({calls[0]}).' if calls else
             f'PyTorch cannot read it as tensors alone ({type(error).__name__}).')
  tensors, others = state(content)
  storages, out = set(), {}
  for name, tensor in tensors.items():
    storage = tensor.untyped_storage().data_ptr()
    out[name] = tensor.detach().clone() if storage in storages else tensor.detach().contiguous()
    storages.add(storage)
  save_file(out, target, {'format': 'pt'})
  notice = f'; left out: {", ".join(others)}' if others else ''
  print(f'{len(out)} tensors{notice}.')


if __name__ == '__main__':
  main(*sys.argv[1:])
