"""What a person or a program reads: the workbook, the page and the files of a run."""

import pandas as pd

# As in scanner.credentials, for frames that are made here.
pd.set_option("mode.string_storage", "python")
