"""The backend isce2: interferograms by topsApp of ISCE2, in a container or installed on the PATH."""
