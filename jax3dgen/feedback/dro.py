"""Direct reward optimisation (DSO App. A): towards samples that stand, away from those that fall.

DSO minimises E[(1 - 2 o) log p_theta / p_ref] over samples with the label o in {0, 1}. With
Gaussian steps that is (2 o - 1) (KL(q | p_theta) - KL(q | p_ref)), hence (2 o - 1) times the error
of the regression; the last line of DSO's Eq. 13 has the opposite sign, its first line and its code
have this one. The reference adds a constant and has no gradient. DSO's code weights the velocity's
error by 1 at every t, which in terms of eps is 1 / (1 - t)^2.

The loss is not bounded below: see `damped`, and `regularizers` for other remedies.
"""

import jax.numpy as jnp

from jax3dgen.feedback import flow_loss


def loss(velocity, params, win, lose, cond, t, eps_win, eps_lose):
  """The mean over B pairs of l_win - l_lose (DSO's code): as many positives as negatives."""
  return damped(velocity, params, win, lose, cond, t, eps_win, eps_lose, 1.0)


def damped(velocity, params, win, lose, cond, t, eps_win, eps_lose, negative):
  """`loss` with the weight `negative` in [0, 1] for the losers; with 0 it is `sft.loss`."""
  return of_errors(*flow_loss.pair_errors(velocity, params, win, lose, cond, t, eps_win, eps_lose),
                   negative)


def of_errors(l_win, l_lose, negative=1.0):
  """The loss for errors l_win, l_lose [B]."""
  return jnp.mean(l_win - negative * l_lose)


def unpaired(velocity, params, x0, cond, t, eps, label):
  """The mean over B samples of (2 o - 1) l for labels o [B]; between 0 and 1, o is a soft reward,
  the expectation of the label (DSO App. A)."""
  v, target = flow_loss.predict(velocity, params, x0, cond, t, eps)
  return jnp.mean((2.0 * label - 1.0) * flow_loss.mean_square(v - target))
