//! What every part of the library speaks: names, errors, modes and waiting.
//!
//! Nothing here knows of kernel objects. Only `sys` is below.

pub mod address;
pub(crate) mod discard;
pub mod error;
mod hint;
pub mod mode;
pub(crate) mod owner;
pub(crate) mod sysctl;
pub mod text;
pub mod wait;
