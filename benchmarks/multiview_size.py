"""Work and memory of a step of D3PO on the U-Nets of SD 2.1 and SDXL with five views, by shapes.

  python -m benchmarks.multiview_size
  python -m benchmarks.multiview_size --model sdxl --size 512 --pairs 1

No weights, nothing of full size is allocated, nothing is compiled. The step is that of
`configs/multiview_d3po.py:sdxl` or `:sd21` (LoRA of the attention layers, bfloat16, blocks
recomputed) on one device: a pass over the two references and one over the ten views of a pair, and
their gradient, beside one object of L_simple-MV. Its work is counted in the traced step, as in
`benchmarks.flops`, and so are the operations of a rollout's step. Memory: the arguments are
parameters, adapters with their optimiser, and the stored rollouts; `saved` is what the backward
pass keeps of the forward pass, outputs of the traced `jax.vjp` that are no arguments; `block` is
what one block saves while it is recomputed, of the largest of all, without the logits of attention
(at most 1 GiB at a time).
"""

import argparse

import jax
import jax.numpy as jnp

from benchmarks import flops
from configs import multiview_d3po
from jax3dgen.core import tree
from jax3dgen.nn import unet_blocks
from jax3dgen.prior import latent, multiview, multiview_latent
from jax3dgen.recipes.multiview import rollouts, tune
from jax3dgen.recipes.preference import adapters, tuning
from jax3dgen.train import descent

SDXL = flops.SD21 | {
    'index': {'_class_name': 'StableDiffusionXLPipeline'},
    'unet': {'sample_size': 128, 'cross_attention_dim': 2048, 'attention_head_dim': [5, 10, 20],
             'block_out_channels': [320, 640, 1280], 'use_linear_projection': True,
             'transformer_layers_per_block': [1, 2, 10], 'addition_embed_type': 'text_time',
             'addition_time_embed_dim': 256, 'projection_class_embeddings_input_dim': 2816,
             'down_block_types': ['DownBlock2D'] + ['CrossAttnDownBlock2D'] * 2,
             'up_block_types': ['CrossAttnUpBlock2D'] * 2 + ['UpBlock2D']},
    'text_encoder': flops.SD21['text_encoder'] | {
        'hidden_size': 768, 'num_hidden_layers': 12, 'num_attention_heads': 12,
        'intermediate_size': 3072, 'hidden_act': 'quick_gelu'},
    'text_encoder_2': flops.SD21['text_encoder'] | {
        'architectures': ['CLIPTextModelWithProjection'], 'hidden_size': 1280,
        'num_hidden_layers': 32, 'num_attention_heads': 20, 'intermediate_size': 5120,
        'projection_dim': 1280},
}
CONFIGS = {'sd21': flops.SD21, 'sdxl': SDXL}
GIB, CELL = 2**30, 8  # pixels of a latent cell


def parts(model, size, pairs):
  """(config, prior, step, its arguments as shapes) of a step of `pairs` pairs at `size` pixels."""
  cfg = multiview_d3po.get_config(model)
  cfg.train.batch = pairs
  prior = multiview_latent.make(CONFIGS[model], dtype=cfg.prior.dtype, size=size, remat=True)
  params = jax.eval_shape(prior.init, jax.random.key(0))
  tx = tuning.optimiser(cfg)
  state = jax.eval_shape(lambda p: descent.start(adapters.start(p, cfg.lora, 0), tx),
                         params['denoiser'])
  shape = lambda *axes, dtype=jnp.float32: jax.ShapeDtypeStruct(axes, dtype)
  rows, window = cfg.objects.pool * cfg.rollout.samples, cfg.loss.last + 1 - cfg.loss.first
  cells = (size // CELL, size // CELL, 4)
  pool = {'x': shape(rows, window + 1, multiview.VIEWS, *cells), 'log_prob': shape(rows, window),
          'picture': shape(rows, *cells), 'reference_key': shape(rows, 2, dtype=jnp.uint32)}
  count = cfg.objects.pool * cfg.rollout.samples * (cfg.rollout.samples - 1) // 2
  table = {'rows': shape(count, 2, dtype=jnp.int32), 'advantage': shape(count, 2)}
  clean = {'x0': shape(cfg.objects.pool, multiview.VIEWS, *cells),
           'picture': shape(cfg.objects.pool, *cells)}
  loss = tune.objective(prior, cfg, 1)
  step = descent.build_step(loss, tx, 0, 0.0, grad_norm=True)
  return cfg, prior, loss, step, (state, params, pool, table, clean)


def size_of(leaves):
  """Bytes of arrays, avals or ShapeDtypeStructs."""
  return sum(x.size * x.dtype.itemsize for x in leaves)


def saved(function, *args):
  """Bytes that the gradient of function(*args) by its first argument keeps of the forward pass."""
  def residuals(first, *others):
    return jax.tree.leaves(jax.vjp(lambda x: function(x, *others), first)[1])
  jaxpr = jax.make_jaxpr(residuals)(*args).jaxpr
  arguments = {id(v) for v in (*jaxpr.invars, *jaxpr.constvars)}
  return size_of({id(v): v.aval for v in jaxpr.outvars if not hasattr(v, 'val')
                  and id(v) not in arguments}.values())


def largest_block(model, size, objects):
  """Bytes that one residual or transformer block saves while it is recomputed: the largest."""
  net = latent.denoiser(CONFIGS[model], 'bfloat16', views=multiview.VIEWS)
  kind = unet_blocks.Kind(net.groups, net.views, True, False, net.dtype, net.param_dtype)
  shape = lambda *axes: jax.ShapeDtypeStruct(axes, jnp.bfloat16)
  rows, wide, most = objects * net.views, 4 * net.channels[0], 0
  context = CONFIGS[model]['unet']['cross_attention_dim']

  def of(module, x, *others):
    params = jax.eval_shape(module.init, jax.random.key(0), x, *others)
    return saved(lambda x, params, *others: module.apply(params, x, *others), x, params, *others)
  for level, channels in enumerate(net.channels):
    side = size // CELL // 2**level
    wider = net.channels[min(level + 1, len(net.channels) - 1)]
    most = max(most, of(unet_blocks.Resnet(channels, kind), shape(rows, side, side, channels
                                                                  + wider), shape(rows, wide)))
    if net.depths[level]:
      most = max(most, of(unet_blocks.Block(net.heads[level], kind),
                          shape(rows, side**2, channels), shape(rows, 77, context),
                          shape(objects, side**2, channels),
                          jax.ShapeDtypeStruct((objects,), bool)))
  return most


def measure(model, size, pairs):
  """{name: FLOP, bytes or entries} of a step and of a rollout's step of one sample."""
  cfg, prior, loss, step, args = parts(model, size, pairs)
  state, params, pool, *_ = args
  work = lambda function, *given: flops.flops(jax.make_jaxpr(function)(*given))
  sample = pool['x'].shape[2:]
  x = jax.ShapeDtypeStruct(sample, jnp.float32)
  t = jax.ShapeDtypeStruct(sample[:1], jnp.float32)
  cond = jax.eval_shape(lambda p: rollouts.condition(
      prior, p, *jnp.zeros((2, 1, *sample[1:]))), params)
  cond = jax.eval_shape(lambda c: jax.tree.map(lambda x: x[0], c), cond)
  memory = jax.eval_shape(prior.write, params, cond, t)
  return {
      'unet': tree.count(params['denoiser']), 'adapters': tree.count(state.params),
      'step': work(step, *args), 'write': work(prior.write, params, cond, t),
      'read': work(prior.read, params, x, t, cond, memory),
      'weights': size_of(jax.tree.leaves(params)), 'state': size_of(jax.tree.leaves(state)),
      'pool': size_of(pool.values()), 'memory': size_of(jax.tree.leaves(memory)),
      'saved': saved(lambda a, *rest: loss(a, jax.random.key(0), *rest)[0], state.params,
                     *args[1:]),
      'block': largest_block(model, size, 2 * pairs)}


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--model', choices=CONFIGS, help='one of the two; by default both')
  parser.add_argument('--size', type=int, help='pixels per side; by default 512')
  parser.add_argument('--pairs', type=int, default=2, help='pairs of a step')
  args = parser.parse_args()
  print('| model | pixels | TFLOP of a step | write / read of a sample | GiB of weights | state | '
        'pool | saved | block | memory of a reference, MiB |\n|' + '---|' * 10)
  for model in [args.model] if args.model else CONFIGS:
    size = args.size or 512
    row = measure(model, size, args.pairs)
    gib = lambda name, row=row: f'{row[name] / GIB:.2f}'
    print(f'| {model} | {size} | {row["step"] / 1e12:.1f} | {row["write"] / 1e12:.2f} / '
          f'{row["read"] / 1e12:.2f} | {gib("weights")} | {gib("state")} | {gib("pool")} | '
          f'{gib("saved")} | {gib("block")} | {row["memory"] / 2**20:.0f} |', flush=True)
    print(f'{model}: {row["unet"]:,} parameters of the U-Net, {row["adapters"]:,} of adapters',
          flush=True)


if __name__ == '__main__':
  main()
