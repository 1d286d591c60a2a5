"""Describes this machine: versions, devices, cache, extras, memory, weights, known problems.

  python -m experiments.doctor

The exit status is always 0; a line that starts with ! names a problem and its solution.
"""

from importlib import metadata, util
import os
import pathlib
import platform
import shutil
import sys

from experiments import _command
import jax3dgen
from jax3dgen.core import launch, machine

PACKAGES = ('jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'numpy', 'mujoco', 'mujoco-mjx')
EXTRAS = {'cuda': ('jax_cuda13_plugin',), 'tpu': ('libtpu',), 'convert': ('torch',),
          'pretrained': ('diffusers', 'huggingface_hub', 'transformers'), 'brax': ('brax',),
          'texture': ('xatlas', 'fast_simplification'), 'dev': ('build', 'pytest', 'ruff', 'torch')}
DEMO_GIB = 3.0  # memory that `make demo` needs


def version(package):
  """The installed version of a package, '-' without it."""
  try:
    return metadata.version(package)
  except metadata.PackageNotFoundError:
    return '-'


def devices():
  """(backend, [device names], GiB free on all of them or None); (None, [why], None) without jax."""
  try:
    import jax

    from jax3dgen.core import parallel
    from jax3dgen.train import memory
    parallel.initialize()
    free = memory.free_memory()
    free = None if free is None else free * jax.local_device_count() / 2**30
    return jax.default_backend(), [str(d) for d in jax.devices()], free
  except Exception as e:  # of any kind; the other lines help to find its cause
    return None, [f'jax does not start ({type(e).__name__}: {e})'], None


def cache(folder):
  """The folder of the compilation cache, its number of files and their size, as text."""
  if not folder:
    return 'off: no folder can be written'
  sizes = [p.stat().st_size for p in pathlib.Path(folder).glob('*') if p.is_file()]
  return f'{folder} ({len(sizes)} files, {sum(sizes) / 2**20:.0f} MiB)'


def missing_modules(extra):
  """Those modules of an extra that are not installed."""
  return [name for name in EXTRAS[extra] if util.find_spec(name) is None]


def weights(assets):
  """(name, MB, whether the sha256 beside it is that of the file) of the weights of the package."""
  from jax3dgen.core import weights as weight_files
  for path in sorted(assets.glob('*/weights.safetensors')):
    yield path.parent.name, path.stat().st_size / 1e6, weight_files.is_whole(path.parent)


def problems(*, backend, jaxlib, python, nvidia, memory, env):
  """Sentences about known problems of this machine; python is (3, 12), memory in GiB or None."""
  number = tuple(int(part) for part in jaxlib.split('.')[:3] if part.isdigit())
  if backend == 'gpu' and (0, 10, 2) <= number < (0, 11, 1):
    yield (f'jaxlib {jaxlib} on NVIDIA adds float32 into tables hundreds of times slower than it '
           'should: use Python 3.12 and jax 0.11.1 or later (pip install -e ".[cuda]").')
  if nvidia and backend == 'cpu':
    yield ('there is an NVIDIA GPU that jax does not use: ' + (
        'the cuda extra needs Python 3.12 (make venv PYTHON=python3.12).' if python < (3, 12)
        else 'pip install -e ".[cuda]", and see that JAX_PLATFORMS is not cpu.'))
  if 'XLA_FLAGS' in env.get(launch.GUARD, ''):
    yield ('XLA_FLAGS sets a number of host devices; commands drop it, but in your own scripts jax '
           'refuses it beside jax_num_cpu_devices.')
  if not env.get('JAX_COMPILATION_CACHE_DIR'):
    yield 'without a compilation cache every start compiles anew; set JAX_COMPILATION_CACHE_DIR.'
  if memory is not None and memory < DEMO_GIB:
    yield f'{memory:.1f} GiB are free; make demo takes up to {DEMO_GIB:.0f}.'


def screen(env):
  """The lines of the screen."""
  backend, names, memory = devices()
  yield f'jax3dgen   {jax3dgen.__version__}'
  yield 'versions   ' + ', '.join([f'Python {platform.python_version()}',
                                   *(f'{p} {version(p)}' for p in PACKAGES)])
  yield f'devices    {", ".join(names)}' + (f' ({backend})' if backend else '')
  yield (f'cores      {machine.cores()}; without an accelerator always {launch.HOST_DEVICES} '
         'host devices')
  yield 'memory     ' + ('unknown' if memory is None else f'{memory:.1f} GiB free')
  yield f'cache      {cache(env.get("JAX_COMPILATION_CACHE_DIR"))}'
  yield f'launcher   set {env.get(launch.GUARD) or "nothing: all was in place"}'
  for extra in EXTRAS:
    missing = missing_modules(extra)
    yield f'extra      {extra:<11}' + (
        f'lacks {", ".join(missing)}: pip install -e ".[{extra}]"' if missing else 'present')
  for name, size, whole in weights(pathlib.Path(jax3dgen.__file__).parent / 'assets'):
    yield f'weights    {name} ({size:.1f} MB): sha256 ' + ('is right' if whole else 'IS WRONG')
  sentences = list(problems(backend=backend, jaxlib=version('jaxlib'),
                            python=sys.version_info[:2],
                            nvidia=shutil.which('nvidia-smi') is not None, memory=memory, env=env))
  yield from (f'!          {sentence}' for sentence in sentences)
  if not sentences:
    yield 'no known problem'


def run(config, workdir, args):
  for line in screen(os.environ):
    print(line)


if __name__ == '__main__':
  _command.main(run, __doc__, workdir=False)
