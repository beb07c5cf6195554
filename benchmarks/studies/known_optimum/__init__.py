"""Problems with a known answer, which a learner must find before its scores mean anything."""
