#![doc = include_str!("../README.md")]

mod backlog;
pub mod console;
pub mod disk;
pub mod display;
pub mod entropy;
pub mod escape;
pub mod image;
pub mod net;
pub mod rate_limiter;
mod segments;
mod sys;
pub mod tail;
pub mod terminal;
pub mod vhost_user;
pub mod vsock;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
