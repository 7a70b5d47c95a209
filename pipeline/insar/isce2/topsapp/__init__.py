"""The runner: processes one job folder with topsApp of ISCE2, in the image of docker/isce2 or from the PATH.

    python -m pipeline.insar.isce2.topsapp JOB

It imports only the standard library, numpy, rasterio, pydantic and the job contract, so that the image stays small.
topsApp exits 0 on real failures. Therefore the runner starts every step separately, reads its log and checks its files.
It validates the products before it writes `metadata.json`, which marks the job as finished.
"""
