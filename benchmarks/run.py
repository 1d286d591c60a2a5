"""All benchmarks: `python -m benchmarks.run`. Ratios within one run are what counts."""

from benchmarks import (
  conv3d,
  demo,
  dso,
  flops,
  hashgrid,
  multiview,
  objectives,
  physics,
  raster,
  step,
  sweep,
  unet,
)


def main():
  for part in (hashgrid, conv3d, step, objectives, demo, physics, raster, sweep, dso, unet,
               multiview, flops):
    print(f'\n# {part.__doc__.splitlines()[0]}')
    part.main()


if __name__ == '__main__':
  main()
