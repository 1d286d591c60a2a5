"""Many distillation runs in one program: small scenes one by one leave an accelerator idle.

Runs whose configs differ in prompt and seed alone are mapped over with vmap, `width` of them at a
time, each as on one device: it ends where `distill.run` would end there, up to rounding. What all
of them share, such as the prior's weights, exists once. No mesh is made; the result of a run is the
referee's figures and its strips of views.

A critic's weights are each run's own. On a CPU its convolutions would then become grouped ones,
which compile and run slowly: such runs are best taken one at a time there (width 1), which still
compiles only once. On accelerators they are matrix products (`nn.unet_small.convolve`).

Axes: N runs, W of them at a time.
"""

import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import FrozenConfigDict
import numpy as np

from jax3dgen.core import parallel
from jax3dgen.core.errors import ConfigError
from jax3dgen.recipes.distill import outputs
from jax3dgen.recipes.distill import parts as distill_parts
from jax3dgen.recipes.distill import run as distill
from jax3dgen.recipes.distill import step as scene_step
from jax3dgen.train import log, loop


class Outcome(NamedTuple):
  """One run: its figures, why it failed ('' if it did not) and its strips [(step, strip)]."""
  figures: dict
  failed: str
  strips: list


class Batch(NamedTuple):
  """N runs: Parts of the first; `arguments` are (states, params, prompts, keys), with an axis of
  runs on the leaves that differ between runs; `axes` has 0 for these leaves and None for others."""
  parts: distill_parts.Parts
  arguments: tuple
  axes: tuple


class Tools(NamedTuple):
  """What all runs of a Batch use, each compiled once: programs {stage: a step of W runs}, draw and
  camera of the strips, judge(field, prompt) -> figures."""
  programs: dict
  draw: Any
  camera: Any
  judge: Any


def stack(trees):
  """(tree, axes): leaves that are equal in all `trees` as they are, others stacked; axes None, 0.
  """
  leaves, structure = zip(*(jax.tree.flatten(tree) for tree in trees), strict=True)
  columns = list(zip(*leaves, strict=True))
  same = [all(np.array_equal(x, column[0]) for x in column[1:]) for column in columns]
  joined = [column[0] if equal else np.stack(column) for equal, column in zip(same, columns)]
  axes = [None if equal else 0 for equal in same]
  return tuple(jax.tree.unflatten(structure[0], x) for x in (joined, axes))


def build(configs):
  """The Batch of complete configs that differ in nothing but prompt and seeds.

  On the host: an accelerator compiles the many small programs of this more slowly.
  """
  with parallel.on_host():
    parts = distill_parts.build(configs[0])
    if parts.provide is not None:
      raise ConfigError("config.distill.templates='prior' is for single runs: for a comparison let "
                        '`python -m experiments.pose_templates` sample them and name the folder.')
    loaded = {configs[0].prompt: (parts.params, parts.prompt)}
    for config in configs:
      if config.prompt not in loaded:
        loaded[config.prompt] = distill_parts.load_prior(FrozenConfigDict(config))[1:3]
    params, params_axes = stack([loaded[config.prompt][0] for config in configs])
    prompts, prompt_axes = stack([loaded[config.prompt][1] for config in configs])
    keys, field_keys = map(jnp.stack, zip(*map(distill_parts.keys, configs), strict=True))
    states = jax.jit(jax.vmap(lambda *keys: distill_parts.start(parts, *keys)))(keys, field_keys)
  return Batch(parts, (states, params, prompts, keys), (0, params_axes, prompt_axes, 0))


def program(batch, stage, width):
  """(states, params, prompts, keys) of W runs -> (states, metrics [W]): a step of each."""
  parts = batch.parts
  step = distill_parts.field_step(parts, None, stage, 1)

  def single(*arguments):  # a map over one run would still make every convolution a grouped one
    result = step(*(select(0, *pair) for pair in zip(batch.axes, arguments, strict=True)))
    return jax.tree.map(lambda x: x[None], result)
  return jax.jit(single if width == 1 else jax.vmap(step, batch.axes), donate_argnums=0)


def select(rows, axes, tree):
  """The `rows` of the leaves of a tree that have an axis of runs (0 in `axes`)."""
  pick = lambda axis, leaf: leaf if axis is None else jax.tree.map(lambda x: x[rows], leaf)
  return jax.tree.map(pick, axes, tree, is_leaf=lambda x: x is None)


def run(configs, width):
  """Yields an Outcome for each of the complete `configs`, after all its steps."""
  batch = build(configs)
  cfg = batch.parts.cfg
  tools = Tools({stage: program(batch, stage, width) for stage in {
      scene_step.stage_at(cfg, i) for i in range(cfg.train.steps)}},
                outputs.renderer(batch.parts, cfg.log.preview_size),
                outputs.ring(cfg, outputs.PREVIEW_VIEWS), outputs.make_judge(batch.parts))
  for first in range(0, len(configs), width):
    rows = np.minimum(np.arange(first, first + width), len(configs) - 1)  # the last fills up
    yield from run_rows([configs[i] for i in rows], batch, rows, tools)[:len(configs) - first]


def run_rows(configs, batch, rows, tools):
  """[Outcome] of the runs in the `rows` [W] of a Batch."""
  began, cfg, count = time.monotonic(), batch.parts.cfg, len(configs)
  states, *fixed = jax.device_put(
      [select(rows, *pair) for pair in zip(batch.axes, batch.arguments, strict=True)],
      jax.local_devices()[0])
  watchdogs = [distill.watchdog(cfg) for _ in configs]
  failed, strips = [''] * count, [[] for _ in configs]
  with log.Progress(0, cfg.train.steps, f'{count} runs of {cfg.distill.name}') as progress:
    for i in range(1, cfg.train.steps + 1):
      states, metrics = tools.programs[scene_step.stage_at(cfg, i - 1)](states, *fixed)
      progress.advance()
      last = i == cfg.train.steps
      if last or loop.due(i, cfg.log.every):
        figures = by_run(jax.device_get(metrics), count)
        note_failures(i, figures, watchdogs, cfg.train.max_skipped, failed)
      if i == 1:
        progress.say(f'The first step took {time.monotonic() - began:.1f} s.')
      if last or loop.due(i, cfg.log.preview_every):
        progress.show(i, jax.tree.map(lambda x: float(x.mean()), metrics))
        for k, fields in enumerate(unstack(states.field, count)):
          strips[k].append((i, outputs.strip(tools.draw, cfg, fields, tools.camera)))
  common = {'steps': cfg.train.steps, 'device': jax.devices()[0].device_kind, 'batched': count}
  reports = [judge_particles(tools.judge, cfg, fields, config.prompt)
             for config, fields in zip(configs, unstack(states.field, count), strict=True)]
  common['seconds'] = round((time.monotonic() - began) / count, 2)
  return [Outcome({} if failed[k] else common | {'metrics': figures[k]} | reports[k], failed[k],
                  strips[k]) for k in range(count)]


def judge_particles(judge, cfg, fields, prompt):
  """The referee's figures of a run; those of further particles in 'particles'."""
  first, *others = [judge(scene_step.particle(cfg, fields, k), prompt)
                    for k in range(cfg.train.particles)]
  return first | ({'particles': others} if others else {})


def unstack(tree, count):
  """The `count` trees that lie along the leading axis of `tree`."""
  return [jax.tree.map(lambda x, k=k: x[k], tree) for k in range(count)]


def by_run(metrics, count):
  """Metrics {name: [W]} as a dict of floats for each run."""
  return [{name: float(values[k]) for name, values in metrics.items()} for k in range(count)]


def note_failures(step, figures, watchdogs, max_skipped, failed):
  """Writes into `failed` [W] why runs have failed at this step; `figures` are those of all."""
  for k, values in enumerate(figures):
    if failed[k]:
      continue
    if values['skipped'] >= max_skipped:
      failed[k] = f'At step {step} the gradients of {values["skipped"]:.0f} steps were not finite.'
    elif reason := watchdogs[k](step, values):
      failed[k] = f'At step {step}: {reason}.'
