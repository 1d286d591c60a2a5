"""RecDreamer's rectifier: reweighs the prior so that all poses are equally likely.

The rectified density is p_t(x_t) r(x_t) with r = sum_c f(c) / pbar_t(c) p(c | x_t) (Eqs. 10 and
11), where p(c | x_t) is a classifier's opinion on the clean estimate of x_t, f the wanted
distribution of poses (uniform), and pbar_t an average over the steps so far of the poses in one of
`intervals` ranges of the noise level. It adds -w sigma / alpha grad_{x_0} log r to an objective's
direction (Eq. 14), differentiated through the denoiser and the decoder.

The average pbar is fed with the renders, so it tells of the field and not of the prior (whose own
marginal does not depend on t): the rectifier is a controller. Where f is uniform it falls silent
when renders of all poses are equally frequent; with the prior pulling against it, and an exact
classifier, it comes to rest at pbar ~ sqrt(p_prior f) (docs/results/toy.md). `n_ema` is how far
back it remembers: with a hundred views it goes on correcting what is mended by then, and the object
with it; 25 are enough at a hundredth of the paper's steps. At `rect_scale` 1, the paper's formula,
it is a small part of what distillation asks for; the authors' code multiplies it by the number of
latent entries, and then clamps it. The clamp is per view, to `clamp` times the norm of the
objective's own direction, of x_0 as in the authors' code or, with `clamp_space` image, of what the
encoder makes of both for the pixels of the render, as in the paper. The clean estimate is that of
eps(x_t, y), as in the paper; the authors' code makes it of the guided prediction, as `tweedie`
guided does: twice as many rows of the denoiser go back. Both terms are of one x_t, as in the paper;
with `noise` fresh, as in the code, the rectifier has one of its own.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jax3dgen.core import image, modules, rng
from jax3dgen.core.camera import SECTORS
from jax3dgen.core.errors import ConfigError
from jax3dgen.distill import base, sds
from jax3dgen.prior import base as priors

DEFAULTS = {
    'classifier': 'templates',  # module of jax3dgen/perception, or on the path, that tells poses
    'templates': '',  # folder of its pictures; empty, sketches or turned: those shipped
    'poses': '',  # that it tells apart, as 'front left+right back'; empty: all of its pictures
    'features': '',  # folder of a DINOv2 that tells poses; empty: the small network shipped
    'temperature': 0.05,  # of the classifier's softmax; the paper's 0.05, its code 0.01
    'parts': 'both',  # what it compares: both, texture or orientation
    'classes': 4,  # poses that it tells apart
    'sees': 'estimate',  # what it is shown of x_t: its clean estimate, or noisy, x_t itself
    'tweedie': 'conditional',  # prediction that this estimate is made of: conditional or guided
    'noise': 'shared',  # of x_t: shared with the objective's, or fresh, another forward pass
    'decode': 1.0,  # size of what it is shown, over that of x_0; a latent's half costs a quarter
    'intervals': 10,  # ranges of the noise level with an average of their own
    'n_ema': 25,  # views that carry 90 percent of the weight of an average
    'fixed': (),  # shares of the poses in place of averages (RecDreamer Fig. 4); (): averages
    'rect_scale': 30.0,  # times the rectifier's direction; 1: the paper's Eq. 14
    'clamp': 1.0,  # most of its norm, over that of the objective's direction, for each view
    'clamp_space': 'prior',  # where norms are taken: prior (x_0) or image (through the encoder)
    'floor': 0.01,  # least probability that an average is taken for
    'feed': 'render',  # what the averages are of: render (the paper) or estimate
    'control': False,  # ask for the pose of the camera instead (RecDreamer C.5): no averages
    'detach_denoiser': False,  # leave the denoiser's Jacobian out: cheaper, another direction
    'remat': False,  # compute the denoiser twice rather than hold its activations in memory
}
CHOICES = {'clamp_space': ('prior', 'image'), 'feed': ('render', 'estimate'),
           'sees': ('estimate', 'noisy'), 'tweedie': ('guided', 'conditional'),
           'noise': ('shared', 'fresh')}


def decay(n_ema):
  """The share of a new view such that the last n_ema views carry 90 % of the weight."""
  return 1.0 - 0.1**(1.0 / n_ema)


def interval(t, count):
  """Which of `count` equal ranges of [0, 1] noise levels t [...] are in; 0 is the least noise."""
  return jnp.minimum((t * count).astype(jnp.int32), count - 1)


def averaged(table, rows, probabilities, rate):
  """The table [N, K] after one view after the other, probabilities [B, K] in rows [B]."""
  def one(table, pair):
    row, p = pair
    return table.at[row].set((1 - rate) * table[row] + rate * p), None
  return jax.lax.scan(one, table, (rows, probabilities))[0]


def predicted(prior, params, x_t, view, cfg):
  """The noise prediction at x_t that the clean estimate is made of."""
  if cfg.tweedie == 'guided':
    return base.guided(prior, params, x_t, view.t, view, cfg.guidance)
  return prior.predict(params, x_t, view.t, base.rows(view))


def remembering(guide, x_t, cfg, eps_hat):
  """`guide` (see types.View), which knows that `predicted` is `eps_hat` at this very x_t."""
  def answer(prior, params, x, t, view, scale):
    if x is x_t and cfg.tweedie == 'guided' and scale == cfg.guidance:
      return eps_hat
    if x is x_t and cfg.tweedie == 'conditional' and guide is base.classifier_free:
      null = base.repeat(view.prompt.null, len(x))
      return priors.guide(prior.predict(params, x, t, null), eps_hat, scale)
    return guide(prior, params, x, t, view, scale)
  return answer


def asked(view, cfg):
  """Which pose the camera asks for, [B, K] one-hot: of config.distill.poses, or of `classes` equal
  sectors. All of them, which asks for nothing, where none of these is the camera's."""
  if not cfg.poses:
    return jax.nn.one_hot(base.sector(view, cfg.classes), cfg.classes)
  groups = [group.split('+') for group in cfg.poses.split()]
  table = np.array([[pose in group for group in groups] for pose in SECTORS], np.float32)
  table[~table.any(1)] = 1.0
  return jnp.asarray(table)[base.sector(view, len(SECTORS))]


def clamped(change, g, most, size):
  """(change [B, ...] scaled down, view by view, to at most `most` times the `size` of g; which of
  the views [B] had more)."""
  own, bound = size(change), most * size(g)
  share = jnp.minimum(bound / jnp.where(own > 0, own, 1.0), 1.0)
  return priors.broadcast(share, change) * change, own > bound


def norms(x):
  """The norm [B] of each view of x [B, ...]."""
  return jnp.sqrt(jnp.sum(x**2, tuple(range(1, x.ndim))))


def pixel_norms(prior, params, picture):
  """`norms` for directions of x_0 [B, ...], taken of what the encoder pulls back from them to the
  pixels of `picture` [B, H, W, 3]."""
  pull = jax.vjp(lambda x: prior.encode(params, x), picture)[1]
  return lambda x: norms(pull(x)[0])


def named(params, image, t, cfg):
  """The opinion [B, K] of the module `cfg.classifier`, whose arrays are params['classifier']."""
  module = modules.find('jax3dgen.perception', cfg.classifier, 'config.distill.classifier',
                        'classify')
  return module.classify(params['classifier'], image, t, cfg)


def rectified(inner, classify=named):
  """`inner`, a Distillation, with the rectifier.

  classify(params, image [B, H, W, 3] in [0, 1], t [B], cfg) -> probabilities [B, K], with the
  prior's `params`; t is the noise level of the image, 0 for renders and clean estimates. Buffers
  are those of `inner` and the averages [intervals, K] beside them. The noise is what `inner` draws
  by `base.noised`, and `guidance`, `weighting` and `clip` are its settings.
  """
  def init(key, params, cfg):
    for name, known in CHOICES.items():
      if cfg[name] not in known:
        raise ConfigError(f'config.distill.{name}={cfg[name]!r} is none of {", ".join(known)}.')
    if cfg.fixed and (len(cfg.fixed) != cfg.classes or min(cfg.fixed) < 0 or not sum(cfg.fixed)):
      raise ConfigError(f'config.distill.fixed={cfg.fixed!r} are not the shares of {cfg.classes} '
                        'poses.')
    if not 0 < cfg.decode <= 1:
      raise ConfigError(f'config.distill.decode={cfg.decode!r} is not above 0 and at most 1.')
    for name in ('intervals', 'n_ema', 'classes'):
      if cfg[name] < 1:
        raise ConfigError(f'config.distill.{name}={cfg[name]!r} is not 1 or more.')
    state = inner.init(key, params, cfg)
    row = jnp.array(cfg.fixed or (1.0,) * cfg.classes)
    table = jnp.tile(row / row.sum(), (cfg.intervals, 1))
    return state.replace(buffers={'inner': state.buffers, 'poses': table})

  def direction(key, view, prior, params, state, cfg):
    x_t, eps = base.noised(key, view, prior)
    seen, eps_hat, pull = view.replace(start=(x_t, eps)), None, None
    if cfg.noise == 'fresh':
      x_t, _ = base.noised(rng.stream(key, 'rectifier'), view.replace(start=None), prior)
    if cfg.sees == 'estimate':
      predict = lambda x: predicted(prior, params, x, view, cfg)
      if cfg.detach_denoiser:
        eps_hat = predict(x_t)
      else:
        eps_hat, pull = jax.vjp(jax.checkpoint(predict) if cfg.remat else predict, x_t)
      # One forward pass serves the objective and the rectifier.
      seen = seen.replace(guide=remembering(view.guide, x_t, cfg, eps_hat))
    own = state.replace(buffers=state.buffers['inner'])
    g, own, metrics = inner.direction(key, seen, prior, params, own, cfg)
    row = interval(view.t, cfg.intervals)
    marginal = jnp.maximum(state.buffers['poses'], cfg.floor)[row]

    def log_r(x_t, eps_hat):
      p = opinion(x_t, eps_hat)
      if p.shape[-1] != cfg.classes:
        raise ConfigError(f'The classifier tells {p.shape[-1]} poses apart, not '
                          f'config.distill.classes={cfg.classes}.')
      if cfg.control:
        r = (asked(view, cfg) * p).sum(-1)
      else:  # exactly 1, and without a gradient, where the averages are uniform
        r = 1.0 + ((1.0 / cfg.classes / marginal - 1.0) * p).sum(-1)
      return jnp.log(jnp.maximum(r, 1e-20)).sum(), p

    def opinion(x_t, eps_hat):
      if cfg.sees == 'noisy':
        return classify(params, prior.decode(params, x_t), view.t, cfg)
      clean = priors.x0_from_eps(prior.schedule, x_t, view.t, eps_hat)
      if cfg.get('clip', False):
        clean = jnp.clip(clean, -1.0, 1.0)
      clean = image.resize(clean, [round(cfg.decode * n) for n in clean.shape[1:3]])
      return classify(params, prior.decode(params, clean), 0 * view.t, cfg)

    (slope, through), estimated = jax.grad(log_r, (0, 1), has_aux=True)(x_t, eps_hat)
    if pull is not None:
      slope = slope + pull(through)[0]
    _, sigma = priors.coefficients(prior.schedule, view.t, x_t)
    change = -cfg.rect_scale * sds.weight(cfg.weighting, prior, view.t, x_t) * sigma * slope
    size = norms if cfg.clamp_space == 'prior' else pixel_norms(prior, params, view.image)
    kept, over = clamped(change, g, cfg.clamp, size)
    table = state.buffers['poses']
    if not cfg.fixed:
      p = estimated
      if cfg.feed == 'render':
        p = classify(params, view.image, 0 * view.t, cfg)
      table = averaged(table, row, p, decay(cfg.n_ema))
    metrics = metrics | {
        'rectifier': (norms(change) / jnp.maximum(norms(g), 1e-12)).mean(),
        'clamped': over.mean(),
        'rarest_pose': table.min(),
        'pose_entropy': -(table * jnp.log(jnp.maximum(table, 1e-12))).sum(-1).mean()}
    state = own.replace(buffers={'inner': own.buffers, 'poses': table})
    return g + kept, state, metrics

  return base.Distillation(init, direction, inner.fit)
