"""PSNR and SSIM against scikit-image."""

import numpy as np
from skimage import metrics

from jax3dgen.metrics import pictures


def test_both_equal_those_of_scikit_image():
  random = np.random.default_rng(0)
  a = random.uniform(size=(4, 20, 24, 3)).astype(np.float32)
  noise = np.array([0.02, 0.1, 0.3, 1])[:, None, None, None]
  b = np.clip(a + noise * random.normal(size=a.shape), 0, 1).astype(np.float32)
  np.testing.assert_allclose(
      pictures.psnr(a, b), [metrics.peak_signal_noise_ratio(x, y, data_range=1)
                            for x, y in zip(a, b)], rtol=1e-5)
  np.testing.assert_allclose(
      pictures.ssim(a, b),
      [metrics.structural_similarity(x, y, data_range=1, channel_axis=-1, gaussian_weights=True,
                                     sigma=1.5, use_sample_covariance=False)
       for x, y in zip(a.astype(np.float64), b.astype(np.float64))], atol=2e-5)


def test_equal_pictures():
  a = np.random.default_rng(0).uniform(size=(2, 16, 16, 3)).astype(np.float32)
  np.testing.assert_allclose(pictures.ssim(a, a), 1, atol=1e-5)
  np.testing.assert_allclose(pictures.psnr(a, a), 100, atol=1e-3)
