"""Direct preference optimisation of the denoising steps (D3PO, Yang et al. 2024; MV-D3PO, Eq. 2).

-log sigmoid(beta (r_w - r_l)) at one step of two rollouts, with r the log-ratio of the tuned policy
to the one that drew them. The objective adds the regression on true pictures, L_simple-MV, with
weight 1 in the paper. Log-probabilities are means over entries, as in D3PO's code; with their sums
beta is smaller by the number of entries.

Axes: B pairs, G references with R rollouts each in a minibatch, N = G R rows, K steps, ... the
entries of a sample (see `rollout`).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jax3dgen.core.errors import ConfigError
from jax3dgen.core.types import Array
from jax3dgen.feedback import rollout
from jax3dgen.prior import base


def loss(logp_w, logp_ref_w, logp_l, logp_ref_l, preferred, beta, clip):
  """-log sigmoid(preferred beta (r_w - r_l)), elementwise: [B, K] of log-probabilities [B, K].

  logp_*: under the tuned policy; logp_ref_*: under the reference. preferred: [B], or the whole
  shape, 1 where w is preferred, -1 where l is, 0 for a tie (log 2, without gradient). beta: a
  number, or [1, K] of `even_betas`. `clip` as in `log_ratio`.
  """
  preferred = base.broadcast(jnp.asarray(preferred), logp_w) if jnp.ndim(preferred) else preferred
  difference = log_ratio(logp_w, logp_ref_w, clip) - log_ratio(logp_l, logp_ref_l, clip)
  return -jax.nn.log_sigmoid(preferred * beta * difference)


def log_ratio(logp, logp_ref, clip):
  """log(p / p_ref) [...]. `clip`: the ratio is clipped to [1 - clip, 1 + clip], as in D3PO's code.

  A ratio outside has no gradient, even where it is outside in the wrong direction. None is the
  paper's form, without bounds.
  """
  ratio = logp - logp_ref
  if clip is None:
    return ratio
  if not 0 < clip <= 1:
    raise ConfigError(f'The ratio of the policies is clipped to 1 +- clip with clip in (0, 1], not '
                      f'{clip}.')
  return jnp.clip(ratio, *jnp.log1p(jnp.array([-clip, clip], ratio.dtype)))  # log(clip(ratio))


def advantage_loss(logp, logp_ref, advantage, beta, clip):
  """-log sigmoid(beta sum_R advantage r), [G, ...] of log-probabilities [G, R, ...].

  Beyond the paper: all rollouts of a reference at once, by advantages [G, R]. With R = 2 and
  advantages 1 and -1 it is `loss`. beta: a number, or [G, ...].
  """
  ratio = log_ratio(logp, logp_ref, clip)
  return -jax.nn.log_sigmoid(beta * jnp.sum(base.broadcast(advantage, ratio) * ratio, 1))


def even_betas(beta, schedule, levels, eta):
  """beta [K] over `rollout.clean_weights`: log-ratios of all steps then count alike (ours).

  beta is then that of the mean square error of the clean estimate.
  """
  return beta / rollout.clean_weights(schedule, levels, eta)


class Minibatch(NamedTuple):
  """Stored steps of N = G R rollouts, those of one reference in a row and at the same step.

  x, x_next [N, ...]; t, t_next [N]; cond: leaves [N, ...], with the noise of the reference;
  log_prob [N], under the reference policy; advantage [G, R], (1, -1) for a pair whose first rollout
  is preferred.
  """
  x: Array
  x_next: Array
  t: Array
  t_next: Array
  cond: Any
  log_prob: Array
  advantage: Array


def minibatch(x, log_prob, levels, rows, k, cond, advantage):
  """The Minibatch of rows [G, R] of stored rollouts at steps k [G].

  x [rollouts, K + 1, ...] and log_prob [rollouts, K] of K stored steps with levels [K + 1]; cond:
  leaves [G R, ...] of these rows at these steps.
  """
  flat, k = rows.ravel(), jnp.repeat(k, rows.shape[1])
  return Minibatch(x[flat, k], x[flat, k + 1], levels[k], levels[k + 1], cond, log_prob[flat, k],
                   advantage)


def objective(predict, schedule, batch, beta, eta, clip=None, bound=None, reduction='mean'):
  """(L_D3PO, metrics) of `predict` (x [N, ...], t [N], cond) -> eps.

  One call of predict on the N rows of the Minibatch (2 B for B pairs); the reference's
  log-probabilities are the stored ones. beta: a number or [G] (`even_betas` at the steps); clip: of
  the ratio; eta and `bound`, of the clean estimate, are those of the rollouts; reduction: of
  log-probabilities over entries, of which `batch` has the means. The paper adds
  `feedback.multiview`'s L_simple-MV with weight 1.
  """
  shape = batch.advantage.shape
  logp = rollout.policy_log_prob(predict, schedule, *batch[:5], eta, bound, reduction)
  entries = batch.x[0].size if reduction == 'sum' else 1
  logp, stored = logp.reshape(shape), entries * batch.log_prob.reshape(shape)
  value = jnp.mean(advantage_loss(logp, stored, batch.advantage, beta, clip))
  return value, {'preference': value} | ratio_metrics(logp - stored, batch.advantage)


def ratio_metrics(ratio, advantage):
  """Log-ratios [G, R] of the rollouts with positive ('win') and negative ('lose') advantages, and
  the share of references, without ties, in which the former are higher ('accuracy')."""
  mean = lambda x, where: jnp.sum(x * where) / jnp.maximum(jnp.sum(where), 1)
  return {'win': mean(ratio, advantage > 0), 'lose': mean(ratio, advantage < 0),
          'accuracy': mean(jnp.sum(ratio * advantage, 1) > 0, jnp.any(advantage != 0, 1))}


def mean_target(x0):
  """[G, ...]: the mean of the clean samples [G, R, ...] of each reference.

  As the true samples of a regression, without preferences, it distils the mean of R samples into
  one (ours).
  """
  return x0.mean(1)
