"""Metrics over the steps of a run as small SVG plots.

A curve is (steps [N], values [N]); non-finite values are gaps.
"""

import csv
import io

import matplotlib
from matplotlib import ticker
from matplotlib.figure import Figure
import numpy as np

INCHES = (3.6, 1.75)
POINTS = 200  # of a plotted line
STYLE = {
    'svg.fonttype': 'none',  # text stays text, in fonts of the reader's system
    'svg.hashsalt': 'jax3dgen',  # deterministic bytes
    'font.family': 'sans-serif',
    'font.sans-serif': ['system-ui', 'Segoe UI', 'Roboto', 'Helvetica', 'Arial', 'DejaVu Sans'],
}


def read(path):
  """metrics.csv -> {column: (steps, values)} of the columns that hold numbers."""
  with open(path, encoding='utf-8', newline='') as file:
    rows = list(csv.DictReader(file))
  curves = {}
  for name in rows[0] if rows else ():
    points = [(_number(row['step']), _number(row[name])) for row in rows if name and name != 'step']
    points = [point for point in points if None not in point]
    if points:
      curves[name] = tuple(np.array(points, np.float64).T)
  return curves


def split(curves):
  """(the curves that vary, {name: value} of the constant ones)."""
  constant = {name: float(values[0]) for name, (_, values) in curves.items()
              if np.all(np.asarray(values) == values[0])}
  return {name: curve for name, curve in curves.items() if name not in constant}, constant


def thin(steps, values, count=POINTS):
  """At most `count` points of a curve: means over segments; non-finite values are left out."""
  steps, values = np.asarray(steps, np.float64), np.asarray(values, np.float64)
  finite = np.flatnonzero(np.isfinite(values))
  segments = np.array_split(finite, min(count, len(finite))) if len(finite) else []
  return tuple(np.array([x[part].mean() for part in segments]) for x in (steps, values))


def smooth(values):
  """`values` [N] averaged over a window of a tenth of their number, cut off at both ends."""
  window = np.ones(max(1, len(values) // 10) | 1)
  if not len(values):
    return values
  total = np.convolve(values, window, 'same')
  return total / np.convolve(np.ones(len(values)), window, 'same')


def svg(steps, values, ink='#20242b', accent='#24558f'):
  """A curve as a whole SVG file: its points as a faint line, `smooth` of them as a strong one."""
  x, y = thin(steps, values)
  with matplotlib.rc_context(STYLE):
    figure = Figure(INCHES, layout='constrained')
    axes = figure.add_subplot()
    axes.plot(x, y, color=accent, alpha=0.35, linewidth=0.9)
    axes.plot(x, smooth(y), color=accent, linewidth=1.6, marker='o' if len(x) == 1 else '')
    if len(x) and y.min() > 0 and y.max() > 300 * y.min():
      axes.set_yscale('log')
    else:
      axes.yaxis.set_major_locator(ticker.MaxNLocator(4))
    axes.xaxis.set_major_locator(ticker.MaxNLocator(4, integer=True))
    axes.grid(axis='y', color=ink, alpha=0.15, linewidth=0.7)
    axes.tick_params(which='both', colors=ink, labelsize=9, length=0)
    axes.spines[:].set_visible(False)
    buffer = io.StringIO()
    figure.savefig(buffer, format='svg', transparent=True, metadata={'Date': None})
  return buffer.getvalue()


def _number(text):
  """`text` as a float, or None."""
  try:
    return float(text)
  except (TypeError, ValueError):
    return None
