//! The load generator as a library, so that its parts can be tested.
