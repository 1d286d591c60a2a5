"""Jensen-Shannon score distillation at the guidance and the steps of its paper.

`jsd.py` is for Stable Diffusion 2.1, `:embedded` for the embedded prior, `:tiny` for tests. The
scene is that of the authors' code, whose loss is a mean over the latent: weights of regularisers
are 16,384 times those of the code (`_papers.LATENT_SIZE`). The paper's Eq. 12 has another weight
than the code's loss (w alpha / sigma for sigma / alpha), for which nobody gives weights of
regularisers: they are those of the code.

field | source (paper, else its code) | here | why not
distill.guidance | 13.5 | = |
distill.variant | Eq. 12; the code has two targets | 'eq12' |
distill.inversion_guidance | under the prompt; the code has -13.5 | 1.0 |
distill.inversion_steps | 10 | = |
distill.eta | DDIM; the code has 0.3 | 0.0 |
distill.weighting | w(t), not given | 'sds' | as for SDS
guide.name | 'perp_neg' (code) | 'perp_neg' |
timestep.max | the code's 0.98 to 0.25 in 10000 steps | (0, 0.98, 0.25, 10000) | the paper has an
  expectation over t
train.steps | 10000 | = |
camera.distance | (1.0, 1.5) | = |
render.size | 256, from 2000 on 512 | ((0, 256), (2000, 512)) |
render.normals | 'analytic' | = |
field.bands | 1.0 | = |
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
  config = _papers.start('jsd', variant)
  _papers.falling_level(config)
  if not variant:
    _papers.sdi_surfaces(config)
    config.camera.distance = (1.0, 1.5)
    config.render.size = ((0, 256), (0.2, 512))
  config.lock()
  config.distill.unlock()  # the objective adds its own fields
  return config
