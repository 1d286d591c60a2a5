"""A tuning run of LoRA adapters: its optimiser, its folder, and the steps that are kept."""

import contextlib
import shutil

import optax

from jax3dgen.core import files, parallel
from jax3dgen.recipes.preference import adapters as adapter_files
from jax3dgen.train import checkpoint, descent, loop, optim
from jax3dgen.train import workdir as workdirs


def optimiser(cfg):
  """AdamW with its rate rising to config.optim.rate and then constant, the gradient clipped (DSO:
  rate(step) = rate min(1, step / warm-up))."""
  rate = optax.linear_schedule(0.0, cfg.optim.rate, warmup_steps(cfg)) if (
      warmup_steps(cfg)) else cfg.optim.rate
  return optax.chain(optax.clip_by_global_norm(cfg.optim.clip),
                     optim.decayed(rate, 0.9, 0.999, 1e-8, cfg.optim.decay))


def warmup_steps(cfg):
  """config.optim.warmup in steps."""
  warmup = cfg.optim.warmup
  return round(warmup * cfg.train.steps if warmup < 1 else warmup)


def run(folder, key, loss, first, fixed, cfg, title):
  """Tunes the adapters `first` in `folder` and returns {step: adapters} of the steps it keeps.

  loss: (adapters, key, *fixed) -> (value [], metrics), on one device; `fixed` are host arrays.
  The folder receives metrics.csv, checkpoints and steps/STEP.safetensors every
  config.checkpoint.every steps and after the last; one that belongs to another `key`, the digest of
  all that the run depends on but its number of steps, is emptied.
  """
  tx = optimiser(cfg)
  parallel.from_main(_prepare, folder, key)
  step = descent.build_step(loss, tx, cfg.seed, 0.0, parallel.AXIS, grad_norm=True)
  state = descent.start(first, tx)
  path = lambda step: folder / 'steps' / f'{step:06d}.safetensors'

  def keep(step, replicated):
    with workdirs.writing(path(step)):
      adapter_files.save(path(step), parallel.unreplicate(replicated.params), cfg.lora.scale)
  with contextlib.closing(checkpoint.Checkpoints(
      folder / 'checkpoints', cfg.checkpoint.keep)) as checkpoints:
    start, state = checkpoints.restore(state) or (0, state)
    if start < cfg.train.steps:
      placed = parallel.broadcast(fixed)
      programs = [parallel.map(step, len(fixed))] * (cfg.train.steps - start)
      loop.optimise(cfg, folder, programs, start, state, checkpoints, title, placed,
                    lambda writer: [(cfg.checkpoint.every, keep)])
  steps = [*range(cfg.checkpoint.every, cfg.train.steps, cfg.checkpoint.every), cfg.train.steps]
  read = lambda step: adapter_files.load(path(step), first) if parallel.is_main() else None
  return {step: parallel.tree_from_main(read(step), first) for step in steps}


def _prepare(folder, key):
  """Empties a tuning folder that belongs to another key."""
  file = folder / 'key'
  with workdirs.writing(folder):
    if not file.exists() or file.read_text() != key:
      shutil.rmtree(folder, ignore_errors=True)
      with files.replacing(file) as beside:
        beside.write_text(key)
