"""Single measurements that are not suites: fidelity, noise of alignments, known optima."""
