//! How objects are shown: by ipcls, and by tools that show a single one.
//!
//! | module | what |
//! | --- | --- |
//! | `listing` | which objects are shown, in which order |
//! | `column` | what can be said of an object, each by one word |
//! | `value` | a field: for a table, for scripts, as JSON |
//! | `view` | rows as a table, raw, for eval, or as JSON |
//! | `details` | every detail of an object, and why it is judged as it is |
//! | `status` | rings and locks: one form for all tools |
//! | `table` | aligned cells, and colours |
//! | `limits` | the kernel's limits |
//! | `space` | what fills /dev/shm |
//! | `screen` | `ipcls --watch` on a terminal |

mod column;
mod details;
pub mod limits;
pub mod listing;
pub mod screen;
pub mod space;
pub mod status;
mod table;
mod value;
mod view;

pub use column::{Column, Columns, Context, Row};
pub use details::{details, why};
pub use table::Colours;
pub use view::{View, addresses, footer};
