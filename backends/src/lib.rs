#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod console;
pub mod escape;
pub mod image;
pub mod tail;
pub mod terminal;

#[cfg(test)]
mod tests;
