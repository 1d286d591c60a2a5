"""Training of the networks that the package ships."""
