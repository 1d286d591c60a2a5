"""Modules that a config names: those of the project, and a user's own on the path."""

import importlib

from jax3dgen.core.errors import ConfigError


def find(package, name, field, needs='load'):
  """The module `name` of `package`, or of that name on the path, with the function `needs`.

  ConfigError names the config's `field` where there is none.
  """
  for target in (f'{package}.{name}', name):
    try:
      module = importlib.import_module(target)
    except ModuleNotFoundError as e:
      if not f'{target}.'.startswith(f'{e.name}.'):  # it is there, but what it imports is not
        raise
      continue
    except ValueError:  # an empty name
      break
    if hasattr(module, needs):
      return module
    raise ConfigError(f'{field}={name!r}: that module has no {needs}().')
  raise ConfigError(f'{field}={name!r}: there is no such module in {package} or on the path.')
