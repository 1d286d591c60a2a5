"""Evaluation of finished objects: the metrics of the papers, T3Bench, the pose classifier."""
