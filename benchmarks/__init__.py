"""Speed and size, measured on this machine in this run, against dockerd where docker.io is installed: `benchmarks/run`."""
