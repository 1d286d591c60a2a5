"""Score distillation via inversion with the settings of its code.

`sdi.py` is for Stable Diffusion 2.1, `:embedded` for the embedded prior, `:tiny` for tests. The
loss of the code is a mean over the latent: weights of regularisers are 64 x 64 x 4 = 16,384 times
those of the code (`_papers.LATENT_SIZE`).

field | source (TS sdi) | here | why not
distill.guidance | 7.5 | = |
distill.inversion_guidance | -7.5 | = |
distill.inversion_steps | 10 over the whole schedule, fewer at low t | 10 | a compiled program has a
  fixed number
distill.eta | 0.3 | = |
end of the inversion | up to 100 levels beyond t | t | x_t then has the noise of its level
guide.name | 'perp_neg' | = |
timestep.max | 0.98 to 0.25 in 10000 steps | (0, 0.98, 0.25, 10000) |
timestep.min | the same level | (0, 0.98, 0.25, 10000) |
train.steps | 10000 | = |
render.size | 512 | = |
render.normals | 'analytic' | = |
field.bands | from step 2000 a level each 500 | (2000, 0.5, 1.0, 6000) | linear, not in steps
shading.probability | 0.3 | = |
shading.textureless | 0.75 | = |
shading.albedo_steps | 1000 | = |
regularizers.orientation | 0.1 | 1638.4 | times 16,384
regularizers.sparsity | [0, 0.15, 0, 3000] | (0, 2457.6, 0.0, 3000) | times 16,384
regularizers.opaque | 0.1 | 1638.4 | times 16,384
regularizers.z_variance | 1 | 16384.0 | times 16,384
regularizers.convexity | [0, 1, 0.1, 4000] | (0, 16384.0, 1638.4, 4000) | times 16,384
"""

from configs import _papers


def get_config(variant=''):
  config = _papers.start('sdi', variant)
  _papers.falling_level(config)
  if not variant:
    _papers.sdi_surfaces(config)
    _papers.progressive_bands(config)
  config.lock()
  config.distill.unlock()  # the objective adds its own fields
  return config
