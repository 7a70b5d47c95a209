"""Networks as files that run without slidecube: torch's exported programs, ONNX."""
