"""Makes a mesh that stands from a picture of an object, by way of five views of it.

  python -m experiments.views_to_3d --config.image=bear.png --workdir runs/bear
  python -m experiments.views_to_3d --config.views=FOLDER --workdir runs/object

A multi-view prior draws the object's front, right, back, left and top; a field is fitted to these
views, with score distillation at low weight. The workdir receives views.png (the picture and the
views), overview.png (these and the mesh from four sides), the folder views, and the files of
`experiments.distill`: mesh.glb, turntable.mp4, report.html, result.json. The same command again
resumes. With --config.views the views are those of a folder (jax3dgen/recipes/distill/views.py has
its layout).
"""

from experiments import _command


def run(config, workdir, args):
  from jax3dgen.recipes import views_to_3d
  command = _command.again('views_to_3d', args, workdir)
  figures = views_to_3d.run(config, workdir, args.allow_change, command).figures
  print(f'{workdir}: {"stands" if figures["stable"] else "falls"}, {figures["faces"]} faces.')


if __name__ == '__main__':
  _command.main(run, __doc__, config='configs/views_to_3d.py')
