"""The endpoints, one module a family. Each has `ROUTES`: (method, path, handler). `notyet` lists what answers 501."""
