"""Generates a coloured mesh from a picture of an object, and drops it in MuJoCo.

  python -m experiments.image_to_3d --config.image=chair.png --workdir runs/chair
  python -m experiments.image_to_3d --config configs/image_to_3d.py:trellis \\
      --config.generator.weights=FOLDER --config.image='photos/*.png' --workdir runs/photos

The workdir receives mesh.glb, turntable.mp4, views.png, report.html and result.json; of several
pictures each has a folder there. The embedded generator knows the objects of its card
(jax3dgen/assets/generator). Exit status: 0 done, 3 pictures were left out.
"""

from experiments import _command


def run(config, workdir, args):
  from jax3dgen.recipes import image_to_3d
  results = image_to_3d.run(
      config, workdir, args.allow_change,
      lambda folder, image: _command.again('image_to_3d', args, folder, image=image))
  meshes = [figures for figures in results if figures]
  standing = sum(bool(figures['stable']) for figures in meshes)
  print(f'{len(meshes)} of {len(results)} pictures have a mesh in {workdir}, and {standing} stand.')
  return 3 if len(meshes) < len(results) else 0


if __name__ == '__main__':
  _command.main(run, __doc__, config='configs/image_to_3d.py')
