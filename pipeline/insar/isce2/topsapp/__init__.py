"""Drives topsApp of ISCE2 over one job folder: in the image of docker/isce2, or a topsApp.py found on the PATH.

    python -m pipeline.insar.isce2.topsapp JOB

It stands on the standard library, numpy, rasterio, pydantic and the job contract alone, so that the image holds
little besides ISCE2. topsApp exits 0 on real failures; so every step runs for itself, its log is read, its files are
checked, and the products are validated before `metadata.json` says that they are finished.
"""
