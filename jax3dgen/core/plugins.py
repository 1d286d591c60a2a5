"""Functions of the user's own, named on the command line as 'module:function'."""

import importlib

from jax3dgen.core.errors import ConfigError


def function(text, field):
  """The function that `text`, 'module:function', names; ConfigError names the config's `field`."""
  module, colon, name = text.partition(':')
  if not (module and colon and name):
    raise ConfigError(f"{field}={text!r}: a function is named as 'module:function'.")
  try:
    found = getattr(importlib.import_module(module), name, None)
  except ModuleNotFoundError as error:
    if error.name != module and not module.startswith(f'{error.name}.'):
      raise
    raise ConfigError(f'{field}={text!r}: there is no module {module} on the path.') from error
  if not callable(found):
    raise ConfigError(f'{field}={text!r}: the module {module} has no function {name}.')
  return found
