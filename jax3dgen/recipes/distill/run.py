"""A distillation run in one call: from a prompt to a textured mesh that stands, and its report.

`run(config, workdir)` is what `python -m experiments.distill` calls. Calling it again resumes from
the newest whole checkpoint and ends bit for bit where an unbroken run ends; a finished run returns
its result and does nothing.
"""

import contextlib
import json
import pathlib
import sys
import time
from typing import Any, NamedTuple

from jax3dgen.core import parallel
from jax3dgen.core.errors import Jax3dgenError
from jax3dgen.prior import words
from jax3dgen.recipes.distill import config as distill_config
from jax3dgen.recipes.distill import outputs
from jax3dgen.recipes.distill import parts as distill_parts
from jax3dgen.recipes.distill import step as scene_step
from jax3dgen.train import checkpoint, loop
from jax3dgen.train import workdir as workdirs

default_config = distill_config.default_config
complete = distill_config.complete
REPEAT = 'jax3dgen.recipes.distill.run.run(config, workdir)  # with the config below'


class Result(NamedTuple):
  """A finished run: its folder, the figures of result.json, and the field's parameters."""
  workdir: pathlib.Path
  figures: dict
  field: Any


def run(config, workdir, prompts=None, allow_change=False, command=''):
  """Distils `config.prompt` into `workdir` and returns its Result.

  With a list of `prompts`, see `run_prompts`. `command` is the command in the report that repeats
  the run; with several prompts, a function of the folder of a run and its changes of the config.
  """
  if prompts is not None:
    return run_prompts(config, workdir, prompts, allow_change, command)
  parallel.initialize()
  began = time.monotonic()
  config, workdir = complete(config), pathlib.Path(workdir)
  if not allow_change:
    workdirs.refuse_other_config(workdir, config)
  figures = parallel.from_main(complete_figures, workdir, config)
  parts = distill_parts.build(config)
  steps = steps_of(parts, figures is None)
  with workdirs.lock(workdir):
    workdirs.check_config(workdir, config, allow_change)
    start, field = descend(steps, workdir, config, outputs.previewer, watchdog(parts.cfg))
    if figures and start == config.train.steps:
      print(f'{workdir} is finished: {figures["steps"]} steps of {figures["prompt"]!r}.')
      return Result(workdir, figures, field)
    if figures is None and start == config.train.steps and parallel.is_main():
      print(f'All {start} steps are done; their results are written from the field as it is.')
    figures = parallel.from_main(outputs.write, parts, workdir, field, config, began,
                                 command or REPEAT)
  return Result(workdir, figures, field)


class Steps(NamedTuple):
  """The compiled steps of Parts: `axes` and `fixed` are those of `distill_parts.place`, stages the
  Stage of every step, programs {Stage: mapped step}."""
  parts: distill_parts.Parts
  axes: Any
  fixed: tuple
  stages: list
  programs: dict


def steps_of(parts, trace=True):
  """The Steps of Parts; with `trace` they are traced, so that what they refuse is refused before
  any file is written."""
  axes, fixed = distill_parts.place(parts)
  stages = [scene_step.stage_at(parts.cfg, i) for i in range(parts.cfg.train.steps)]
  programs = {stage: parallel.map(distill_parts.field_step(parts, parallel.AXIS, stage), 3, axes)
              for stage in dict.fromkeys(stages)}
  for program in programs.values() if trace else ():
    program.lower(parallel.replicate(parts.state), *fixed)
  return Steps(parts, axes, fixed, stages, programs)


def descend(steps, workdir, config, previewer, watchdog=None):
  """(steps done before, the field's parameters after the last one) of a run in a locked workdir,
  from its newest whole checkpoint on.

  previewer(parts, workdir) -> the hook of previews. `watchdog` as in `loop.optimise`.
  """
  parts = steps.parts
  with contextlib.closing(checkpoint.Checkpoints(
      workdir / 'checkpoints', config.checkpoint.keep, config.to_json())) as checkpoints:
    start, state = checkpoints.restore(parts.state) or (0, parts.state)
    if start < config.train.steps:
      parts, fixed = distill_parts.with_templates(parts, steps.axes, steps.fixed, workdir,
                                                  start == 0)
      preview = previewer(parts, workdir)
      state = loop.optimise(
          parts.cfg, workdir, [steps.programs[stage] for stage in steps.stages[start:]], start,
          state, checkpoints, config.prompt, fixed,
          lambda writer: [(config.log.preview_every, preview)], watchdog)
  return start, state.field


def run_prompts(config, workdir, prompts, allow_change, command):
  """[Result] of `run` for each prompt, in a folder below `workdir` that is named after it.

  A prompt is a text, or changes {dotted field: value} of the config that include 'prompt' (see
  `distill_config.recdreamer`). None where it could not be made; the reason is printed.
  """
  results = []
  for entry in prompts:
    changes = entry if isinstance(entry, dict) else {'prompt': entry}
    prompt, changed = changes['prompt'], config.copy_and_resolve_references()
    changed.update_from_flattened_dict(changes)
    folder = pathlib.Path(workdir) / words.slug(prompt)
    try:
      results.append(run(changed, folder, None, allow_change,
                         command and command(folder, changes)))
    except Jax3dgenError as e:
      print(f'{prompt!r} is left out: {e}', file=sys.stderr)
      results.append(None)
  return results


def watchdog(cfg):
  """(step, metrics) -> why the run must stop, or None: an empty field, or fog in every view.

  Prints once that the average of one of a rectifier's poses is below its floor.
  """
  floor, warned = cfg.distill.get('floor', 0.0), []

  def reason(step, metrics):
    if metrics.get('rarest_pose', 1.0) < floor and not warned:
      warned.append(step)
      print(f'Step {step}: at some noise level the average of one pose is below '
            f'config.distill.floor={floor}; the rectifier uses that value.', file=sys.stderr)
    if step < cfg.watch.after:
      return None
    opacity = metrics['opacity']
    if opacity < cfg.watch.empty:
      return (f'the field is empty (mean opacity {opacity:.4f}); lower the learning rate or a '
              'sparsity weight')
    if opacity > cfg.watch.fog:
      return (f'fog fills every view (mean opacity {opacity:.3f}); lower the learning rate or '
              'raise config.regularizers.sparsity')
    return None
  return reason


def complete_figures(workdir, config):
  """The figures of a run that is already complete for this very config, or None."""
  try:
    figures = json.loads((workdir / 'result.json').read_text())
  except (FileNotFoundError, ValueError):
    return None
  return figures if figures.get('config_digest') == outputs.config_digest(config) else None
