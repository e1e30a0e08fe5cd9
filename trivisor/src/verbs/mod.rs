//! The verbs beside `run`.

mod check;
mod demo;
mod disk;
mod keyboard;
mod print;
mod running;

pub(crate) use check::check;
pub(crate) use demo::demo;
pub(crate) use disk::{DiskVerb, disk};
pub(crate) use keyboard::{send_keys, type_text};
pub(crate) use print::{completions, man, version};
pub(crate) use running::{change_disc, info, ps, screenshot, show_info, simple};
