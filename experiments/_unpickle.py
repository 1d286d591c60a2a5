"""The isolated process of convert_weights: reads a pickle, writes a safetensors file and a notice.

Runs as a file, without this package on the path: _unpickle.py SOURCE TARGET [STATE].
"""

import re
import resource
import sys

# What pickled numbers and arrays of numpy consist of.
NUMPY = ('numpy.dtype', 'numpy.ndarray',
         *(f'numpy.{core}.multiarray.{name}' for core in ('core', '_core')
           for name in ('scalar', '_reconstruct')))


class Unread:
  """Stands for a number or an array of numpy: the unpickler calls this instead, and keeps nothing.
  """

  def __init__(self, *arguments):
    pass

  def __setstate__(self, state):
    pass


def is_weight(x):
  """Whether `x` is a tensor with axes."""
  from torch import Tensor
  return isinstance(x, Tensor) and x.ndim > 0


def state(content, wanted=None):
  """{name: tensor} of the content of a checkpoint: of its state `wanted`, or of its only one."""
  if not isinstance(content, dict):
    sys.exit(f'it holds a {type(content).__name__}, not named tensors.')
  states = {str(name): x for name, x in content.items()
            if isinstance(x, dict) and any(map(is_weight, x.values()))}
  if wanted in states:
    return state(states[wanted])
  if any(map(is_weight, content.values())):
    return average(content, wanted)
  if len(states) == 1:
    return state(*states.values(), wanted)
  if not states:
    sys.exit('it holds no named tensors; the weights of one network are needed.')
  sys.exit(choice(states, wanted))


def choice(names, wanted):
  """The sentence that asks for one of several states."""
  return (f'it holds the states {", ".join(names)}' + (f', but no {wanted!r}' if wanted else '')
          + '; choose one of them with --state.')


def average(tensors, wanted):
  """The tensors without a second copy of a part, its moving average: NAME beside NAME_ema or
  ema_NAME. The names of the average may lack their dots, as in latent diffusion."""
  parts = {str(name).partition('.')[0] for name in tensors}
  pairs = {part: re.sub('^ema_|_ema$', '', part) for part in parts}
  pairs = {ema: plain for ema, plain in sorted(pairs.items()) if ema != plain and plain in parts}
  names = [*pairs.values(), *pairs]
  if wanted not in (names or [None]):
    sys.exit(choice(names, wanted) if names else
             f'it holds one state, which has no name, and no {wanted!r}; omit --state.')
  of = lambda part: {name.partition('.')[2].replace('.', ''): name for name in map(str, tensors)
                     if name.startswith(f'{part}.')}
  weights = {name: x for name, x in tensors.items() if str(name).partition('.')[0] not in pairs}
  if wanted in pairs:
    plain, averages = of(pairs[wanted]), of(wanted)
    weights |= {name: tensors[averages[key]] for key, name in plain.items() if key in averages}
  return weights


def contiguous(name, tensor):
  """A copy that shares no memory, in the order of its axes."""
  import torch
  if tensor.layout != torch.strided or tensor.is_quantized:
    sys.exit(f'{name} is a sparse or quantized tensor, which is not supported.')
  return tensor.detach().clone(memory_format=torch.contiguous_format)


def main(source, target, *wanted):
  from safetensors.torch import save_file
  import torch
  resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
  try:
    with torch.serialization.safe_globals([(Unread, name) for name in NUMPY]):
      content = torch.load(source, map_location='cpu', weights_only=True)
  except Exception as error:  # of any kind, by the content; convert_weights makes it one sentence
    calls = [line.strip()[:200] for line in str(error).splitlines() if 'Unsupported global' in line]
    sys.exit(f'it holds more than tensors, which is never run ({calls[0]}).' if calls else
             f'PyTorch cannot read it as tensors alone ({type(error).__name__}).')
  entries = state(content, *wanted)
  out = {name: x for name, x in entries.items() if isinstance(x, torch.Tensor)}
  if not all(isinstance(name, str) for name in out):
    sys.exit('its tensors have numbers for names; the weights of a network have words.')
  others = [str(name) for name in entries if name not in out]
  save_file({name: contiguous(name, x) for name, x in out.items()}, target, {'format': 'pt'})
  notice = f'; left out: {", ".join(others)}' if others else ''
  print(f'{len(out)} tensors{notice}.')


if __name__ == '__main__':
  main(*sys.argv[1:])
