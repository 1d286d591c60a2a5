"""Errors that a user can correct. Commands print the message and exit with status 2."""


class Jax3dgenError(Exception):
  """Base class: its text is one clear sentence that says what is wrong and what to do."""


class ConfigError(Jax3dgenError):
  """A config field, prompt or workdir that cannot be used."""


class WeightError(Jax3dgenError):
  """A weights file that is missing, damaged, or of another network."""


class MeshError(Jax3dgenError):
  """A mesh that is empty or damaged, or bounds no solid."""


class CheckpointError(Jax3dgenError):
  """No checkpoint can be restored, or a workdir is in use."""


class DivergenceError(Jax3dgenError):
  """A run that collapsed or produced non-finite numbers; its last good state is saved."""
