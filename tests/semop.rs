//! semop
