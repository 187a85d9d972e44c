//! The proofs of the protocol: every interleaving, and hostile headers.

mod bytes;
mod exhaustive;
mod model;
mod mutation;
