"""A whole distillation run in one call: prompt in, standing textured mesh and report out.

`run(config, workdir)` is what `python -m experiments.distill` calls. Calling it again resumes from
the newest whole checkpoint and ends bit for bit where an unbroken run ends; a finished run returns
its result and does nothing.
"""

import contextlib
import inspect
import json
import pathlib
import sys
import time
from typing import Any, NamedTuple

import jax
from ml_collections import FrozenConfigDict
import optax

from jax3dgen.core import modules, parallel
from jax3dgen.core.errors import ConfigError, Jax3dgenError
from jax3dgen.core.types import Prompt
from jax3dgen.data import debias
from jax3dgen.data import prompts as phrases
from jax3dgen.distill import base
from jax3dgen.metrics import referee
from jax3dgen.prior import linear, words
from jax3dgen.recipes.distill import config as distill_config
from jax3dgen.recipes.distill import outputs, state
from jax3dgen.recipes.distill import step as scene_step
from jax3dgen.scene import nerf
from jax3dgen.train import checkpoint, log, loop, memory, optim
from jax3dgen.train import stop as stops
from jax3dgen.train import workdir as workdirs

default_config = distill_config.default_config
complete = distill_config.complete
REPEAT = 'jax3dgen.recipes.distill.run.run(config, workdir)  # with the config below'


class Result(NamedTuple):
  """A finished run: its folder, the figures of result.json, and the field's parameters."""
  workdir: pathlib.Path
  figures: dict
  field: Any


class Parts(NamedTuple):
  """What a run is made of, built from its config before anything compiles."""
  cfg: FrozenConfigDict
  prior: Any
  params: Any
  prompt: Prompt
  field: Any
  distillation: base.Distillation
  tx: optax.GradientTransformation
  fit_tx: optax.GradientTransformation
  state: state.TrainState


def embed_prompt(prior, params, tokenize, text, view_prompts, score=None):
  """The text's Prompt: one condition row for each use, embedded in one call.

  `score` is that of `data.debias`, where prompts are debiased.
  """
  texts = phrases.view_prompts(text, score and debias.debiased(text, score))
  if not view_prompts:
    texts = texts | {view: texts['main'] for view in ('front', 'side', 'back', 'overhead')}
  rows = prior.embed(params, tokenize(list(texts.values())))
  return Prompt(**{name: jax.tree.map(lambda leaf, i=i: leaf[i], rows)
                   for i, name in enumerate(texts)})


def open_prior(section):
  """(prior, params, tokenize) of the section `prior` of a config: what its module's load() returns,
  with the section's further fields that are not None."""
  load = modules.find('jax3dgen.prior', section.name, 'config.prior.name').load
  options = {name: value for name, value in section.items()
             if name not in ('name', 'weights') and value is not None}
  for name in options.keys() - inspect.signature(load).parameters.keys():
    raise ConfigError(f'config.prior.{name}: the prior {section.name!r} has no such setting.')
  return load(section.weights or None, **options)


def load_prior(cfg):
  """(prior, params, Prompt) of a run: the parameters that its steps need, without those of text
  encoders, and those of the classifier that the objective asks for and of `prior.linear` beside
  them."""
  text = f'{cfg.prompt}, {cfg.auxiliary}' if cfg.auxiliary else cfg.prompt
  place = parallel.on_host if cfg.parallel.prior == 'fsdp' else contextlib.nullcontext
  with place():
    prior, params, tokenize = open_prior(cfg.prior)
    prompt = embed_prompt(prior, params, tokenize, text, cfg.view_prompts,
                          debias.scorer(cfg.debias.prompt))
    quick = 'render' in cfg and cfg.render.latent_steps > 0
    fitted = {'linear': linear.fit(prior, params)} if quick else {}

  def attention(images):
    with place():
      ids = tokenize([cfg.prompt] * len(images))
      return jax.jit(prior.attention)(params, jax.random.key(0), images, ids)
  if 'classifier' in cfg.distill:
    classifier = modules.find('jax3dgen.perception', cfg.distill.classifier,
                              'config.distill.classifier')
    fitted['classifier'] = classifier.load(cfg.prompt, cfg.distill,
                                           prior.attention and attention)
  return prior, fitted | {name: part for name, part in params.items() if name != 'text'}, prompt


def build_field(cfg):
  """The hash-grid field that config.field describes."""
  f = cfg.field
  return nerf.field(levels=f.levels, features=f.features, table_log2=f.table_log2, base=f.base,
                    finest=f.finest, hidden=f.hidden, interpolation=f.interpolation,
                    activation=f.activation, blob=f.blob)


def build(config):
  """Parts of a run of a complete config; a Jax3dgenError for whatever the config gets wrong."""
  distillation, _ = base.load(config.distill.name)
  if not config.prompt.strip():
    raise ConfigError('config.prompt is empty: say what to make, for example \'a red bear\'.')
  distill_config.check(config)
  parallel.share_batch(config.train.batch)
  cfg = FrozenConfigDict(config)
  prior, params, prompt = load_prior(cfg)
  referee.labels(), referee.load()  # a damaged referee is found before the run, not after it
  field = build_field(cfg)
  key, field_key = keys(cfg)
  shapes = jax.eval_shape(field.init, key)
  tx = optim.adam(cfg.optim.rates, shapes, eps=cfg.optim.eps, clip=cfg.optim.clip,
                  accumulate=cfg.train.accumulate)
  fit_tx = optax.adam(cfg.optim.fit_rate)
  parts = Parts(cfg, prior, params, prompt, field, distillation, tx, fit_tx, None)
  parts = parts._replace(state=start(parts, key, field_key))
  # What an objective or a regulariser refuses while it is traced is refused before files appear.
  jax.eval_shape(step_of(parts, None), parts.state, params, prompt, key)
  return parts


def keys(cfg):
  """(the run's key, the key of its initial field)."""
  key = jax.random.key(cfg.seed)
  return key, key if cfg.init_seed is None else jax.random.key(cfg.init_seed)


def start(parts, key, field_key):
  """The state of a run of `parts` before its first step."""
  cfg = parts.cfg
  return state.init(key, field_key, parts.field, parts.params, parts.distillation, parts.tx,
                    parts.fit_tx, cfg.distill, cfg.train.particles)


def step_of(parts, axis_name, stage=None):
  """The training step of `Parts` (see `scene_step.make_step`) for all devices of the run."""
  return scene_step.make_step(parts.field, parts.prior, parts.distillation, parts.tx, parts.fit_tx,
                              parts.cfg, parallel.device_count(), axis_name, stage)


def watchdog(cfg):
  """(step, metrics) -> why the run must stop, or None: an empty field, or fog in every view.

  Says once that a rectifier no longer finds one of its poses.
  """
  floor, warned = cfg.distill.get('floor', 0.0), []

  def reason(step, metrics):
    if metrics.get('rarest_pose', 1.0) < floor and not warned:
      warned.append(step)
      print(f'Step {step}: at some noise level one pose has all but vanished from the views; it '
            f'counts as config.distill.floor={floor}.', file=sys.stderr)
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


def finished(workdir, config):
  """The figures of a run that is already complete for this very config, or None."""
  try:
    figures = json.loads((workdir / 'result.json').read_text())
  except (FileNotFoundError, ValueError):
    return None
  return figures if figures.get('config_digest') == outputs.config_digest(config) else None


def run(config, workdir, prompts=None, allow_change=False, command=''):
  """Distils `config.prompt` into `workdir` and returns its Result.

  With a list of `prompts`, each gets a folder of its own below `workdir`, named after it; the
  return value is then a list, with None where a prompt could not be made (the reason is printed).
  `command` is what the report says repeats the run; with several prompts, a function of a prompt
  and its folder that returns it.
  """
  parallel.initialize()
  config, workdir = complete(config), pathlib.Path(workdir)
  if prompts is None:
    return run_one(config, workdir, allow_change, command)
  made = []
  for prompt in prompts:
    one, folder = config.copy_and_resolve_references(), workdir / words.slug(prompt)
    one.prompt = prompt
    try:
      made.append(run_one(one, folder, allow_change, command and command(prompt, folder)))
    except Jax3dgenError as e:
      print(f'{prompt!r} is left out: {e}', file=sys.stderr)
      made.append(None)
  return made


def run_one(config, workdir, allow_change, command):
  """`run` for one prompt."""
  began = time.monotonic()
  parts = build(config)
  with workdirs.lock(workdir):
    workdirs.check_config(workdir, config, allow_change)
    folder = workdir / 'checkpoints'
    with contextlib.closing(
        checkpoint.Checkpoints(folder, config.checkpoint.keep, config.to_json())) as checkpoints:
      start, train_state = checkpoints.restore(parts.state) or (0, parts.state)
      figures = parallel.from_main(lambda: finished(workdir, config))
      if figures and start == config.train.steps:
        print(f'{workdir} is finished: {figures["steps"]} steps of {figures["prompt"]!r}.')
        return Result(workdir, figures, train_state.field)
      if start < config.train.steps:
        train_state = optimise(parts, workdir, start, train_state, checkpoints)
      elif figures is None and parallel.is_main():
        print(f'All {start} steps are done; their results are written from the field as it is.')
    figures = parallel.from_main(outputs.write, parts, workdir, train_state.field, config, began,
                                 command or REPEAT)
  return Result(workdir, figures, train_state.field)


def place(parts):
  """(axes for `parallel.map`, the step's fixed arguments on the devices): the prior's parameters as
  config.parallel.prior says, the prompt, the root key."""
  cfg = parts.cfg
  axes = parallel.split_axes(parts.params) if cfg.parallel.prior == 'fsdp' else None
  return axes, (parallel.scatter(parts.params, axes),
                *parallel.broadcast((parts.prompt, jax.random.key(cfg.seed))))


def optimise(parts, workdir, start, train_state, checkpoints):
  """Runs the steps from `start` to the end; returns the final host state."""
  cfg = parts.cfg
  axes, fixed = place(parts)
  stages = [scene_step.stage_at(cfg, i) for i in range(start, cfg.train.steps)]
  programs = {stage: parallel.map(step_of(parts, parallel.AXIS, stage), 3, axes)
              for stage in dict.fromkeys(stages)}
  replicated = parallel.replicate(train_state)
  began = time.monotonic()
  costs = {stage: parallel.cost(program, replicated, *fixed)
           for stage, program in programs.items()}
  if parallel.is_main():
    print(f'Compiled the step in {time.monotonic() - began:.1f} s.')
  memory.check_memory(max(costs.values(), key=lambda cost: cost.beside))
  turns = (programs[stage] for stage in stages)
  with contextlib.closing(log.Writer(workdir, start)) as writer:
    final = loop.run(
        lambda train_state: next(turns)(train_state, *fixed), replicated, start=start,
        steps=cfg.train.steps, writer=writer, checkpoints=checkpoints, log_every=cfg.log.every,
        checkpoint_every=cfg.checkpoint.every, describe=cfg.prompt,
        hooks=[(cfg.log.preview_every, outputs.previewer(parts, workdir))],
        guard=stops.Guard(watchdog(cfg), cfg.train.max_skipped),
        flop=sum(costs[stage].flop for stage in stages))
  return parallel.unreplicate(final)
