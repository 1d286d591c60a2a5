"""Priors, classifiers, judges and programs made for tests."""
