"""The words about a step: what is whose, and the time at a device's peak."""

from jax3dgen.core.parallel import Cost
from jax3dgen.train import cost

COST = Cost({'step': 4, 'field': 2**28, 'field_opt': 2**29, 'fit_opt': 2**29, 'optics': 2**28},
            3 * 2**30, 2**30, 6.41e12)


def test_memory_by_whose_it_is_and_time_at_the_peak():
  arguments, computed = cost.sentences(COST, 'NVIDIA H200')
  assert arguments == ('Its arguments are 3.00 GiB of fixed parameters, 0.50 GiB of trained '
                       'state and 1.00 GiB of the optimiser.')
  assert computed == ('It computes at least 6.41 TFLOP on each device, which takes 6.5 ms at the '
                      'bfloat16 peak of NVIDIA H200.')
  assert cost.sentences(COST, 'cpu')[1] == ('It computes at least 6.41 TFLOP on each device.')
  assert len(cost.sentences(COST._replace(flop=0.0), 'cpu')) == 1


def test_names_of_devices():
  assert cost.peak('NVIDIA H100 80GB HBM3') == 989e12
  assert cost.peak('NVIDIA H100 PCIe') == 756e12
  assert cost.peak('TPU v5 lite') == 197e12 and cost.peak('TPU v5p') == 459e12
  assert cost.peak('cpu') is None


def test_speed_beside_the_peak():
  assert cost.speed(989e12, 4.0, 'NVIDIA H200') == (
      'Each device computed at least 247 TFLOP/s, 25.0% of the bfloat16 peak of NVIDIA H200.')
  assert cost.speed(3e9, 0.5, 'cpu') == 'Each device computed at least 0.006 TFLOP/s.'
