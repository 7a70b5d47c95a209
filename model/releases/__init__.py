"""What makes the folder of a map a release: colours, styles, exchange files, page, catalogue."""
