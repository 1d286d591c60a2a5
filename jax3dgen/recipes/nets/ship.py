"""Training of a small net and the folder of weights that the package ships: one call for any `Net`.

`run(net, config, workdir)` is what `python -m experiments.train_net` calls. The same call again
resumes from the newest whole checkpoint; a finished run measures and writes its weights again.
"""

from collections.abc import Callable
import contextlib
import json
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict, FrozenConfigDict
import numpy as np
import optax

from jax3dgen.core import files, modules, parallel, tree, weights
from jax3dgen.core.errors import ConfigError
from jax3dgen.export import curves
from jax3dgen.train import checkpoint, descent, loop
from jax3dgen.train import workdir as workdirs

AT_LEAST = {'train.steps': 1, 'train.batch': 1, 'train.max_skipped': 1, 'optim.warmup': 0,
            'log.every': 0, 'checkpoint.every': 0, 'checkpoint.keep': 1}
HELD_OUT = 2**31 - 1  # seed of the examples that measure; training seeds are small
WEIGHTS = 'weights.safetensors'


class Result(NamedTuple):
  """A net after training: its config (ConfigDict), its parameters as the float16 file holds them,
  the figures of `Net.measure`, and the curves {column of metrics.csv: (steps [N], values [N])}."""
  config: ConfigDict
  params: Any
  figures: Any
  curves: dict


def default_config():
  """A ConfigDict of the fields that every net has, not locked: a net adds its own fields."""
  c = ConfigDict()
  c.name = ''  # the net to train: a module of jax3dgen/recipes/nets, or one on the path
  c.seed = 0  # seeds the initial weights and everything that is drawn

  c.optim = ConfigDict()
  c.optim.rate = 2e-3  # Adam's largest learning rate
  c.optim.b2 = 0.99  # Adam's second-moment decay
  c.optim.warmup = 100  # steps of rising learning rate; then it falls to 0 as a cosine
  c.optim.clip = 1.0  # bound of the global gradient norm
  c.optim.ema = 0.998  # decay of the averaged weights that are shipped

  c.train = ConfigDict()
  c.train.steps = 1000  # optimisation steps; the learning rate is scheduled over them
  c.train.batch = 128  # examples per step, over all devices together
  c.train.max_skipped = 20  # stop after this many non-finite gradients in a row

  c.log = ConfigDict()
  c.log.every = 20  # steps between rows of metrics.csv

  c.checkpoint = ConfigDict()
  c.checkpoint.every = 250  # steps between checkpoints
  c.checkpoint.keep = 2  # newest checkpoints that are kept
  return c


def learning_rate(cfg):
  """A linear warm-up to config.optim.rate, then a cosine decay to 0 over all steps."""
  if cfg.optim.warmup >= cfg.train.steps:
    raise ConfigError(f'config.optim.warmup={cfg.optim.warmup} must be less than '
                      f'config.train.steps={cfg.train.steps}.')
  return optax.warmup_cosine_decay_schedule(0.0, cfg.optim.rate, cfg.optim.warmup, cfg.train.steps)


def adam(cfg):
  """Adam with `learning_rate`, the gradient clipped."""
  return optax.chain(optax.clip_by_global_norm(cfg.optim.clip),
                     optax.adam(learning_rate(cfg), b2=cfg.optim.b2))


def adamw(cfg):
  """AdamW with `learning_rate`, the gradient clipped; config.optim.decay applies to matrices."""
  matrices = lambda params: tree.mask(params, 'kernel$')
  return optax.chain(optax.clip_by_global_norm(cfg.optim.clip), optax.adamw(
      learning_rate(cfg), b2=cfg.optim.b2, weight_decay=cfg.optim.decay, mask=matrices))


class Net(NamedTuple):
  """What `run` has to know of a net; `cfg` is its config, frozen.

  title: what the progress lines and the metadata of the weights call it.
  default_config: () -> a locked ConfigDict; the comment behind a field is its help text.
  init: (cfg) -> initial parameters: new ones, or those of another run.
  loss: (cfg, count, axis_name) -> loss(params, key) -> (value [], metrics {name: []}) on one of
    `count` devices; each draws config.train.batch / count examples by `key`. Where the net has
    `data`, loss(params, key, data). ConfigError where the config does not fit.
  measure: (params, cfg) -> figures for config.json and the card, of parameters as they are shipped.
  card: (Result) -> the text of card.md.
  optimiser: (cfg) -> optax.GradientTransformation.
  files: (Result) -> {file name: text} beside the weights; a name that `write` has as well replaces
    that file.
  sealed: the names of the files without which the weights cannot be used; sha256 covers them.
  hooks: (cfg, workdir, log.Writer) -> the hooks of `loop.run`, such as pictures of samples.
  grad_norm: whether metrics.csv has the norm of the gradient.
  data: (cfg, workdir) -> arrays (a pytree) from which the loss draws examples, an argument of the
    step; None for a net that draws everything by its keys. Called in every process, also on resume.
  """
  title: str
  default_config: Callable
  init: Callable
  loss: Callable
  measure: Callable
  card: Callable
  optimiser: Callable = adam
  files: Callable = lambda result: {}
  sealed: tuple = ('config.json',)
  hooks: Callable = lambda cfg, workdir, writer: ()
  grad_norm: bool = False
  data: Callable | None = None


def find(name):
  """The Net of the module `name` of jax3dgen.recipes.nets, or of the path."""
  return modules.find('jax3dgen.recipes.nets', name, 'config.name', 'NET').NET


def complete(config):
  """`config` with the default fields of the net config.name that it lacks; '' has none.

  ConfigError for a field that this net does not have, as of a config for another net.
  """
  if not config.name:
    return config
  whole = find(config.name).default_config()
  fields = tree.flatten(whole.to_dict())
  for field in tree.flatten(config.to_dict()):
    if field not in fields:
      raise ConfigError(f'config.{field}: the net {config.name!r} has no such field.')
  with whole.unlocked():
    whole.update(config)
  return whole


def check(config):
  """ConfigError for the first invalid number; the counts of config.test must be positive."""
  fields = tree.flatten(config.to_dict())
  least = AT_LEAST | {field: 1 for field in fields if field.startswith('test.')}
  for field, low in least.items():
    if field in fields and fields[field] < low:
      raise ConfigError(f'config.{field}={fields[field]!r} is not {low} or more.')


def run(net, config, workdir, allow_change=False):
  """Trains the Net into `workdir` and returns the folder of weights, `workdir`/weights."""
  parallel.initialize()
  check(config)
  workdir, cfg = pathlib.Path(workdir), FrozenConfigDict(config)
  count, tx = parallel.share_batch(cfg.train.batch), net.optimiser(cfg)
  step = descent.build_step(net.loss(cfg, count, parallel.AXIS), tx, cfg.seed, cfg.optim.ema,
                            parallel.AXIS, net.grad_norm)
  with workdirs.lock(workdir):
    workdirs.check_config(workdir, config, allow_change)
    state = descent.start(net.init(cfg), tx)
    with contextlib.closing(checkpoint.Checkpoints(
        workdir / 'checkpoints', cfg.checkpoint.keep, json.dumps(config.to_dict()))) as checkpoints:
      start, state = checkpoints.restore(state) or (0, state)
      if start < cfg.train.steps:
        fixed = (parallel.broadcast(net.data(cfg, workdir)),) if net.data else ()
        programs = [parallel.map(step, len(fixed))] * (cfg.train.steps - start)
        state = loop.optimise(cfg, workdir, programs, start, state, checkpoints, net.title, fixed,
                              hooks=lambda writer: net.hooks(cfg, workdir, writer))
    if parallel.is_main():
      params, metrics = as_shipped(state.ema), workdir / 'metrics.csv'
      result = Result(config, params, net.measure(params, cfg), curves.read(metrics))
      write(net, workdir / 'weights', result, metrics)
  return workdir / 'weights'


def even_share(cfg, count):
  """Examples of each of `count` devices: an even number, as figurines are drawn in pairs."""
  if cfg.train.batch % (2 * count):
    raise ConfigError(f'config.train.batch={cfg.train.batch} must be a multiple of {2 * count}: an '
                      f'even number of examples for each of {count} devices.')
  return cfg.train.batch // count


def in_chunks(function, rows, size=50):
  """`function` of rows (leaves [N, ...]), `size` of them at a time: numpy leaves [N, ...].

  The last call repeats the last row, so that a jitted function compiles once.
  """
  count = len(jax.tree.leaves(rows)[0])
  size, parts = min(size, count), []
  for start in range(0, count, size):
    index = np.arange(start, start + size).clip(max=count - 1)
    parts.append(jax.device_get(function(jax.tree.map(lambda x, index=index: x[index], rows))))
  return jax.tree.map(lambda *x: np.concatenate(x)[:count], *parts)


def as_shipped(params):
  """Parameters as a reader of the float16 file will have them."""
  return jax.tree.map(lambda x: jnp.asarray(np.asarray(x, np.float16), jnp.float32), params)


def write(net, folder, result, metrics):
  """Writes the folder of float16 weights; `metrics` is the run's metrics.csv.

  sha256 comes last: without it the folder counts as incomplete.
  """
  texts = {'config.json': json_text({'config': result.config.to_dict(),
                                     'measured': result.figures}),
           'card.md': net.card(result), 'curve.csv': metrics.read_text(encoding='utf-8'),
           'curve.svg': curves.svg(*result.curves['loss'])} | net.files(result)
  folder.mkdir(parents=True, exist_ok=True)
  (folder / 'sha256').unlink(missing_ok=True)
  weights.save(folder / WEIGHTS, result.params, {'format': f'jax3dgen {net.title}'}, np.float16)
  for name, text in texts.items():
    with files.replacing(folder / name) as beside:
      beside.write_text(text, encoding='utf-8')
  weights.seal(folder, (WEIGHTS, *net.sealed))


def json_text(record):
  """The text of a JSON file."""
  return json.dumps(record, indent=2) + '\n'
