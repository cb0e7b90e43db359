"""Speed and size, measured on this machine, in this run, against dockerd where Debian's docker.io is installed: `benchmarks/run`."""
