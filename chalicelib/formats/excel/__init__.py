"""A sheet of an Excel workbook (XLSX, XLSM) as UTF-8 CSV, in bounded memory however large the sheet.

Our own reader on zipfile and expat, because no library reads both sheet and strings without holding them (see
DECISIONS.md). Line n is row n of the sheet, blank if that has no value, because line ends within cells are hidden:
so the splitter counts rows when it counts lines, and `reveal` gives a line its line ends back.
"""

from chalicelib.formats.excel.archive import Ranges
from chalicelib.formats.excel.book import Sheet, open_sheet
from chalicelib.formats.excel.strings import fault, reveal

__all__ = ["Ranges", "Sheet", "fault", "open_sheet", "reveal"]
