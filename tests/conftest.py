"""Settings of the whole suite: CPU, four devices, strict shapes, a shared compilation cache.

It is made before jax is imported by any test. Only what child processes should share goes into the
environment; the number of devices does not, so that commands under test choose their own.

Tests compile for longer than they compute, so XLA optimises little here. The commands under test
(`tests/commands.py`) drop XLA_FLAGS: they compile as they do for a user.
"""

import gc
from importlib import metadata
import os
import pathlib

from jax3dgen.core import launch

ROOT = pathlib.Path(__file__).resolve().parent.parent
DEVICES = 4

QUICK_COMPILATION = ['--xla_backend_optimization_level=0',
                     '--xla_cpu_parallel_codegen_split_count=1']  # most programs are small
# Fused loops straight to LLVM, not by way of MLIR: three times as fast to compile. Newer releases
# have no choice.
if metadata.version('jaxlib').startswith('0.10.'):
  QUICK_COMPILATION.append('--xla_cpu_use_fusion_emitters=false')

os.environ.setdefault('JAX_PLATFORMS', 'cpu')
os.environ.setdefault('JAX_COMPILATION_CACHE_DIR', str(ROOT / '.jax_cache'))
os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0')
os.environ.setdefault('MPLBACKEND', 'Agg')
# Where a flag stands twice, the last one, the user's, holds.
os.environ['XLA_FLAGS'] = ' '.join([*QUICK_COMPILATION, launch.without_host_count(
    os.environ.get('XLA_FLAGS', ''))])

import jax  # noqa: E402  the environment above must be in place first
import pytest  # noqa: E402

jax.config.update('jax_num_cpu_devices', DEVICES)
jax.config.update('jax_numpy_rank_promotion', 'raise')
if jax.default_backend() == 'cpu':  # starts the backend: nothing can change the number any more
  assert jax.local_device_count() == DEVICES


def pytest_addoption(parser):
  parser.addoption('--slow', action='store_true', help='run the tests marked slow as well')


def pytest_collection_modifyitems(config, items):
  """Leaves out slow tests, unless they were asked for by --slow, by a mark or by name."""
  if config.option.slow or config.option.markexpr or any('::' in arg for arg in config.args):
    return
  slow = [item for item in items if 'slow' in item.keywords]
  if slow:
    config.hook.pytest_deselected(items=slow)
    items[:] = [item for item in items if 'slow' not in item.keywords]


def pytest_collection_finish():
  """Tracing allocates much and frees little: the imported modules need no further collections."""
  gc.collect()
  gc.freeze()
  gc.set_threshold(50_000, 20, 20)


@pytest.fixture(autouse=True)
def nan_debugging(request):
  """Tests of core/ stop at the operation that makes a NaN."""
  if not request.path.is_relative_to(ROOT / 'tests' / 'core'):
    yield
    return
  with jax.debug_nans(True):
    yield


@pytest.fixture
def x64():
  """Double precision for an oracle, in this test alone."""
  with jax.enable_x64(True):
    yield
