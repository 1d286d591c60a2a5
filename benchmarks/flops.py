"""Floating-point work of one training step of each objective with Stable Diffusion 2.1.

  python -m benchmarks.flops

Shapes alone: no weights, no memory, nothing compiled. The whole step of one view (render, encode,
direction, pull back, critic, optimiser) is traced with a full-size prior at 512 pixels and the
settings of the objectives' own configs, views of --size pixels for all; matrix products and
convolutions are counted, two operations for a multiplication and an addition, loops as often as
they run. What a compiler merges is counted as often as it is written.
"""

import argparse
import functools
import importlib
import math

import jax
import jax.numpy as jnp
from ml_collections import FrozenConfigDict
import optax

from jax3dgen.core import modules
from jax3dgen.core.types import Prompt
from jax3dgen.distill import base
from jax3dgen.prior import latent
from jax3dgen.recipes.distill import parts as distill_parts
from jax3dgen.recipes.distill import run as distill
from jax3dgen.recipes.distill import step as scene_step
from jax3dgen.recipes.distill import train_state
from jax3dgen.train import optim

SD21 = {
    'index': {'_class_name': 'StableDiffusionPipeline'},
    'scheduler': {'beta_schedule': 'scaled_linear', 'beta_start': 0.00085, 'beta_end': 0.012,
                  'num_train_timesteps': 1000, 'prediction_type': 'epsilon'},
    'unet': {'sample_size': 64, 'cross_attention_dim': 1024, 'attention_head_dim': [5, 10, 20, 20],
             'block_out_channels': [320, 640, 1280, 1280], 'use_linear_projection': True,
             'down_block_types': ['CrossAttnDownBlock2D'] * 3 + ['DownBlock2D'],
             'up_block_types': ['UpBlock2D'] + ['CrossAttnUpBlock2D'] * 3},
    'vae': {'_class_name': 'AutoencoderKL', 'block_out_channels': [128, 256, 512, 512],
            'layers_per_block': 2, 'latent_channels': 4,
            'down_block_types': ['DownEncoderBlock2D'] * 4,
            'up_block_types': ['UpDecoderBlock2D'] * 4},
    'text_encoder': {'architectures': ['CLIPTextModel'], 'vocab_size': 49408, 'hidden_size': 1024,
                     'num_hidden_layers': 23, 'num_attention_heads': 16, 'hidden_act': 'gelu',
                     'intermediate_size': 4096, 'max_position_embeddings': 77},
}
OBJECTIVES = ('sds', 'sjc', 'nfsd', 'csd', 'hifa', 'vsd', 'esd', 'cfd', 'sdi', 'ism', 'jsd',
              'sds_bridge', 'usd')
PROMPT = 'a bear'  # the pose classifier has templates of it
LIMITS = (('vsd', 'sds', 2.6), ('usd', 'vsd', 1.45))


@functools.cache  # a net is traced once and occurs in a step several times
def flops(jaxpr):
  """The work of a jaxpr."""
  total = 0
  for equation in jaxpr.eqns:
    name, params = equation.primitive.name, equation.params
    if name == 'dot_general':
      (contracted, _), _ = params['dimension_numbers']
      left, out = equation.invars[0].aval, equation.outvars[0].aval
      total += 2 * math.prod(out.shape) * math.prod(left.shape[i] for i in contracted)
    elif name == 'conv_general_dilated':
      total += _convolution(equation)
    elif name == 'cond':  # the most expensive branch
      total += max(map(flops, params['branches']))
    else:
      for value in params.values():
        for inner in value if isinstance(value, (tuple, list)) else (value,):
          if hasattr(inner, 'eqns'):
            total += flops(inner) * (params['length'] if name == 'scan' else 1)
  return total


def _convolution(equation):
  """Two operations for each product of an input entry that is no zero of a dilation."""
  numbers, params = equation.params['dimension_numbers'], equation.params
  kernel, out = equation.invars[1].aval.shape, equation.outvars[0].aval.shape
  taps = math.prod(kernel[i] for i in numbers.rhs_spec[1:])
  return 2 * math.prod(out) * taps // math.prod(params['lhs_dilation'])


def work(name, prior, stage):
  """`flops` of a step of the Stage of the objective `name` on one device, for one view."""
  config = importlib.import_module(f'configs.{name}').get_config()
  cfg = FrozenConfigDict(distill.complete(config))
  distillation, _ = base.load(cfg.distill.name)
  field = distill_parts.build_field(cfg)
  key = jax.random.key(0)

  def everything():
    params = prior.init(key)
    ids = jnp.zeros((1, 1, 77), jnp.int32)
    row = jax.tree.map(lambda x: x[0], prior.embed(params, ids))
    prompt = Prompt(*[row] * 7, source=(row,) * 4)
    start = train_state.init(key, key, field, params, distillation, tx, fit_tx, cfg.distill,
                             cfg.train.particles)
    return start, {k: v for k, v in params.items() if k != 'text'}, prompt

  fit_tx = optax.adam(cfg.optim.fit_rate)
  tx = optim.adam(cfg.optim.rates, jax.eval_shape(field.init, key), eps=cfg.optim.eps,
                  clip=cfg.optim.clip, accumulate=cfg.train.accumulate)
  start, params, prompt = jax.eval_shape(everything)
  if 'classifier' in cfg.distill:
    module = modules.find('jax3dgen.perception', cfg.distill.classifier, 'classifier')
    params = params | {'classifier': module.load(PROMPT, cfg.distill)}
  if stage.linear:
    latents = jax.eval_shape(prior.encode, params, jnp.zeros((1, 8, 8, 3))).shape[-1]
    params = params | {'linear': {'kernel': jnp.zeros((3, latents)), 'bias': jnp.zeros(latents)}}
  observe = scene_step.field_views(field, prior, cfg, 1, stage)
  step = scene_step.make_step(observe, prior, distillation, tx, fit_tx, cfg, 1)
  return flops(jax.make_jaxpr(step)(start, params, prompt, key))


def jit_functions(prior):
  """The prior with jitted functions, for faster tracing of steps."""
  return prior._replace(predict=jax.jit(prior.predict), encode=jax.jit(prior.encode),
                        decode=jax.jit(prior.decode))


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--size', type=int, default=64, help='pixels per side of the views')
  parser.add_argument('--linear', action='store_true',
                      help="the encoder's linear stand-in (config.render.latent_steps)")
  parser.add_argument('objectives', nargs='*', default=OBJECTIVES)
  args = parser.parse_args()
  prior = jit_functions(latent.make(SD21))
  stage = scene_step.Stage(args.size, args.linear)
  how = 'by a linear map' if args.linear else 'at 512'
  print(f'Views of {args.size} px encoded {how}; TFLOP of one step')
  totals = {}
  for name in args.objectives:
    totals[name] = work(name, prior, stage)
    print(f'{name:<16}{totals[name] / 1e12:8.2f}{totals[name] / totals[args.objectives[0]]:8.2f}x '
          f'{args.objectives[0]}', flush=True)
  for name, other, limit in LIMITS:
    if {name, other} <= totals.keys() and not args.linear:
      print(f'{name} / {other}: {totals[name] / totals[other]:.2f} (goal {limit})')


if __name__ == '__main__':
  main()
