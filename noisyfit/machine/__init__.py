"""What a fit runs on: devices, processes, threads, random states."""
