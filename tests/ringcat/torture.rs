//! Death and corruption. Short in `make test`, long in `make torture`.

use super::*;

mod hostile;
mod killed;
mod waiting;
