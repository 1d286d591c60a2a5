"""Direct preference optimisation of a rectified flow (Diffusion-DPO, Wallace et al. 2023; DSO).

-log sigmoid(-beta / 2 D) with D = (l_win - l_win,ref) - (l_lose - l_lose,ref), where l is the error
of `flow_loss` and the reference sees the same noise. DSO's code has beta = 500 and means over
entries.
"""

import jax
import jax.numpy as jnp

from jax3dgen.core.errors import ConfigError
from jax3dgen.feedback import flow_loss

REDUCTIONS = ('mean', 'sum')


def loss(velocity, params, reference, win, lose, cond, t, eps_win, eps_lose, beta,
         reduction='mean'):
  """The mean over B pairs. `reference` are the parameters before tuning, without gradient.

  `reduction` over the entries of a latent is DSO's mean, or the sum of Diffusion-DPO, whose beta
  is smaller by the number of entries.
  """
  pairs = win, lose, cond, t, eps_win, eps_lose
  errors = flow_loss.pair_errors(velocity, params, *pairs)
  expected = jax.lax.stop_gradient(flow_loss.pair_errors(velocity, reference, *pairs))
  return of_difference(difference(*errors, *expected),
                       scaled(beta, reduction, win[0].size))


def scaled(beta, reduction, entries):
  """beta for the means over the `entries` of a latent, of one for their `reduction`."""
  if reduction not in REDUCTIONS:
    raise ConfigError(f'A DPO loss takes the {" or the ".join(REDUCTIONS)} of a latent, not '
                      f'{reduction!r}.')
  return beta if reduction == 'mean' else beta * entries


def difference(l_win, l_lose, ref_win, ref_lose):
  """D [B] of the errors [B] of the tuned model and of the reference."""
  return (l_win - ref_win) - (l_lose - ref_lose)


def of_difference(d, beta):
  """The loss for D [B]."""
  return jnp.mean(jax.nn.softplus(0.5 * beta * d))
