//! Who may do what: users, what they may run and touch, and the log of who was refused.
//!
//! Plain data and decisions about it: a change makes new [`users::Users`] out of old ones, and a check
//! is a question to one [`user::User`]. Nothing here knows a connection, a file or a core.
pub mod catalog;
pub mod password;
pub mod rule;
pub mod selector;
pub mod user;
pub mod users;
pub mod file;
pub mod log;
