//! rtnetlink verbs.
