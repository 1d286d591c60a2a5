"""Converts pickled weights (.bin, .ckpt, .pt, .pth) to safetensors files beside them.

  python -m experiments.convert_weights FOLDER/diffusion_pytorch_model.bin

No other command opens a pickle. This one uses torch.load(weights_only=True), which creates nothing
but tensors, in a separate process with an empty environment and an empty folder. Names and numbers
do not change; optimiser states and counters are left out. Of a file with several states, such as
params and params_ema, or model and its average model_ema, --state chooses one. Needs the extra
`convert` (PyTorch).
"""

from importlib import util
import os
import pathlib
import subprocess
import sys
import tempfile

from experiments import _command
from jax3dgen.core.errors import ConfigError, WeightError


def flags(parser):
  parser.add_argument('files', nargs='*', metavar='FILE', help='pickled weights')
  parser.add_argument('--state', metavar='NAME', help='the state to convert, where a file holds '
                      'several; the command lists them')


def convert(path, state=None):
  """Writes the safetensors file of the pickle `path` beside it; returns (its path, a notice).

  `state` is the name of one of several states. WeightError where it is missing or not there.
  """
  from jax3dgen.core import files, hub, weights
  target = path.with_suffix('.safetensors')
  if target.exists():
    raise WeightError(f'{target} exists already; move it away to convert {path.name} again.')
  if not path.is_file():
    raise WeightError(f'{path} is not a file.')
  hub.refuse_substitute(path)
  reader = pathlib.Path(__file__).with_name('_unpickle.py')
  with files.replacing(target) as beside, tempfile.TemporaryDirectory() as empty:
    process = subprocess.run(
        [sys.executable, '-I', reader, path.resolve(), beside.resolve(), *[state] * bool(state)],
        cwd=empty, env={'PATH': os.defpath}, stdin=subprocess.DEVNULL, capture_output=True,
        text=True)
    if process.returncode:
      lines = process.stderr.strip().splitlines() or [f'exit status {process.returncode}']
      raise WeightError(f'{path} cannot be converted: {lines[-1]}')
    weights.Tensors(beside)
  return target, process.stdout.strip()


def run(config, workdir, args):
  if not args.files:
    raise ConfigError('name the files of pickled weights to convert.')
  if util.find_spec('torch') is None:
    raise ConfigError("converting needs PyTorch: pip install 'jax3dgen[convert]'.")
  for name in args.files:
    target, notice = convert(pathlib.Path(name), args.state)
    print(f'{target}: {notice}')


if __name__ == '__main__':
  _command.main(run, __doc__, workdir=False, flags=flags)
