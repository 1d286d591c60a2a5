"""The full-size U-Net of Stable Diffusion 1.5 on a 32x32 latent against diffusers, on CPU cores.

  python -m benchmarks.unet

One image, float32, random weights: the same in both libraries, which run in one process under the
same malloc settings and take turns; it needs 8 GB. Forward, and forward with the gradient by the
image. Each figure is the wall time that a quarter of the turns stays below; processor time stands
beside it, for machines with other work.
"""

import argparse
import json
import os

from benchmarks import timing

GOALS = {'forward': 1.2, 'gradient': 1.3}  # largest ratio of jax3dgen's time to PyTorch's


def measure(cores, turns):
  """{what: {library: (processor ms, wall ms)}} on the cores that this process is pinned to."""
  import diffusers
  import jax
  import numpy as np
  import torch

  from jax3dgen.formats import convert, rules_unet
  from jax3dgen.nn import unet

  torch.set_num_threads(cores)
  torch.manual_seed(0)
  peer = diffusers.UNet2DConditionModel(cross_attention_dim=768).eval().requires_grad_(False)
  net = unet.UNet(**unet.sizes(dict(peer.config)))
  rng = np.random.default_rng(0)
  x, tokens, t = rng.normal(size=(1, 32, 32, 4)), rng.normal(size=(1, 77, 768)), [500]
  x, tokens, t = (np.asarray(a, np.float32) for a in (x, tokens, t))
  target = jax.eval_shape(net.init, jax.random.key(0), x, t, tokens)['params']
  params = convert.to_tree({k: v.numpy() for k, v in peer.state_dict().items()},
                           rules_unet.RULES, target)
  forward = lambda params, x: net.apply({'params': params}, x, t, tokens)
  compiled = {
      'forward': jax.jit(forward),
      'gradient': jax.jit(jax.grad(lambda params, x: forward(params, x).sum(), 1))}
  image = torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2))).requires_grad_(True)
  predict = lambda: peer(image, torch.from_numpy(t), torch.from_numpy(tokens)).sample
  theirs = {'forward': torch.no_grad()(predict),
            'gradient': lambda: torch.autograd.grad(predict().sum(), image)[0]}
  times = {}
  for what in GOALS:
    ours = compiled[what](params, x)
    expected = theirs[what]().permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(ours, expected, atol=1e-3)  # equal results
    times[what] = timing.interleaved(
        {'jax3dgen': lambda what=what: jax.block_until_ready(compiled[what](params, x)),
         'torch': theirs[what]}, turns)
  return times


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--turns', type=int, default=9, help='measurements of each library')
  parser.add_argument('--cores', type=int, default=2, help='number of cores')
  parser.add_argument('--child', action='store_true', help=argparse.SUPPRESS)
  args = parser.parse_args()
  if args.child:
    print(json.dumps(measure(args.cores, args.turns)))
    return
  print(f'load average {os.getloadavg()[0]:.1f}; {args.cores} cores')
  figures = timing.pinned('benchmarks.unet', args.cores, '--child', '--cores', args.cores,
                          '--turns', args.turns)
  for what, times in figures.items():
    (cpu, wall), (peer_cpu, peer_wall) = times['jax3dgen'], times['torch']
    print(f'{what:<9} jax3dgen {wall:6.0f} ms, torch {peer_wall:6.0f} ms: {wall / peer_wall:.2f}x '
          f'(goal {GOALS[what]}); processor time {cpu / peer_cpu:.2f}x')


if __name__ == '__main__':
  main()
