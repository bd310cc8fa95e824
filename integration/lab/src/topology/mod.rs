//! Builds a whole topology of namespaces from one file, with real processes in it.
