//! How objects are shown: by ipcls, and by tools that show a single one.
//!
//! | module | what |
//! | --- | --- |
//! | `column` | what can be said of an object, each by one word |
//! | `view` | rows as a table, raw, as JSON, or in every detail |
//! | `status` | rings and locks: one form for all tools |
//! | `table` | aligned cells, and colours |
//! | `limits` | the kernel's limits |
//! | `screen` | `ipcls --watch` on a terminal |

mod column;
pub mod limits;
pub mod screen;
pub mod status;
mod table;
mod view;

pub use column::{Column, Columns, Context, Row};
pub use table::Colours;
pub use view::{View, addresses, details};
