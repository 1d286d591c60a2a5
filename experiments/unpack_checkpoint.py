"""Converts a single-file checkpoint (.safetensors) of Stable Diffusion to a folder of diffusers.

  python -m experiments.unpack_checkpoint MODEL.safetensors --like FOLDER --workdir NEW_FOLDER

FOLDER has the layout of diffusers: the configs, schedules and tokenizers of the model, with or
without weights. The converter of diffusers runs in a separate process without network. Needs the
extras `pretrained` and `convert`.
"""

from importlib import util
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

from experiments import _command
from jax3dgen.core.errors import ConfigError, WeightError

PACKAGES = ('diffusers', 'torch', 'transformers')
# How the names of the tensors of each part begin in a single file.
PREFIXES = {'unet': ('model.diffusion_model.',), 'vae': ('first_stage_model.',),
            'text_encoder': ('cond_stage_model.', 'conditioner.embedders.0.'),
            'text_encoder_2': ('conditioner.embedders.1.',)}
AVERAGE = 'model_ema.'  # the moving average of the U-Net, which is not unpacked


def flags(parser):
  parser.add_argument('file', nargs='?', metavar='FILE', help='the checkpoint, in safetensors')
  parser.add_argument('--like', metavar='FOLDER', help='a folder with the configs of such a model')


def unpack(source, like, target):
  """Writes the checkpoint `source` as folder `target`, with configs and tokenizers of `like`;
  returns a notice.

  Raises WeightError for a source that is no whole safetensors file or does not match `like`, with
  all that is missing in either, and for a target that is not empty.
  """
  from jax3dgen.core import weights
  from jax3dgen.prior import latent
  names = list(weights.Tensors(source))  # raises WeightError unless it is whole and no pickle
  configs = latent.read(like)
  absent = [f'{part} ({" or ".join(f"{prefix}*" for prefix in prefixes)})'
            for part, prefixes in PREFIXES.items()
            if part in configs and not any(name.startswith(prefixes) for name in names)]
  if absent:
    raise WeightError(f'{source} cannot be unpacked like {like}: it holds no tensors of '
                      f'{", ".join(absent)}.')
  if target.exists() and any(target.iterdir()):
    raise WeightError(f'{target} is not empty; name a new folder.')
  target.parent.mkdir(parents=True, exist_ok=True)
  with tempfile.TemporaryDirectory(dir=target.parent) as beside:
    process = subprocess.run(
        [sys.executable, '-I', pathlib.Path(__file__).with_name('_unpack.py'), source.resolve(),
         pathlib.Path(beside) / 'new', like.resolve()], cwd=beside, text=True,
        env={'PATH': os.defpath, 'HOME': beside, 'HF_HUB_OFFLINE': '1'}, stdin=subprocess.DEVNULL,
        capture_output=True)
    if process.returncode:
      lines = process.stderr.strip().splitlines() or [f'exit status {process.returncode}']
      raise WeightError('\n'.join([f'{source} cannot be unpacked like {like}: {lines[-1]}',
                                   *process.stdout.splitlines()]))
    for part in latent.TEXT:  # as published; newer libraries write other files
      name = latent.tokenizer_folder(part)
      if part in configs:
        shutil.copytree(like / name, pathlib.Path(beside) / 'new' / name, dirs_exist_ok=True)
    if target.exists():
      target.rmdir()
    (pathlib.Path(beside) / 'new').rename(target)
  averaged = any(name.startswith(AVERAGE) for name in names)
  return f'{target} holds the model in the layout of diffusers' + (
      f'; the moving average of the U-Net ({AVERAGE}*) is left out.' if averaged else '.')


def run(config, workdir, args):
  if not args.file or not args.like:
    raise ConfigError('name the checkpoint and, with --like, a folder with configs of its kind.')
  if missing := [name for name in PACKAGES if util.find_spec(name) is None]:
    raise ConfigError(f"unpacking needs {', '.join(missing)}: pip install "
                      "'jax3dgen[pretrained,convert]'.")
  from jax3dgen.core import hub
  print(unpack(hub.resolve(args.file), hub.resolve(args.like), workdir))


if __name__ == '__main__':
  _command.main(run, __doc__, flags=flags)
