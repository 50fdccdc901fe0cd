"""Takes the backend's place in tests; how it behaves is chosen by the variable FAKE_BACKEND."""
