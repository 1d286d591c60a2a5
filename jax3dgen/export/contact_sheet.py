"""Contact sheets: rows of small labelled pictures, some of them marked."""

import numpy as np
from PIL import Image, ImageDraw

CELL, LINE, FRAME = 128, 14, 4  # pixels: side of a picture, height of its label, width of a frame
MARK = (214, 39, 40)  # of the frame and label of a marked picture


def sheet(rows):
  """The sheet uint8 [H, W, 3] of rows of (picture uint8 [h, w, 3], label, whether it is marked)."""
  columns = max(len(row) for row in rows)
  page = Image.new('RGB', (columns * (CELL + FRAME), len(rows) * (CELL + LINE + FRAME)), 'white')
  pen = ImageDraw.Draw(page)
  for i, row in enumerate(rows):
    for j, (picture, label, marked) in enumerate(row):
      x, y = j * (CELL + FRAME), i * (CELL + LINE + FRAME)
      page.paste(Image.fromarray(picture).resize((CELL, CELL)), (x, y + LINE))
      pen.text((x + 2, y + 1), label, fill=MARK if marked else 'black')
      if marked:
        pen.rectangle((x, y + LINE, x + CELL - 1, y + LINE + CELL - 1), outline=MARK, width=FRAME)
  return np.asarray(page)
