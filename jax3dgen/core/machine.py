"""What the operating system tells of this machine, on Linux and macOS.

Imports nothing beyond the standard library.
"""

import os
import pathlib
import re
import resource
import shutil
import subprocess
import sys

MEMINFO = pathlib.Path('/proc/meminfo')  # Linux
VM_STAT = 'vm_stat'  # macOS: a program that prints counts of pages


def cores():
  """The number of cores that this process may use."""
  if hasattr(os, 'sched_getaffinity'):  # Linux
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1


def resident(usage):
  """Bytes of the largest resident set of a record of `resource.getrusage` or `os.wait4`."""
  return usage.ru_maxrss * (1 if sys.platform == 'darwin' else 1024)  # macOS counts bytes


def free_memory():
  """Bytes of main memory that this process may still take; None where the system does not tell."""
  if MEMINFO.exists() and (match := re.search(r'MemAvailable:\s+(\d+)', MEMINFO.read_text())):
    return min(int(match.group(1)) * 1024, _below_limit())
  if shutil.which(VM_STAT):
    return _of_vm_stat(subprocess.run([VM_STAT], capture_output=True, text=True).stdout)
  try:
    return os.sysconf('SC_AVPHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
  except (ValueError, OSError):
    return None


def _below_limit():
  """Bytes that the limit of the address space leaves, on Linux."""
  limit = resource.getrlimit(resource.RLIMIT_AS)[0]
  if limit == resource.RLIM_INFINITY:
    return sys.maxsize
  used = int(pathlib.Path('/proc/self/statm').read_text().split()[0])
  return limit - used * os.sysconf('SC_PAGE_SIZE')


def _of_vm_stat(text):
  """Bytes of the pages that are free or hold what can be read again; None for another text."""
  size = re.search(r'page size of (\d+) bytes', text)
  pages = [re.search(rf'Pages {kind}:\s+(\d+)', text)
           for kind in ('free', 'inactive', 'speculative')]
  if not (size and all(pages)):
    return None
  return int(size.group(1)) * sum(int(count.group(1)) for count in pages)
