"""TensorBoard event files.

A separate module because tensorboardX imports torch where that is installed, which takes seconds:
`train.log` imports it only when a run starts to write.
"""

import time

from tensorboardX import event_file_writer, summary
from tensorboardX.proto import event_pb2


class Events:
  """Scalars and images in the event files of `folder`; events after step `start` are void.

  SummaryWriter writes in a thread; where a full disk ends the thread, it waits for ever.
  """

  def __init__(self, folder, start=0):
    self._file = event_file_writer.EventsWriter(str(folder))
    if start:  # voids the events of an interrupted run after its last checkpoint
      self._write(start + 1, session_log=event_pb2.SessionLog(status=event_pb2.SessionLog.START))

  def scalars(self, step, metrics):
    """{name: float} at `step`."""
    for name, number in metrics.items():
      self._write(step, summary=summary.scalar(name, number))
    self._file.flush()

  def image(self, step, name, pixels):
    """uint8 [H, W, 3]."""
    self._write(step, summary=summary.image(name, pixels, dataformats='HWC'))

  def close(self):
    self._file.close()

  def _write(self, step, **content):
    self._file.write_event(event_pb2.Event(step=step, wall_time=time.time(), **content))
