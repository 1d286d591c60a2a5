"""The record of a distillation objective, and the functions that objectives share.

Symbols: x_t = alpha(t) x_0 + sigma(t) eps. An objective returns g [B, h, w, c], the gradient of its
loss with respect to x_0 in prior space; the training step descends along it through the renderer.
B counts the views of one device. Nothing here, and no objective, differentiates the renderer.
"""

from collections.abc import Callable
import difflib
import importlib
import importlib.util
import pathlib
import re
import sys
from typing import Any, NamedTuple

from flax import struct
import jax
import jax.numpy as jnp

from jax3dgen.core import camera as cameras
from jax3dgen.core.errors import ConfigError
from jax3dgen.prior import base as priors

FLAWS = 'blurry, noisy, pixelated, oversaturated, foggy'  # negative prompt for the embedded prior


@struct.dataclass
class DistillState:
  """The state of an objective: float `buffers`, averaged over devices; `trainable` parameters with
  an optimiser of their own (for example a LoRA critic); `observed`, what `direction` leaves for
  `Distillation.fold` of the views [B] of one device, empty between steps."""
  buffers: Any
  trainable: Any
  observed: Any = ()


def one_prediction(cfg, guided):
  """`Distillation.denoiser_rows` of an objective that makes one guided prediction per step."""
  return guided


class Gradients(NamedTuple):
  """What an objective with a term on the pixels of the render returns as g: the gradients of its
  loss with respect to x_0 [B, h, w, c] and to the image [B, H, W, 3] itself."""
  x0: Any
  image: Any


class Distillation(NamedTuple):
  """A distillation objective.

  init(key, params, cfg) -> DistillState
  direction(key, view, prior, params, state, cfg) -> (g [B, h, w, c] or Gradients, state, metrics)
  fit(trainable, key, view, prior, params, state, cfg) -> scalar, or None where nothing is trained
  fold(buffers, observed, cfg) -> buffers after the views of a step, or None. `observed` is what
    `direction` left in the state, but of the views of all devices in the order of their global
    indices, so that averages count views, on any number of devices.
  guided: whether `direction` calls `guided` below; where it does not, a run refuses Perp-Neg and
  guidance rescale, which would have no effect.
  pixels: whether `direction` returns Gradients as g, not an array
  denoiser_rows(cfg, guided) -> rows of the denoiser per view and step: those forward, those that
    gradients go back through, and once more those of them with gradients of the weights; `guided`
    are the rows of one guided prediction (`guidance.denoiser_rows`)
  """
  init: Callable
  direction: Callable
  fit: Callable | None = None
  guided: bool = True
  denoiser_rows: Callable = one_prediction
  fold: Callable | None = None
  pixels: bool = False


def folded(distillation, state, cfg, gather=lambda x: x):
  """The state after `fold` of what `direction` observed; gather([B, ...]) -> the views of all
  devices."""
  buffers = state.buffers
  if distillation.fold is not None:
    buffers = distillation.fold(buffers, jax.tree.map(gather, state.observed), cfg)
  return state.replace(buffers=buffers, observed=())


def stateless(direction, guided=True, denoiser_rows=one_prediction, pixels=False):
  """The record of an objective without state."""
  return Distillation(init=lambda key, params, cfg: DistillState({}, {}), direction=direction,
                      guided=guided, denoiser_rows=denoiser_rows, pixels=pixels)


def noise_to(prior, x0, t, eps):
  """x_t [B, ...] of clean samples x0 [B, ...] at noise levels t [B]."""
  return priors.add_noise(prior.schedule, x0, t, eps)


def rows(view):
  """The condition [B, ...] of each view: the prompt's front, side, back or overhead row."""
  prompt = view.prompt
  return rows_of(view, prompt.front, prompt.side, prompt.back, prompt.overhead)


def rows_of(view, *four):
  """The row [B, ...] of each view among `four`: front, side, back and overhead.

  With view.limits, radians: front is within the first of azimuth 0, back within it of 180 degrees,
  overhead above the second of elevation.
  """
  camera, (side_limit, above) = view.camera, view.limits
  away = jnp.abs(cameras.wrap(camera.azimuth))

  def pick(front, side, back, overhead):
    row = lambda mask: mask.reshape(mask.shape + (1,) * front.ndim)
    spread = lambda leaf: jnp.broadcast_to(leaf, away.shape + leaf.shape)
    out = jnp.where(row(away < side_limit), spread(front), spread(side))
    out = jnp.where(row(away > jnp.pi - side_limit), spread(back), out)
    return jnp.where(row(camera.elevation > above), spread(overhead), out)
  return jax.tree.map(pick, *four)


def sector(view, count):
  """The index [B] of each camera's azimuth among `count` equal sectors; sector 0 is centred on
  azimuth 0, the front."""
  turn = 2 * jnp.pi / count
  return jnp.floor((view.camera.azimuth + 0.5 * turn) / turn).astype(jnp.int32) % count


def repeat(row, batch):
  """A condition row without batch axis as [batch, ...]."""
  return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (batch,) + leaf.shape), row)


def classifier_free(prior, params, x_t, t, view, scale):
  """eps_null + scale (eps_cond - eps_null) [B, h, w, c] with the condition `rows` of the cameras.

  Both halves go through the denoiser in one batch. Scale 1 is the conditional prediction.
  """
  null = repeat(view.prompt.null, x_t.shape[0])
  return priors.predict_guided(prior, params, x_t, t, rows(view), null, scale)


def guided(prior, params, x_t, t, view, scale):
  """The guided noise prediction [B, h, w, c] at x_t, by the run's guidance rule (config.guide)."""
  return view.guide(prior, params, x_t, t, view, scale)


def noised(key, view, prior):
  """(x_t, eps) [B, h, w, c] of the renders at their noise levels: `view.start`, or fresh noise."""
  if view.start is not None:
    return view.start
  eps = jax.random.normal(key, view.x0.shape)
  return noise_to(prior, view.x0, view.t, eps), eps


def residual(g):
  """The metric that every objective reports of its direction g."""
  return {'residual': jnp.abs(g).mean()}


def surrogate(x0, g):
  """A scalar whose gradient with respect to x0 is g."""
  return jnp.vdot(jax.lax.stop_gradient(g), x0)


def objectives():
  """The names of the package's own objectives: the files of this folder that define DISTILLATION.
  """
  return sorted(path.stem for path in pathlib.Path(__file__).parent.glob('*.py')
                if re.search('^DISTILLATION = ', path.read_text(encoding='utf-8'), re.M))


def load(name, prior=''):
  """(Distillation, settings) of the objective called `name` with the prior called `prior`.

  A name without a dot is a file of jax3dgen/distill, else a module on the path; a dotted one is a
  module on the path. The module defines DISTILLATION, and may define DEFAULTS, a dict of the fields
  that it reads from `config.distill`, with their values for the embedded prior, and LATENT, other
  values of these fields for Stable Diffusion, the prior 'latent'. ConfigError where there is no
  such objective.
  """
  names = objectives()
  if not re.fullmatch(r'[A-Za-z_]\w*(\.[A-Za-z_]\w*)*', name):
    raise ConfigError(f'config.distill.name={name!r} is no module name.')
  target = f'{__package__}.{name}' if name in names else name
  if '' not in sys.path:  # an installed command does not look in the folder that it is called from
    sys.path.append('')
  try:
    exists = importlib.util.find_spec(target) is not None
  except ModuleNotFoundError:
    exists = False
  if not exists:
    close = difflib.get_close_matches(name, names, 3, 0.5)
    hint = f' Close spellings: {", ".join(close)}.' if close else ''
    raise ConfigError(f'There is no objective {name!r}: neither one of {", ".join(names)} nor a '
                      f'module on the path.{hint}')
  module = importlib.import_module(target)
  if not isinstance(getattr(module, 'DISTILLATION', None), Distillation):
    raise ConfigError(f'Module {target!r} defines no DISTILLATION record (see CONTRIBUTING.md).')
  settings = getattr(module, 'LATENT', {}) if prior == 'latent' else {}
  return module.DISTILLATION, getattr(module, 'DEFAULTS', {}) | settings
