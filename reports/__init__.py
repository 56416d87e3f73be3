"""What a person or a program reads: the workbook and the CSV files of a run."""
