"""A distillation run: a prompt in, a textured mesh and its report out."""
