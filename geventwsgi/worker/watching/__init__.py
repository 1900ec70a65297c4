"""What others see of a worker while it serves: counts, stalls, slow requests, and answers to the observer."""
