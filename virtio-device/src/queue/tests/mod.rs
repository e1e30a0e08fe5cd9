//! Tests of both rings.

mod exchange;
