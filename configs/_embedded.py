"""Settings of the configs of single objectives on the embedded prior, from which studies start.

Chosen on the validation runs of docs/results/janus.md, whose colours and seeds no other table has.
"""

STEPS = 800  # on a small field, so that many runs are feasible on few cores
# In some hundred steps adapters of rank 4 do not fit the renders, so all kernels are trained.
CRITIC = {'distill.critic_rank': 0, 'distill.critic_layers': '', 'optim.fit_rate': 5e-4,
          'distill.camera_layer': 'pooled/kernel$'}
# RecDreamer's own: estimates from eps(x_t, y), averages of the classifier's answers on them, its
# n_ema. On validation 12 of 12 runs are Janus-free with it, 11 with averages of renders.
RECTIFIER = {'distill.tweedie': 'conditional', 'distill.feed': 'estimate', 'distill.n_ema': 100}
CHANGES = {'vsd': CRITIC, 'esd': CRITIC, 'usd': CRITIC | RECTIFIER}  # of single objectives


def settings(c, name):
  """Changes the unlocked config `c` of the objective `name` from the defaults."""
  c.train.steps = STEPS
  c.field.levels = 5
  c.render.n_samples = 24
  c.timestep.min = (1 / 12, 0.6, 0.06, 0.75)
  c.timestep.max = (0, 0.96, 0.6, 1.0)
  c.regularizers.opaque = (0.5, 0.0, 60.0, 5 / 6)
  c.regularizers.sparsity = (0.25, 0.0, 60.0, 5 / 6)  # earlier, it removes undecided density
  c.log.preview_every = 100
  with c.ignore_type():
    for field, value in CHANGES.get(name, {}).items():
      section, _, leaf = field.partition('.')
      c[section][leaf] = value
