"""Modules and functions by the names in a config, and modules of extras."""

import importlib

from jax3dgen.core.errors import ConfigError


def find(package, name, field, needs='load'):
  """The module `name` of `package`, or of that name on the path, that defines `needs`.

  ConfigError, which names the config's `field`, where there is none.
  """
  for target in (f'{package}.{name}', name):
    try:
      module = importlib.import_module(target)
    except ModuleNotFoundError as e:
      if not f'{target}.'.startswith(f'{e.name}.'):  # the module exists, an import of it does not
        raise
      continue
    except ValueError:  # an empty name
      break
    if hasattr(module, needs):
      return module
    raise ConfigError(f'{field}={name!r}: that module has no {needs}.')
  raise ConfigError(f'{field}={name!r}: there is no such module in {package} or on the path.')


def function(text, field):
  """The function that `text`, 'module:function', names; ConfigError names the config's `field`."""
  module, _, name = text.partition(':')
  if not (module and name):
    raise ConfigError(f"{field}={text!r}: a function is named as 'module:function'.")
  try:
    value = getattr(importlib.import_module(module), name, None)
  except ModuleNotFoundError as e:
    if not f'{module}.'.startswith(f'{e.name}.'):
      raise
    raise ConfigError(f'{field}={text!r}: there is no module {module} on the path.') from e
  if not callable(value):
    raise ConfigError(f'{field}={text!r}: the module {module} has no function {name}.')
  return value


def extra(name, extra, user):
  """The module `name` of a package of an extra; ConfigError where it is missing, whose sentence
  begins with what needs it."""
  try:
    return importlib.import_module(name)
  except ImportError as error:
    raise ConfigError(f"{user} needs {name.split('.')[0]}: pip install 'jax3dgen[{extra}]'."
                      ) from error
