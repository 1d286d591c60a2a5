"""Memory and floating-point work of a compiled step, as sentences.

The bytes are those of the step's arguments; the operations are the compiler's count, 2 for a
multiply-add and the body of a loop only once, so that they are a lower bound.
"""

import re

import jax

GIB = 2**30
OPTIMISER = re.compile(r'(^|_)opt(_|$)')  # names of optimiser states in a training state
# Published dense bfloat16 TFLOP/s of one device; the first that the device's name contains.
PEAKS = {'H100 PCIE': 756, 'H100': 989, 'H200': 989, 'A100': 312, 'L40S': 362, 'RTX 4090': 165,
         'RTX 3090': 71, 'TPU V4': 275, 'TPU V5 LITE': 197, 'TPU V5': 459, 'TPU V6 LITE': 918}


def peak(kind):
  """The peak bfloat16 FLOP/s of a device of the kind `kind`; None if it is unknown."""
  return next((1e12 * value for name, value in PEAKS.items() if name in kind.upper()), None)


def sentences(cost, kind=None):
  """Sentences about a `parallel.Cost` on devices of `kind` (None: the kind of the local ones)."""
  kind = kind or jax.local_devices()[0].device_kind
  optimiser = sum(size for part, size in cost.state.items() if OPTIMISER.search(part))
  lines = [f'Its arguments are {cost.fixed / GIB:.2f} GiB of fixed parameters, '
           f'{(sum(cost.state.values()) - optimiser) / GIB:.2f} GiB of trained state and '
           f'{optimiser / GIB:.2f} GiB of the optimiser.']
  if cost.flop:
    best = peak(kind)
    lines.append(f'It computes at least {cost.flop / 1e12:.3g} TFLOP on each device' + (
        f', which takes {1e3 * cost.flop / best:.1f} ms at the bfloat16 peak of {kind}.' if best
        else '.'))
  return lines


def speed(flop, seconds, kind=None):
  """A sentence about the rate of `flop` operations in `seconds`, and its share of the peak."""
  kind = kind or jax.local_devices()[0].device_kind
  best = peak(kind)
  return f'Each device computed at least {flop / seconds / 1e12:.3g} TFLOP/s' + (
      f', {flop / seconds / best:.1%} of the bfloat16 peak of {kind}.' if best else '.')
