//! One history, and who has how much of it.
