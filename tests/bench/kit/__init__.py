"""What the benchmarks share: servers, peers, rounds, and looking at processes. Never imported by the product."""
