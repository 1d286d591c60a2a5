"""From a field to a finished asset: stages of geometry and texture after a distillation run."""
