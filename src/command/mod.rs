//! What a command is, as data; executes nothing.
