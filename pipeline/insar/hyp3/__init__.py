"""The backend hyp3: ASF's HyP3 makes the products of a job in the cloud, for credits."""
