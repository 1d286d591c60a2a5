import re
from xml.etree import ElementTree

import numpy as np
import pytest

from jax3dgen.export import curves


def test_reads_numbers_and_leaves_gaps(tmp_path):
  path = tmp_path / 'metrics.csv'
  path.write_text('step,loss,late,word\n20,1.5,,a\n40,nan,2,b\n60,0.5,3\n')
  read = curves.read(path)
  assert list(read) == ['loss', 'late']
  np.testing.assert_array_equal(read['loss'], [[20, 40, 60], [1.5, np.nan, 0.5]])
  np.testing.assert_array_equal(read['late'], [[40, 60], [2, 3]])


def test_an_empty_file_has_no_curves(tmp_path):
  (tmp_path / 'metrics.csv').write_text('step,loss\n')
  assert curves.read(tmp_path / 'metrics.csv') == {}


def test_split_finds_what_never_changes():
  steps = np.arange(3)
  moving, constant = curves.split({'a': (steps, np.array([0.0, 0, 0])), 'b': (steps, steps),
                                   'c': (steps, np.full(3, np.nan))})
  assert list(moving) == ['b', 'c'] and constant == {'a': 0.0}


def test_thin_keeps_short_curves_and_averages_long_ones():
  steps, values = np.arange(50.0), np.random.default_rng(0).normal(size=50)
  np.testing.assert_array_equal(curves.thin(steps, values), (steps, values))
  x, y = curves.thin(steps, values, count=10)
  np.testing.assert_allclose(x, [np.mean(range(k, k + 5)) for k in range(0, 50, 5)])
  np.testing.assert_allclose(y, [np.mean(values[k:k + 5]) for k in range(0, 50, 5)])
  values[3] = np.nan
  assert 3.0 not in curves.thin(steps, values)[0]


@pytest.mark.parametrize('count', [1, 4, 37])
def test_smooth_is_the_mean_of_the_neighbours(count):
  values = np.random.default_rng(1).normal(size=count)
  half = max(1, count // 10) // 2
  loop = [np.mean(values[max(0, i - half):i + half + 1]) for i in range(count)]
  np.testing.assert_allclose(curves.smooth(values), loop)


@pytest.mark.parametrize('values', [
    np.linspace(1, 0, 500), np.geomspace(1e-5, 1e3, 30), [2.0], [np.nan, np.inf], []])
def test_svg_is_valid_and_has_the_requested_colours(values):
  text = curves.svg(np.arange(len(values)), values, ink='#112233', accent='#445566')
  assert ElementTree.fromstring(text).tag.endswith('svg')
  colors = set(re.findall(r'#[0-9a-f]{6}', text)) - {'#000000'}
  assert colors <= {'#112233', '#445566'} and '#112233' in colors
  assert text == curves.svg(np.arange(len(values)), values, ink='#112233', accent='#445566')
