"""Networks at work: devices and precision, the pipeline over many files, ONNX."""
