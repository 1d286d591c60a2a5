"""Many distillation runs in one program: small scenes one by one leave an accelerator idle.

Runs whose configs differ in prompt and seed alone are mapped over with vmap, each as on one device:
it ends where `distill.run` would end there, up to rounding. What all of them share, such as the
prior's weights, exists once. No mesh is made; what is left of a run are the referee's figures and
its strips of views.

Axis: N runs.
"""

import time
from typing import Any, NamedTuple

import jax
from ml_collections import FrozenConfigDict
import numpy as np

from jax3dgen.train import distill, log, loop, results, scene_step


class Made(NamedTuple):
  """One run: its figures, why it came to nothing ('' where it did not) and [(step, strip)]."""
  figures: dict
  failed: str
  strips: list


class Batch(NamedTuple):
  """N runs: Parts of the first, states [N, ...], params and prompt with an axis of runs on the
  leaves that differ, which `axes` says of both (0 or None)."""
  parts: distill.Parts
  states: Any
  params: Any
  prompt: Any
  axes: tuple


def stacked(trees):
  """(tree, axes): leaves that are equal in all `trees` as they are, others stacked; axes None, 0.
  """
  leaves, structure = zip(*(jax.tree.flatten(tree) for tree in trees), strict=True)
  same = [all(np.array_equal(x, column[0]) for x in column[1:])
          for column in zip(*leaves, strict=True)]
  joined = [column[0] if equal else np.stack(column)
            for equal, column in zip(same, zip(*leaves, strict=True), strict=True)]
  axes = [None if equal else 0 for equal in same]
  return tuple(jax.tree.unflatten(structure[0], x) for x in (joined, axes))


def build(configs):
  """The Batch of complete configs that differ in nothing but prompt and seeds."""
  parts = distill.build(configs[0])
  loaded = {config.prompt: distill.load_prior(FrozenConfigDict(config))[1:]
            for config in {config.prompt: config for config in configs}.values()}
  params, params_axes = stacked([loaded[config.prompt][0] for config in configs])
  prompt, prompt_axes = stacked([loaded[config.prompt][1] for config in configs])
  keys = [distill.keys(config) for config in configs]
  states = jax.jit(jax.vmap(lambda key, field_key: distill.start(parts, key, field_key)))(
      *map(jax.numpy.stack, zip(*keys, strict=True)))
  return Batch(parts, states, params, prompt, (params_axes, prompt_axes))


def run(configs):
  """[Made], one for each of the complete `configs`, after all their steps."""
  began = time.monotonic()
  batch = build(configs)
  cfg = batch.parts.cfg
  keys = jax.numpy.stack([distill.keys(config)[0] for config in configs])
  fixed = jax.device_put((batch.params, batch.prompt, keys))
  watch = [distill.watchdog(cfg) for _ in configs]
  draw = results.renderer(batch.parts, cfg.log.preview_size)
  camera = results.ring(cfg, results.PREVIEW_VIEWS)
  programs, states = {}, batch.states
  failed, strips = [''] * len(configs), [[] for _ in configs]
  with log.Progress(0, cfg.train.steps, f'{len(configs)} runs of {cfg.distill.name}') as progress:
    for i in range(1, cfg.train.steps + 1):
      size = scene_step.size_at(cfg, i - 1)
      if size not in programs:
        programs[size] = program(batch, size)
      states, metrics = programs[size](states, *fixed)
      progress.advance()
      last = i == cfg.train.steps
      if last or loop.due(i, cfg.log.every):
        figures = rows(jax.device_get(metrics), len(configs))
        notice(i, figures, watch, cfg.train.max_skipped, failed)
      if i == 1:
        progress.say(f'The first step took {time.monotonic() - began:.1f} s, with all before it.')
      if last or loop.due(i, cfg.log.preview_every):
        progress.show(i, jax.tree.map(lambda x: float(x.mean()), metrics))
        for k, fields in enumerate(unstacked(states.field, len(configs))):
          strips[k].append((i, results.strip(draw, cfg, fields, camera)))
  judge = results.judges(batch.parts)
  common = {'steps': cfg.train.steps, 'device': jax.devices()[0].device_kind,
            'together': len(configs)}
  found = lambda config, fields, mine: common | {'metrics': mine} | judged(
      judge, cfg, fields, config.prompt)
  made = [Made({} if why else found(config, fields, mine), why, own)
          for config, fields, mine, why, own in zip(
              configs, unstacked(states.field, len(configs)), figures, failed, strips, strict=True)]
  share = round((time.monotonic() - began) / len(configs), 2)
  return [one._replace(figures=one.figures | {'seconds': share}) for one in made]


def judged(judge, cfg, fields, prompt):
  """The referee's figures of a run; those of further particles in 'particles'."""
  first, *others = [judge(scene_step.particle(cfg, fields, k), prompt)
                    for k in range(cfg.train.particles)]
  return first | ({'particles': others} if others else {})


def program(batch, size):
  """(states, params, prompt, keys [N]) -> (states, metrics [N]): a step of each run."""
  parts = batch.parts
  step = scene_step.make_step(parts.field, parts.prior, parts.distillation, parts.tx, parts.fit_tx,
                              parts.cfg, 1, size=size)
  return jax.jit(jax.vmap(step, (0, *batch.axes, 0)), donate_argnums=0)


def unstacked(tree, count):
  """The `count` trees that lie along the leading axis of `tree`."""
  return [jax.tree.map(lambda x, k=k: x[k], tree) for k in range(count)]


def rows(metrics, count):
  """Metrics {name: [N]} as a dict of floats for each run."""
  return [{name: float(values[k]) for name, values in metrics.items()} for k in range(count)]


def notice(step, figures, watch, most_skipped, failed):
  """Notes in `failed` why runs have come to nothing at this step; `figures` are those of all."""
  for k, own in enumerate(figures):
    if failed[k]:
      continue
    if own['skipped'] >= most_skipped:
      failed[k] = f'At step {step} the gradients of {own["skipped"]:.0f} steps were not finite.'
    elif reason := watch[k](step, own):
      failed[k] = f'At step {step}: {reason}.'
